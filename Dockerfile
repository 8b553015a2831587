# The CPU image. It has not been built where visplay is developed, which has no container engine.
#   docker build -t visplay .
#   docker run --rm -it -v "$PWD/runs:/work/runs" visplay train /work/demo.yaml
FROM python:3.11-slim-bookworm
WORKDIR /src
COPY . /src
RUN pip install --no-cache-dir -c constraints.txt . \
    && visplay pocket images /work/pictures --count 1500 --seed 1 \
    && visplay config init pocket /work/pictures --out /work/demo.yaml \
    && useradd --create-home user && chown -R user /work
USER user
WORKDIR /work
ENTRYPOINT ["visplay"]
CMD ["--help"]
