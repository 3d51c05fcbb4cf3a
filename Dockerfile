# One image for the webserver, the daemon, the code location, the workers and the dashboard; see docs/deploy.md.
FROM python:3.11-slim AS build

RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build
ENV VIRTUAL_ENV=/opt/stockcast \
    PATH=/opt/stockcast/bin:$PATH
COPY requirements-runtime.lock deploy/image/slim.sh deploy/image/warm.sh ./
RUN pip install --no-cache-dir uv==0.13.9 \
    && python -m venv --without-pip /opt/stockcast \
    && uv pip sync --no-cache --require-hashes requirements-runtime.lock \
    && sh slim.sh /opt/stockcast
COPY pyproject.toml README.md LICENSE dagster.yaml workspace.yaml ./
COPY deploy/looker ./deploy/looker
COPY stockcast_assets ./stockcast_assets
RUN uv pip install --no-cache --no-deps . \
    && sh warm.sh


FROM python:3.11-slim

LABEL org.opencontainers.image.title="stockcast" \
      org.opencontainers.image.description="Daily stock forecasts as Dagster assets: webserver, daemon, workers and dashboard" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --no-create-home --home-dir /data --uid 10001 stockcast \
    && install -d -o stockcast -g stockcast -m 0700 /data

COPY --from=build /opt/stockcast /opt/stockcast

# By its number: Kubernetes' runAsNonRoot reads no names.
USER 10001
WORKDIR /app
# Everything is stored below /data. What libraries keep for themselves goes to /tmp, so that the root may be read-only.
ENV PATH=/opt/stockcast/bin:$PATH \
    STOCKCAST_HOME=/data \
    DO_NOT_TRACK=1 \
    TF_CPP_MIN_LOG_LEVEL=3 \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/tmp/cache
VOLUME /data
EXPOSE 3000 8501 5000
ENTRYPOINT ["tini", "--"]
# The page has no login: without STOCKCAST_ALLOWED_HOSTS it is refused in a sentence. See docs/web-pages.md.
CMD ["stockcast", "ui", "--host", "0.0.0.0"]
# Of that command; the others name their own, see docs/deploy.md.
HEALTHCHECK --start-period=90s --interval=30s --timeout=10s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3000/server_info', timeout=8)"]
