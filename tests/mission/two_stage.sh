#!/usr/bin/env bash
# Lines 2.01 to 2.23: dependencies in a base image, code in a tiny one. two_stage.sh LINE
# examples/two-stage has the workspace, Docker/base/Dockerfile, Docker/colony/Dockerfile and the two scripts, as their people know them.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Whether the crates registry can be reached is no matter of a test.
export DEPENDENCIES=vendored

base=distributed-colony-base:latest
colony=distributed-colony:latest

build_base() { tried Docker/build-and-push-base.sh "$@"; }
build_colony() { tried Docker/build-and-push-colony.sh "$@"; }
with_colony() {
  example two-stage
  build_base
  build_colony
}

line_2_01() {
  example two-stage
  build_base
  for stage in chef planner builder; do says "$stage"; done
  silent_on 'Compiling .*gui'
}
line_2_02() {
  example two-stage
  build_base
  echo "// edited $(date +%s%N)" >>backend/src/main.rs
  build_base
  silent_on 'Compiling'
  echo "# edited $(date +%s%N)" >>Cargo.toml
  build_base
  says 'Compiling'
}
line_2_03() {
  with_colony
  printf 'FROM %s AS image\nFROM scratch\nCOPY --from=image / /\n' "$colony" | dockerfile
  built -o root
  for name in backend coordinator; do
    ! readelf -SW "$(find root -name "$name" -type f | head -n 1)" | grep -q '\.symtab' || refuse "$name is not stripped"
  done
}
line_2_04() {
  example two-stage
  with_registry
  with_ecr
  ECR_ENDPOINT=$REGISTRY build_base --push
  says 'distributed-colony-base made'
  says 'Image URI: 123456789012\.dkr\.ecr\.eu-west-1\.amazonaws\.com/distributed-colony-base:latest'
}
line_2_05() { with_colony; }
line_2_06() {
  example two-stage
  corten rmi "$base" >/dev/null 2>&1
  fails 1 Docker/build-and-push-colony.sh
  says "Base image 'distributed-colony-base:latest' not found locally"
  says 'build-and-push-base\.sh'
}
line_2_07() {
  with_colony
  with_registry
  with_ecr
  ECR_ENDPOINT=$REGISTRY build_colony --push
  says '[0-9]+\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/distributed-colony:latest'
}
line_2_08() {
  with_colony
  [ "$(field "$colony" "i['Size'] < 50000000")" = True ] || refuse "not below 50 MB"
  for program in sh bash apt-get dpkg gcc cargo; do
    ! corten run --rm --entrypoint "$program" "$colony" --version >/dev/null 2>&1 || refuse "$program is in the image"
  done
}
line_2_09() {
  with_colony
  started colony-backend -p 8082:8082 "$colony"
  answers http://127.0.0.1:8082/health
}
line_2_10() {
  with_colony
  started colony-coordinator -p 8083:8083 "$colony" coordinator aws
  answers http://127.0.0.1:8083/health
}
line_2_11() {
  with_colony
  echo "// edited $(date +%s%N)" >>backend/src/main.rs
  build_colony
  says 'Compiling backend'
  [ "$(grep -c Compiling "$scratch/out")" -le 3 ] || refuse "dependencies were compiled again"
}
line_2_12() {
  with_colony
  fails 1 corten build --platform linux/arm64 -f Docker/colony/Dockerfile .
  says 'linux-(arm64|amd64)-only'
  fails 1 env PLATFORM=linux/arm64 Docker/build-and-push-colony.sh
  says 'linux/amd64'
}
line_2_13() {
  with_ecr
  ensure() { tried corten ecr ensure distributed-colony --region eu-west-1 --scan-on-push --encryption AES256 --expire-days 30 "$@"; }
  ensure
  for word in 'scan on push: on' 'encryption: AES256' 'expiry: 30 days'; do says "$word"; done
  ensure
  says 'nothing changed'
  ensure --preview
  says 'would expire'
}
line_2_14() {
  example two-stage
  AWS_REGION=eu-west-3 ECR_REPOSITORY=other ECR_BASE_REPOSITORY=other-base IMAGE_TAG=t1 BASE_IMAGE_TAG=b1 BUILD_VERSION=7 BASE_IMAGE=other-base:b1 build_base
  tried corten inspect other-base:b1
}
line_2_15() {
  with_colony
  says '\[INFO\]'
  says 'cdk deploy'
}
line_2_16() {
  example two-stage
  fails 1 env -u AWS_ENDPOINT_URL AWS_EC2_METADATA_DISABLED=true AWS_ACCESS_KEY_ID=invalid AWS_SECRET_ACCESS_KEY=invalid Docker/build-and-push-base.sh --push
  says 'AWS CLI is not configured or credentials are invalid'
  says 'Please run: aws configure'
}
line_2_17() {
  with_base builder-rust
  mkdir -p context
  echo 'fn main() { let x: u8 = "text"; }' >context/main.rs
  printf 'FROM aic-sos/builder-rust:12\nWORKDIR /src\nCOPY main.rs .\nRUN rustc main.rs\n' | dockerfile
  fails 1 corten build --progress=plain context
  says 'mismatched types'
  says 'Dockerfile:4'
}
line_2_18() {
  with_colony
  with_registry
  tried corten tag "$colony" "$REGISTRY/colony:1"
  tried corten push "$REGISTRY/colony:1"
  tried podman pull --tls-verify=false "$REGISTRY/colony:1"
}
line_2_19() {
  with_base runtime
  mkdir -p repository/Docker
  printf 'FROM aic-sos/runtime:12\nCOPY . /all\n' >repository/Docker/Dockerfile
  echo target >repository/Docker/.dockerignore
  cd repository/Docker || exit
  tried corten build --progress=plain -f Dockerfile ..
  says '\.dockerignore'
  says 'Dockerfile\.dockerignore'
}
line_2_20() {
  example two-stage
  tried corten tags --git .
  says '[0-9]+\.[0-9]+\.[0-9]+'
}
line_2_21() {
  with_base runtime
  with_registry
  printf 'FROM aic-sos/runtime:12\nRUN echo cached >/x\n' | dockerfile
  built --cache-to "type=registry,ref=$REGISTRY/cache:1,mode=max,image-manifest=true,oci-mediatypes=true"
  built --cache-from "type=registry,ref=$REGISTRY/cache:1"
}
line_2_22() {
  example two-stage
  tried corten ci github --output "$scratch/workflows" .
}
line_2_23() {
  with_colony
  with_registry
  tried corten push "$colony" "$REGISTRY/colony:1"
  export COSIGN_PASSWORD=mission
  tried corten generate-key-pair
  tried corten sign --key cosign.key "$REGISTRY/colony:1"
  tried corten verify --key cosign.pub "$REGISTRY/colony:1"
}

play "$1"
