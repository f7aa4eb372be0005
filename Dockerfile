# goalsight on a CPU: docker build -t goalsight . && docker run --rm -v "$PWD/runs:/data/runs" goalsight demo
FROM python:3.11-slim
COPY . /opt/goalsight
# The index of PyTorch's builds for CPUs, or another one, as --build-arg: plain pip may choose a build with CUDA.
ARG PIP_EXTRA_INDEX_URL=
RUN pip install --no-cache-dir --constraint /opt/goalsight/constraints.txt /opt/goalsight
WORKDIR /data
ENTRYPOINT ["goalsight"]
CMD ["--help"]
