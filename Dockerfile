# syntax=docker/dockerfile:1

# Two images that hold one program each and nothing else: no shell, no libc, no package.
# `make images` builds the same ones without a container tool; that is how a release is
# built, see docs/release.md.
#
#   docker build --target controller -t sallyport-controller .
#   docker build --target sidecar -t sallyport-sidecar .
#
# For both architectures: docker buildx build --platform linux/amd64,linux/arm64 …
# They are two, since the sidecar runs in every pod and links no Kubernetes code.

ARG GO_VERSION=1.26

# The compiler runs on the builder's own architecture and crosses to the target's.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev
ENV CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH}

FROM source AS build-controller
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /controller ./cmd/controller

FROM source AS build-sidecar
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /sidecar ./cmd/sidecar

FROM scratch AS base
ARG VERSION=dev
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.description="Two-factor authentication in front of any web app" \
      org.opencontainers.image.source="https://github.com/sallyport/sallyport" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# For TLS to Redis and to identity sources whose certificates a public authority signed.
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# By number, so that runAsNonRoot can be checked without a passwd file.
USER 65532:65532

FROM base AS controller
LABEL org.opencontainers.image.title="Sallyport controller"
COPY --from=build-controller /controller /controller
ENTRYPOINT ["/controller"]

# The last is what a build without --target makes.
FROM base AS sidecar
LABEL org.opencontainers.image.title="Sallyport sidecar"
COPY --from=build-sidecar /sidecar /sidecar
ENTRYPOINT ["/sidecar"]
