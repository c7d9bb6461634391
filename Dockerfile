# Three images of one project: `serve` (the default) answers and trains nothing; `train` runs Dagster and makes assets,
# also as a job elsewhere; `train-cuda` is the same with a torch for GPUs. No secret is in any of them.
# The base by its digest, so that builds repeat: the index of all platforms of python:3.11-slim (Debian trixie) of August 2026,
# which brings no later repair. Another one: `docker buildx imagetools inspect python:3.11-slim`, --build-arg BASE=….
ARG BASE=python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

FROM ${BASE} AS sources
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY churn_assets churn_assets
COPY resources resources
COPY jobs jobs
RUN python -m venv /venv

FROM sources AS serve-build
# An index that carries the CPU build of torch keeps several GB of CUDA out: --build-arg PIP_ARGS="--extra-index-url …".
ARG PIP_ARGS=""
# `serve` is enough for releases without the message branch: a fifth of the size.
ARG EXTRA="serve-text"
RUN /venv/bin/pip install --no-cache-dir ${PIP_ARGS} --constraint constraints.txt ".[${EXTRA}]"

FROM sources AS train-build
ARG PIP_ARGS=""
# `ray` of it is what a node of a cluster needs, `vertex` what starts jobs there, `postgres` Dagster's state.
ARG TRAIN_EXTRAS="train,sql,ray,vertex,postgres"
RUN /venv/bin/pip install --no-cache-dir ${PIP_ARGS} --constraint constraints.txt ".[${TRAIN_EXTRAS}]"

FROM sources AS train-cuda-build
# Without PIP_ARGS: the usual index has torch with CUDA for Linux, which needs the driver of the machine and no base image.
ARG TRAIN_EXTRAS="train,sql,ray,vertex,postgres"
RUN /venv/bin/pip install --no-cache-dir --constraint constraints.txt ".[${TRAIN_EXTRAS}]"

FROM ${BASE} AS run
# The library is imported from /app, as at home: what a step is made by is read from these files.
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
RUN useradd --uid 10001 --create-home churn
WORKDIR /app
COPY configs configs
COPY data data
RUN mkdir .churn && chown churn .churn
STOPSIGNAL SIGTERM

FROM run AS train
COPY --from=train-build /venv /venv
COPY churn_assets churn_assets
COPY resources resources
COPY jobs jobs
COPY pyproject.toml workspace.yaml ./
USER churn
# A step is a job, which its engine watches; of a code server, Dagster itself asks.
HEALTHCHECK NONE
ENTRYPOINT ["churn", "--root", "/app"]
CMD ["--help"]

FROM run AS train-cuda
COPY --from=train-cuda-build /venv /venv
COPY churn_assets churn_assets
COPY resources resources
COPY jobs jobs
COPY pyproject.toml workspace.yaml ./
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER churn
HEALTHCHECK NONE
ENTRYPOINT ["churn", "--root", "/app"]
CMD ["--help"]

FROM run AS serve
COPY --from=serve-build /venv /venv
ENV PYTHONPATH=
USER churn
EXPOSE 8080
# The log's folder should be a volume that outlives the container; what was sealed is shipped to the store anyway.
VOLUME /app/.churn
# Whether the process answers at all: one that is only not ready (no release leads yet, a disk is full) heals by itself,
# and to start it anew would not help.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/v2/health/live', timeout=4).read()"]
ENTRYPOINT ["churn", "--root", "/app", "serve", "--host", "0.0.0.0", "--port", "8080"]
CMD ["--experiment", "quickstart", "--workers", "1"]
