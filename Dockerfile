# syntax=docker/dockerfile:1
# Three images without checkpoints, which all have the same Python (Ray demands it of a cluster's machines):
#
#   docker build .                         the server on CPUs
#   docker build --target cluster .        with Ray, for servers and nodes of a cluster
#   docker build --target generative .     with Ray and torch for CUDA: prompts, and nodes with a GPU
#
# Each has the packages that its lock file names, by their hashes, and their list (SBOM) in /opt/bgeraser/sbom.cdx.json.
# Checkpoints, database and pictures live in volumes: /data and /checkpoints. Besides them, only /tmp is written.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Lists the packages of each image in CycloneDX's format. The tool stays here, its list goes along with the packages.
COPY requirements-sbom.lock ./
RUN python -m venv /opt/sbom \
    && /opt/sbom/bin/pip install --require-hashes -r requirements-sbom.lock
RUN python -m venv /opt/bgeraser
ENV PATH=/opt/bgeraser/bin:$PATH
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY web web
COPY api api
COPY ml ml
COPY billing billing
# Left out: tests of pandas, and OpenVINO's plugins for devices that bgeraser never asks for.
RUN pip install --no-deps --no-build-isolation . \
    && rm -rf /opt/bgeraser/lib/python3.11/site-packages/pandas/tests \
        /opt/bgeraser/lib/python3.11/site-packages/openvino/libs/cache.json \
        /opt/bgeraser/lib/python3.11/site-packages/openvino/libs/libopenvino_intel_gpu_plugin.so \
        /opt/bgeraser/lib/python3.11/site-packages/openvino/libs/libopenvino_intel_npu_plugin.so \
    && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-format JSON --output-file /opt/bgeraser/sbom.cdx.json /opt/bgeraser/bin/python

FROM build AS build-cluster
COPY requirements-cluster.lock ./
# Left out: Ray for Java.
RUN pip install --require-hashes -r requirements-cluster.lock \
    && rm -rf /opt/bgeraser/lib/python3.11/site-packages/ray/jars \
    && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-format JSON --output-file /opt/bgeraser/sbom.cdx.json /opt/bgeraser/bin/python

FROM build-cluster AS build-generative
COPY requirements-generative.lock ./
# torch's wheels for Linux bring CUDA's libraries; the driver is the machine's own.
RUN pip install --require-hashes -r requirements-generative.lock \
    && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-format JSON --output-file /opt/bgeraser/sbom.cdx.json /opt/bgeraser/bin/python

FROM python:3.11-slim-bookworm AS runtime
# npm is not in the image: `models pull` brings one by pip for as long as it pulls.
RUN useradd --system --uid 10001 --create-home bgeraser \
    && install --directory --owner bgeraser --group bgeraser /data /checkpoints
ENV PATH=/opt/bgeraser/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BGERASER_DATA_DIR=/data \
    BGERASER_LOG_FORMAT=json \
    RAY_USAGE_STATS_ENABLED=0
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Listening on every interface needs BGERASER_PUBLIC_URL and BGERASER_SECRET_KEY (or BGERASER_DEVELOPMENT=true);
# without them the first command says so and nothing starts.
CMD ["sh", "-c", "bgeraser serve --host 0.0.0.0 --check && bgeraser models pull --profile embedded && bgeraser models pull migan --optional --quiet-if-installed && exec bgeraser serve --host 0.0.0.0 --port 8000"]

FROM runtime AS cluster
COPY --from=build-cluster /opt/bgeraser /opt/bgeraser

FROM runtime AS generative
COPY --from=build-generative /opt/bgeraser /opt/bgeraser
# What NVIDIA's container runtime gives to the container.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime
COPY --from=build /opt/bgeraser /opt/bgeraser
