# The image of cluster.yaml and configs/rayjob.yaml: the package, Ray and PyTorch on Python 3.11.
#
#   docker build -t registry.example.com/lightpfp-ray:0.1.0.dev0 .
#   docker push registry.example.com/lightpfp-ray:0.1.0.dev0
#
# PyTorch is the one for CPUs. For NVIDIA GPUs add --build-arg TORCH_INDEX=https://pypi.org/simple

# Debian keeps but one version of a package, so that none is named:
# hadolint global ignore=DL3008

FROM python:3.11-slim AS wheel
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim
# KubeRay's health checks call wget; `ray up` copies files with rsync, and its head reaches the
# workers by ssh.
RUN apt-get update \
 && apt-get install -y --no-install-recommends openssh-client rsync wget \
 && rm -rf /var/lib/apt/lists/*

# All nodes, and whoever submits a job, need the same Ray. boto3 lets the head of cluster.yaml start
# and stop nodes. Into the system's Python: a login shell resets PATH, and finds /usr/local/bin.
ARG RAY_VERSION=2.60.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" 'torch>=2.13,<2.14' \
 && pip install --no-cache-dir "$(ls /tmp/wheels/*.whl)[train]" "ray[data,default,train,tune]==$RAY_VERSION" \
    'boto3>=1.34,<2' \
 && rm -rf /tmp/wheels

# Number 1000 is the user `ubuntu` of the machines of cluster.yaml: files that are mounted from
# there, the token among them, belong to it. Mounts need .ray to exist, or root would own it.
RUN useradd --create-home --uid 1000 --shell /bin/bash ray \
 && install --directory --owner ray --group ray --mode 700 /home/ray/.ray
ENV HOME=/home/ray
USER 1000
WORKDIR /home/ray
CMD ["lightpfp-ray", "--help"]
