#!/usr/bin/env bash
# Lines 1.01 to 1.29: a monorepo of small services. five_services.sh LINE
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

line_1_01() {
  with_services
  in_five container-build
  for s in $services; do tried corten inspect "$registry/$s:latest"; done
}
line_1_02() {
  with_services
  for s in $services; do
    tried corten rmi "$registry/$s:latest"
    in_five "container-build-$s"
    tried corten inspect "$registry/$s:latest"
  done
}
built_for() {  # built_for ARCHITECTURE
  with_services
  in_five "container-build-$1" DOCKER_TAGS="only-$1"
  for s in $services; do
    local got
    got=$(field "$registry/$s:only-$1" "i['Architecture']") || exit
    [ "$got" = "$1" ] || refuse "$s is for $got"
    corten rmi "$registry/$s:only-$1" >/dev/null
  done
}
line_1_03() { built_for amd64; }
line_1_04() { built_for arm64; }
line_1_05() {
  with_services
  in_five container-build-agent BUILD_PLATFORMS=linux/amd64,linux/arm64 DOCKER_TAGS=multi
  in_five container-build BUILD_PLATFORMS=linux/amd64,linux/arm64 DOCKER_TAGS=multi
  tried corten build --platform linux/amd64,linux/arm64 -f "$ex/agent/Dockerfile" -o type=oci,dest=multi.tar "$ex"
  tar xf multi.tar index.json
  grep -q arm64 index.json || { tar xf multi.tar && grep -rqs '"arm64"' blobs; } || refuse "the index has no arm64"
}
line_1_06() {
  with_services
  tried corten build --load --platform linux/amd64,linux/arm64 -t multi:1 -f "$ex/agent/Dockerfile" "$ex"
  says '(multi-platform|platforms)'
}
line_1_07() {
  with_services
  in_five container-build DOCKER_REGISTRY=myregistry.example DOCKER_TAGS='v1.0.0 latest'
  for s in $services; do
    [ "$(field "myregistry.example/$s:v1.0.0" "i['Id']")" = "$(field "myregistry.example/$s:latest" "i['Id']")" ] || refuse "two tags, two images"
  done
  in_five container-clean DOCKER_REGISTRY=myregistry.example DOCKER_TAGS='v1.0.0 latest'
}
line_1_08() {
  with_services
  tried corten images
  for s in $services; do says "$registry/$s +latest .* [0-9.]+ ?[kM]B"; done
}
line_1_09() {
  with_services
  for s in $services; do
    [ "$(field "$registry/$s:latest" "i['Size'] < $(budget_of "$s") * 1000000")" = True ] || refuse "$s is over its budget"
    tried corten history "$registry/$s:latest"
    says 'COPY .*[0-9.]+ ?[kM]B'
  done
}
line_1_10() {
  with_services
  for s in $services; do
    tried corten build -q --target build -f "$ex/$s/Dockerfile" "$ex"
    local builder
    builder=$(field "$(tail -n 1 "$scratch/out")" "i['Size']") || exit
    [ "$(field "$registry/$s:latest" "i['Size'] * 2 < $builder")" = True ] || refuse "$s is not below half of its builder stage"
  done
}
line_1_11() {
  with_base runtime
  for base in runtime builder-go builder-rust; do
    [ -s "$ex/bases/$base.yaml.lock" ] || refuse "bases/$base.yaml.lock is not there"
    grep -q '^package ' "$ex/bases/$base.yaml.lock" || refuse "bases/$base.yaml.lock pins nothing"
    ! grep '^package ' "$ex/bases/$base.yaml.lock" | grep -qvE 'sha256:[0-9a-f]{64}' || refuse "bases/$base.yaml.lock: a package without a digest"
  done
  tried corten base build -f "$ex/bases/runtime.yaml" -t mission/runtime-again:1
  [ "$(field mission/runtime-again:1 "i['Id']")" = "$(field aic-sos/runtime:12 "i['Id']")" ] || refuse "the same lock gave another image"
}
line_1_12() {
  with_services
  for s in $services; do
    rm -rf root
    printf 'FROM %s AS image\nFROM scratch\nCOPY --from=image /usr/local/bin/%s /\n' "$registry/$s:latest" "$s" | dockerfile
    built -o root
    readelf -lW "root/$s" >headers 2>&1 || refuse "readelf: $(tail -n 1 headers)"
    ! grep -q INTERP headers || refuse "$s asks for a dynamic linker"
    ! readelf -SW "root/$s" | grep -q '\.symtab' || refuse "$s is not stripped"
  done
}
line_1_13() {
  with_services
  for s in $services; do
    local port
    port=$(port_of "$s")
    started "test-$s" -p "$port:$port" "$registry/$s:latest"
    answers "http://127.0.0.1:$port/health"
    says "\"$s\""
    tried corten rm -f "test-$s"
  done
}
line_1_14() {
  with_services
  started test-health "$registry/agent:latest"
  health test-health healthy
  tried corten rm -f test-health  # on the machine's network both would listen on one port
  printf 'FROM %s\nHEALTHCHECK --interval=200ms --retries=2 CMD false\n' "$registry/agent:latest" | dockerfile
  built -t mission/broken:1
  started test-broken mission/broken:1
  health test-broken unhealthy
}
line_1_15() {
  with_services
  for s in $services; do
    tried corten run --rm --entrypoint id "$registry/$s:latest"
    [ "$(cat out)" = "uid=1000(app) gid=1000(app) groups=1000(app)" ] || refuse "$s: $(cat out)"
  done
}
line_1_16() {
  with_services
  started test-life -p 8000:8000 "$registry/control-plane:latest"
  answers http://127.0.0.1:8000/health
  tried corten logs test-life
  says 'listens on port 8000'
  tried corten exec test-life wget -q -O - http://localhost:8000/health
  says control-plane
  tried corten stop test-life
  tried corten ps -a
  says 'test-life'
  tried corten rm -f test-life
  tried corten ps -a
  silent_on test-life
}
line_1_17() {
  with_services
  rm -rf edited && cp -r "$ex" edited
  local marker=marker-$RANDOM$RANDOM
  sed -i "s/unknown path/$marker/" edited/agent/src/main.rs
  sed -i "s/name is missing/$marker/" edited/control-plane/main.go
  for s in agent control-plane; do
    tried corten build --progress=plain -t mission/edited:1 -f "edited/$s/Dockerfile" edited
    grep -E -A 2 '(echo .fn main|RUN.*<<SH|RUN --mount.*SH)' out | grep -q CACHED || refuse "$s: the dependency step ran again"
    printf 'FROM mission/edited:1 AS image\nFROM scratch\nCOPY --from=image /usr/local/bin/%s /\n' "$s" | dockerfile
    rm -rf root
    built -o root
    grep -qa "$marker" "root/$s" || refuse "$s: the edit is not in the binary"
  done
}
line_1_18() {
  with_services
  rm -rf noisy && cp -r "$ex" noisy
  tried corten build -q -f noisy/agent/Dockerfile noisy
  local before
  before=$(tail -n 1 out)
  mkdir -p noisy/.git noisy/docs noisy/agent/target noisy/node_modules
  for f in .git/HEAD docs/a.txt agent/target/x node_modules/y README.md agent/notes.md; do echo "$RANDOM" >"noisy/$f"; done
  tried corten build --progress=plain --iidfile id -f noisy/agent/Dockerfile noisy
  grep -qE 'RUN cargo build' out && ! grep -A 2 -E 'RUN (cargo|mkdir src)' out | grep -q CACHED && refuse "an ignored change rebuilt something"
  [ "$(cat id)" = "$before" ] || refuse "an ignored change gave another image"
}
line_1_19() {
  with_services
  with_registry
  printf 'secret' >token
  tried corten login -u ci --password-stdin "$REGISTRY" <token
  in_five container-build container-push DOCKER_REGISTRY="$REGISTRY/aic-sos"
  for s in $services; do tried corten rmi "$REGISTRY/aic-sos/$s:latest"; tried corten pull "$REGISTRY/aic-sos/$s:latest"; done
}
line_1_20() {
  with_services
  with_registry
  tried corten build --push --platform linux/amd64,linux/arm64 -t "$REGISTRY/agent:latest" -t "$REGISTRY/agent:v0.1.0" -f "$ex/agent/Dockerfile" "$ex"
  for arch in amd64 arm64; do
    tried corten pull --platform "linux/$arch" "$REGISTRY/agent:v0.1.0"
    [ "$(field "$REGISTRY/agent:v0.1.0" "i['Architecture']")" = "$arch" ] || refuse "pulled for another architecture than $arch"
  done
}
line_1_21() {
  with_services
  in_five container-build DOCKER_TAGS=to-clean
  in_five container-clean DOCKER_TAGS=to-clean
  tried corten images
  silent_on to-clean
}
line_1_22() {
  with_example
  fails 1 corten build "$ex"
  for s in $services; do says "$s/Dockerfile"; done
}
line_1_23() {
  with_services
  fails 1 corten build --size-budget 1MB -f "$ex/agent/Dockerfile" "$ex"
  says 'Dockerfile:[0-9]+ COPY --from=build'
}
line_1_24() {
  with_services
  printf 'FROM %s\nHEALTHCHECK --interval=200ms --retries=2 CMD echo the disk is full; false\n' "$registry/agent:latest" | dockerfile
  built -t mission/broken:2
  started test-sick mission/broken:2
  health test-sick unhealthy
  tried corten inspect test-sick
  says 'the disk is full'
  tried corten ps -a
  says 'corten logs'
}
line_1_25() {
  tried corten buildx version
  tried corten buildx create --use --name aic-sos
  tried corten buildx inspect --bootstrap
  tried corten buildx ls
  tried corten buildx rm aic-sos
}
line_1_26() {
  with_services
  tried corten scan --severity HIGH,CRITICAL "$registry/agent:latest"
  fails 1 corten scan --severity LOW,MEDIUM,HIGH,CRITICAL aic-sos/builder-go:12
  says 'CVE-[0-9]+-[0-9]+'
}
signed_with_key() {  # signed_with_key IMAGE
  export COSIGN_PASSWORD=mission
  tried corten generate-key-pair
  tried corten sign --key cosign.key "$1"
  tried corten verify --key cosign.pub "$1"
}
line_1_27() {
  with_services
  with_registry
  tried corten tag "$registry/agent:latest" "$REGISTRY/agent:1"
  tried corten push "$REGISTRY/agent:1"
  signed_with_key "$REGISTRY/agent:1"
}
line_1_28() {
  with_services
  tried corten sbom --format spdx-json "$registry/agent:latest"
  says busybox
}
line_1_29() {
  with_example
  tried corten ci github --output "$scratch/workflows" "$ex"
  for word in tags: 'corten scan' 'corten sign'; do grep -rq "$word" workflows || refuse "the workflow lacks '$word'"; done
}

play "$1"
