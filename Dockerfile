# The image of pushroll: one static binary and the CA certificates, nothing else: no shell, no package manager.
#
#   docker build -t pushroll:0.1.0 .
#   docker run --rm -t pushroll:0.1.0 demo --once
#
# It builds for the architecture that it is built on (x86-64, arm64). deploy/check-image checks what the image
# would contain without a Docker engine.

# As in rust-toolchain.toml.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-bookworm AS build
WORKDIR /source
# .dockerignore lists what comes along.
COPY . .
# The caches live outside the image; two builds at once must not write into one.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    deploy/build-static /image/pushroll
# /tmp is for `demo` alone, which makes its mount there; the service writes no file.
RUN mkdir -p /image/etc/ssl/certs \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && mkdir -m 1777 /image/tmp

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="pushroll" \
      org.opencontainers.image.description="Push an image, and the Kubernetes workloads that run it roll." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/pushroll/pushroll"
# The root as a whole: copying its directories one by one would lose the mode of /tmp.
COPY --from=build /image/ /
# A number, since Kubernetes cannot tell from a name that it is not root.
USER 65532:65532
# Pushes; probes, metrics and lookups. The admin listener is on loopback and has no port to publish.
EXPOSE 8080 9090
ENTRYPOINT ["/pushroll"]
# An image of a service runs the service. Without any setting `serve` refuses to start and says what it needs.
CMD ["serve"]
