# faceclr on the CPU.
#
#   docker build --build-arg TORCH_INDEX=ADDRESS -t faceclr .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" faceclr verify a.jpg b.jpg
#
# ADDRESS is the package index of PyTorch's CPU builds, which https://pytorch.org/get-started/locally/ shows. The default
# build contains the CUDA libraries, which alone take more than 2 GB.
FROM python:3.12-slim AS build
ARG TORCH_INDEX
RUN test -n "$TORCH_INDEX" || { echo "set --build-arg TORCH_INDEX=... (see the head of the Dockerfile)" >&2; exit 1; }
RUN python -m venv /opt/faceclr
RUN /opt/faceclr/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision
COPY . /src
RUN /opt/faceclr/bin/pip install --no-cache-dir "/src[heif,onnx,search]" && \
    # The tests of the packages and the C++ headers of PyTorch take 300 MB.
    find /opt/faceclr/lib -depth -type d '(' -name tests -o -name test ')' -exec rm -r {} + && \
    rm -r /opt/faceclr/lib/python3.12/site-packages/torch/include

FROM python:3.12-slim
COPY --from=build /opt/faceclr /opt/faceclr
ENV PATH=/opt/faceclr/bin:$PATH FACECLR_CACHE=/var/cache/faceclr
# Any user may write the cache, since files below /data belong to the user of the host who runs the container.
RUN useradd --create-home faceclr && install -d -o faceclr /data && install -d -m 1777 /var/cache/faceclr
USER faceclr
WORKDIR /data
# It computes for several seconds. Docker reserves exit codes above 1.
HEALTHCHECK --interval=1h --timeout=5m --start-period=5m CMD faceclr doctor --quiet || exit 1
ENTRYPOINT ["faceclr"]
CMD ["--help"]
