# The server alone: no training is run in this image, and no secret is in it.
FROM python:3.11-slim AS build
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY churn_assets churn_assets
COPY resources resources
COPY jobs jobs
# An index that carries the CPU build of torch keeps several GB of CUDA out: --build-arg PIP_ARGS="--extra-index-url …".
ARG PIP_ARGS=""
# `serve` is enough for releases without the message branch: a fifth of the size.
ARG EXTRA="serve-text"
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir ${PIP_ARGS} --constraint constraints.txt ".[${EXTRA}]"

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
RUN useradd --uid 10001 --create-home churn
WORKDIR /app
COPY --from=build /venv /venv
COPY configs configs
COPY data data
RUN mkdir .churn && chown churn .churn
USER churn
EXPOSE 8080
# The log's folder should be a volume that outlives the container; what was sealed is shipped to the store anyway.
VOLUME /app/.churn
STOPSIGNAL SIGTERM
# Whether the process answers at all: one that is only not ready (no release leads yet, a disk is full) heals by itself,
# and to start it anew would not help.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/v2/health/live', timeout=4).read()"]
ENTRYPOINT ["churn", "--root", "/app", "serve", "--host", "0.0.0.0", "--port", "8080"]
CMD ["--experiment", "quickstart", "--workers", "1"]
