# syntax=docker/dockerfile:1
# A slim image: no torch, no checkpoints. Checkpoints, database and pictures live in the volume /data.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/bgeraser
ENV PATH=/opt/bgeraser/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml README.md LICENSE ./
COPY web web
COPY api api
COPY ml ml
COPY billing billing
RUN pip install "./[telemetry]"

FROM python:3.11-slim-bookworm
# npm is not in the image: `models pull` brings one by pip for as long as it pulls.
RUN useradd --system --uid 10001 --create-home bgeraser \
    && install --directory --owner bgeraser --group bgeraser /data /checkpoints
COPY --from=build /opt/bgeraser /opt/bgeraser
ENV PATH=/opt/bgeraser/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BGERASER_DATA_DIR=/data \
    BGERASER_LOG_FORMAT=json
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Listening on every interface needs BGERASER_PUBLIC_URL and BGERASER_SECRET_KEY (or BGERASER_DEVELOPMENT=true);
# without them the first command says so and nothing starts.
CMD ["sh", "-c", "bgeraser serve --host 0.0.0.0 --check && bgeraser models pull --profile embedded && bgeraser models pull migan --optional --quiet-if-installed && exec bgeraser serve --host 0.0.0.0 --port 8000"]
