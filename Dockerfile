# faceclr on the CPU.
#
#   docker build --build-arg TORCH_INDEX=ADDRESS -t faceclr .
#   docker run --rm -v "$PWD:/data" faceclr verify a.jpg b.jpg
#
# ADDRESS is the package index of PyTorch's CPU builds, which https://pytorch.org/get-started/locally/ shows. The default
# build contains the CUDA libraries, which alone take more than 2 GB.
FROM python:3.12-slim AS build
ARG TORCH_INDEX
RUN test -n "$TORCH_INDEX" || { echo "set --build-arg TORCH_INDEX=... (see the head of the Dockerfile)" >&2; exit 1; }
RUN python -m venv /opt/faceclr
RUN /opt/faceclr/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision
COPY . /src
RUN /opt/faceclr/bin/pip install --no-cache-dir "/src[onnx,search,parquet]"

FROM python:3.12-slim
COPY --from=build /opt/faceclr /opt/faceclr
ENV PATH=/opt/faceclr/bin:$PATH FACECLR_CACHE=/var/cache/faceclr
RUN useradd --create-home faceclr && install -d -o faceclr /var/cache/faceclr /data
USER faceclr
WORKDIR /data
HEALTHCHECK --interval=5m --timeout=2m CMD faceclr doctor --quiet
ENTRYPOINT ["faceclr"]
CMD ["--help"]
