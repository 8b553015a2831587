# Two images. They have not been built where visplay is developed, which has no container engine.
#   docker build -t visplay .                         # for a CPU
#   docker build --target gpu -t visplay:gpu .        # with vLLM, for an NVIDIA GPU
#   docker run --rm -it -v "$PWD/runs:/data/runs" visplay train /data/demo.yaml
#   docker run --rm -it --gpus all --ipc host -v "$PWD:/data" visplay:gpu doctor /data/mine.yaml
FROM python:3.11-slim-bookworm AS source
WORKDIR /src
COPY . /src
RUN useradd --create-home --uid 1000 user && mkdir /data && chown user /data

# The wheels of torch contain CUDA; the host needs a driver and the NVIDIA container toolkit. Triton compiles its kernels
# when they are first used, with a C compiler.
FROM source AS gpu
# hadolint ignore=DL3008,DL3013
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir '.[vllm]'
USER 1000
WORKDIR /data
ENTRYPOINT ["visplay"]
CMD ["--help"]

FROM source AS cpu
RUN pip install --no-cache-dir -c constraints.txt '.[benchmarks]' \
    && visplay pocket images /data/pictures --count 1500 --seed 1 \
    && visplay config init pocket /data/pictures --out /data/demo.yaml \
    && chown -R user /data
USER 1000
WORKDIR /data
ENTRYPOINT ["visplay"]
CMD ["--help"]
