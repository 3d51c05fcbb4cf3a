# Two images; see docs/deploy.md. `worker`, the last, runs everything. `services` lacks TensorFlow: it serves the pages and
# the daemon. The first is the second with a layer on top, so a machine that has both holds their common part once.
FROM python:3.11-slim AS tools

RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build
COPY deploy/image/tools.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement tools.lock \
    && python -m venv --without-pip /opt/stockcast
ENV VIRTUAL_ENV=/opt/stockcast \
    PATH=/opt/stockcast/bin:$PATH \
    UV_LINK_MODE=copy


FROM tools AS build-services

COPY requirements-services.lock deploy/image/slim.sh ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip sync --require-hashes requirements-services.lock \
    && sh slim.sh /opt/stockcast
COPY deploy/image/warm.sh deploy/image/added.sh deploy/image/entrypoint.sh ./
COPY pyproject.toml README.md LICENSE dagster.yaml workspace.yaml ./
COPY deploy/looker ./deploy/looker
COPY stockcast_assets ./stockcast_assets
RUN uv pip install --no-cache --no-deps . \
    && install -m 0755 entrypoint.sh /opt/stockcast/bin/stockcast-entrypoint \
    && sh warm.sh services \
    && cyclonedx-py environment --output-reproducible --output-file /opt/stockcast/share/sbom.cdx.json /opt/stockcast


FROM build-services AS build-worker

COPY requirements-runtime.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    touch /before \
    && uv pip install --no-deps --require-hashes --requirement requirements-runtime.lock \
    && sh slim.sh /opt/stockcast /before \
    && sh warm.sh worker \
    && cyclonedx-py environment --output-reproducible --output-file /opt/stockcast/share/sbom.cdx.json /opt/stockcast \
    && sh added.sh /opt/stockcast /before /added


FROM python:3.11-slim AS services

LABEL org.opencontainers.image.title="stockcast services" \
      org.opencontainers.image.description="Webserver, daemon, dashboard and MLflow of stockcast" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --no-create-home --home-dir /data --uid 10001 stockcast \
    && install -d -o stockcast -g stockcast -m 0700 /data

COPY --from=build-services /opt/stockcast /opt/stockcast

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
ENTRYPOINT ["tini", "--", "stockcast-entrypoint"]
# The page has no login: without STOCKCAST_ALLOWED_HOSTS it is refused in a sentence. See docs/web-pages.md.
CMD ["stockcast", "ui", "--host", "0.0.0.0"]
# Of that command; the others name their own, see docs/deploy.md.
HEALTHCHECK --start-period=90s --interval=30s --timeout=10s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3000/server_info', timeout=8)"]


FROM services AS worker

LABEL org.opencontainers.image.title="stockcast" \
      org.opencontainers.image.description="Daily stock forecasts as Dagster assets: runs, and whatever services serves"

COPY --from=build-worker /added/ /
