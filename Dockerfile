# Images of the controller, of the sidecar and of the command line. They hold one static program each and nothing else:
# no shell, no libraries.
#
# `make images` builds them. By hand: the programs are built before, on a machine with Rust, for the architecture of the
# image:
#
#   target=x86_64-unknown-linux-gnu                  # or aarch64-unknown-linux-gnu
#   RUSTFLAGS="-C target-feature=+crt-static" \
#     cargo build --locked --profile dist --target $target --bin rescind-controller --bin rescind-sidecar --bin rescind
#
# (Without --target, the flag would reach build scripts and macros too, which can't be static.) Then, for each image:
#
#   docker build --target controller --build-arg TARGET=$target -t rescind-controller .
#   docker build --target sidecar    --build-arg TARGET=$target -t rescind-sidecar .
#   docker build --target cli        --build-arg TARGET=$target -t rescind-cli .
#
# `buildah bud` takes the same arguments, and Docker needs no BuildKit. To make an image for another architecture than the
# machine's, add --platform (linux/arm64, say); that takes BuildKit.
#
# There is no system around the programs, so:
# - folders for --data, --admin and --socket are volumes, writable for user 65532;
# - certificates are given by flags; for traces over https, also OTEL_EXPORTER_OTLP_CERTIFICATE;
# - probes are asked over HTTP (--health), for there is nothing to execute.

ARG TARGET=x86_64-unknown-linux-gnu

FROM scratch AS base
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
# A number, so that a cluster can see that it is not root.
USER 65532:65532

FROM base AS controller
ARG TARGET
LABEL org.opencontainers.image.title=rescind-controller \
      org.opencontainers.image.description="Keeps revocation lists and proves to sidecars how fresh theirs are"
COPY target/${TARGET}/dist/rescind-controller /rescind-controller
ENTRYPOINT ["/rescind-controller"]

FROM base AS sidecar
ARG TARGET
LABEL org.opencontainers.image.title=rescind-sidecar \
      org.opencontainers.image.description="Follows revocation lists and answers whether tokens may be accepted"
COPY target/${TARGET}/dist/rescind-sidecar /rescind-sidecar
# Gives large blocks back to the system when they are freed, and not only when the heap happens to shrink: after a snapshot
# of 100,000 entries the sidecar is half the size (docs/benchmarks.md).
ENV MALLOC_MMAP_THRESHOLD_=65536
ENTRYPOINT ["/rescind-sidecar"]

FROM base AS cli
ARG TARGET
LABEL org.opencontainers.image.title=rescind-cli \
      org.opencontainers.image.description="Revokes tokens, and waits until that is enforced"
COPY target/${TARGET}/dist/rescind /rescind
ENTRYPOINT ["/rescind"]
