#!/bin/sh
# build-and-push-colony.sh [--push]: the application on its base image, which must be here: it is never pulled.
set -eu
cd "$(dirname "$0")"
# shellcheck source=settings.sh
. ./settings.sh
push=
[ "${1-}" != --push ] || push=1

if ! "$CORTEN" inspect "$BASE_IMAGE" >/dev/null 2>&1; then
  error "Base image '$BASE_IMAGE' not found locally!"
  info "Please build the base image first:"
  info "  Docker/build-and-push-base.sh"
  exit 1
fi
[ -z "$push" ] || check_credentials
ensure_base runtime
local_image=$ECR_REPOSITORY:$IMAGE_TAG
info "Building $local_image, version $BUILD_VERSION, on $BASE_IMAGE"
started=$(now)
"$CORTEN" build --progress=plain --pull=false --platform "$PLATFORM" --load -f colony/Dockerfile --build-arg BASE_IMAGE="$BASE_IMAGE" \
  --build-arg BUILD_VERSION="$BUILD_VERSION" -t "$local_image" ..
info "Built in $(($(now) - started)) s"
if [ -n "$push" ]; then
  ensure_repository "$ECR_REPOSITORY"
  push_image "$local_image" "$ECR_REPOSITORY:$IMAGE_TAG"
fi
warning "To deploy: cdk deploy (the stack takes ${uri:-<account>.dkr.ecr.$AWS_REGION.amazonaws.com/$ECR_REPOSITORY:$IMAGE_TAG})"
