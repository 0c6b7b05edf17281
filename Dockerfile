# Images of the controller and of the sidecar. They hold one static program each and nothing else: no shell, no libraries.
#
# The programs are built before, on a machine with Rust, for the architecture of the image:
#
#   target=x86_64-unknown-linux-gnu                  # or aarch64-unknown-linux-gnu
#   RUSTFLAGS="-C target-feature=+crt-static" \
#     cargo build --locked --profile dist --target $target --bin rescind-controller --bin rescind-sidecar
#
# (Without --target, the flag would reach build scripts and macros too, which can't be static.) Then, for each image:
#
#   docker build --target controller --build-arg TARGET=$target -t rescind-controller .
#   docker build --target sidecar    --build-arg TARGET=$target -t rescind-sidecar .
#
# `buildah bud` takes the same arguments. To make an image for another architecture than the machine's, add --platform.
#
# There is no system around the programs, so:
# - folders for --data, --admin and --socket are volumes, writable for user 65532;
# - certificates are given by flags; for traces over https, also OTEL_EXPORTER_OTLP_CERTIFICATE;
# - probes are asked over HTTP (--health), for there is nothing to execute.

ARG TARGET=x86_64-unknown-linux-gnu
ARG PROFILE=dist

FROM scratch AS controller
ARG TARGET
ARG PROFILE
COPY --chmod=0555 target/${TARGET}/${PROFILE}/rescind-controller /rescind-controller
# A number, so that a cluster can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/rescind-controller"]

FROM scratch AS sidecar
ARG TARGET
ARG PROFILE
COPY --chmod=0555 target/${TARGET}/${PROFILE}/rescind-sidecar /rescind-sidecar
# Gives large blocks back to the system when they are freed, and not only when the heap happens to shrink: after a snapshot
# of 100,000 entries the sidecar is half the size (docs/benchmarks.md).
ENV MALLOC_MMAP_THRESHOLD_=65536
USER 65532:65532
ENTRYPOINT ["/rescind-sidecar"]
