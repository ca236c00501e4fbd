#!/bin/sh
# build-and-push-base.sh [--push]: the image with toolchain and compiled dependencies. Slow, large, seldom.
set -eu
cd "$(dirname "$0")"
# shellcheck source=settings.sh
. ./settings.sh
push=
[ "${1-}" != --push ] || push=1

[ -z "$push" ] || check_credentials
ensure_base rust
local_image=$ECR_BASE_REPOSITORY:$BASE_IMAGE_TAG
info "Building $local_image, version $BUILD_VERSION"
started=$(now)
"$CORTEN" build --progress=plain --platform "$PLATFORM" --load -f base/Dockerfile --build-arg BUILD_VERSION="$BUILD_VERSION" -t "$local_image" ..
info "Built in $(($(now) - started)) s"
if [ -n "$push" ]; then
  ensure_repository "$ECR_BASE_REPOSITORY"
  push_image "$local_image" "$ECR_BASE_REPOSITORY:$BASE_IMAGE_TAG"
fi
info "Next: build-and-push-colony.sh"
