# The CPU image. It has not been built where visplay is developed, which has no container engine.
#   docker build -t visplay .
#   docker run --rm -it -v "$PWD/runs:/data/runs" visplay train /data/demo.yaml
FROM python:3.11-slim-bookworm
WORKDIR /src
COPY . /src
RUN pip install --no-cache-dir -c constraints.txt . \
    && visplay pocket images /data/pictures --count 1500 --seed 1 \
    && visplay config init pocket /data/pictures --out /data/demo.yaml \
    && useradd --create-home user && chown -R user /data
USER user
WORKDIR /data
ENTRYPOINT ["visplay"]
CMD ["--help"]
