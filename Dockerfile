# One image for the webserver, the daemon, the code location and the dashboard; see README, "Deploy".
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 stockcast

WORKDIR /app
# Every run is a process of its own; as this user it could not keep what it compiled.
ENV UV_COMPILE_BYTECODE=1
COPY requirements.lock pyproject.toml README.md LICENSE dagster.yaml workspace.yaml ./
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip sync --system --no-cache --require-hashes requirements.lock
COPY deploy/looker ./deploy/looker
COPY stockcast_assets ./stockcast_assets
RUN uv pip install --system --no-cache --no-deps . \
    && mkdir /data && chown stockcast /data

USER stockcast
ENV STOCKCAST_HOME=/data \
    DO_NOT_TRACK=1 \
    TF_CPP_MIN_LOG_LEVEL=3
VOLUME /data
EXPOSE 3000 8501
ENTRYPOINT ["tini", "--"]
# The page has no login: without STOCKCAST_ALLOWED_HOSTS it is refused in a sentence. See docs/web-pages.md.
CMD ["stockcast", "ui", "--host", "0.0.0.0"]
