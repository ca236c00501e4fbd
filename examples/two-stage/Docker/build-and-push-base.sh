#!/bin/sh
# build-and-push-base.sh [--push]: the image with toolchain and compiled dependencies. Slow, large, seldom.
set -eu
cd "$(dirname "$0")"
# shellcheck source=settings.sh
. ./settings.sh
push=
[ "${1-}" != --push ] || push=1

[ -z "$push" ] || check_credentials

build_base() { # more flags
  "$CORTEN" build --progress=plain --platform "$PLATFORM" -f base/Dockerfile --build-arg DEPENDENCIES="$DEPENDENCIES" \
    --build-arg RUST_IMAGE="colony/$rust:12" "$@" ..
}
try_crates() {
  rust='rust-crates'
  ensure_base "$rust"
  DEPENDENCIES=crates build_base --target chef-crates "$@"
}
set -- # from here on: the flags of a build
if [ "$DEPENDENCIES" != vendored ]; then
  [ -z "$AUTHORITIES" ] || set -- --secret id=authorities,src="$AUTHORITIES"
  if try_crates "$@"; then
    DEPENDENCIES=crates
  elif [ "$DEPENDENCIES" = auto ]; then
    warning "The crates registry cannot be reached: dependencies come from vendor/ (DEPENDENCIES=vendored does not try)"
    DEPENDENCIES=vendored
  else
    error "cargo-chef cannot be had from the crates registry"
    exit 1
  fi
fi
if [ "$DEPENDENCIES" = vendored ]; then
  rust=rust
  ensure_base "$rust"
  set --
fi
local_image=$ECR_BASE_REPOSITORY:$BASE_IMAGE_TAG
info "Building $local_image, version $BUILD_VERSION, dependencies: $DEPENDENCIES"
started=$(now)
build_base --load --build-arg BUILD_VERSION="$BUILD_VERSION" -t "$local_image" "$@"
info "Built in $(($(now) - started)) s"
if [ -n "$push" ]; then
  ensure_repository "$ECR_BASE_REPOSITORY"
  push_image "$local_image" "$ECR_BASE_REPOSITORY:$BASE_IMAGE_TAG"
fi
info "Next: build-and-push-colony.sh"
