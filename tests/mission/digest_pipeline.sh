#!/usr/bin/env bash
# Lines 4.01 to 4.22: publish, pin, roll out, roll back. digest_pipeline.sh LINE
# examples/digest-pipeline has operate-ui, runtime and engine, their bake file corten.hcl and k8s/*.yaml.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

components="operate-ui runtime engine"
published() {  # builds and pushes all components to a registry of our own; the record to docker-image-digests.json
  example digest-pipeline
  with_registry
  tried corten bake --push --set "*.registry=$REGISTRY" --digests docker-image-digests.json
}
workflow() {
  example digest-pipeline
  tried corten ci github --output "$scratch/workflows" .
}
has() { grep -rqE -- "$1" "$scratch/workflows" || refuse "the workflow lacks '$1'"; }

line_4_01() {
  example digest-pipeline
  tried corten bake
  for c in $components; do
    [ "$(field "ghcr.io/demon/demon-$c:latest" "i['Config'].get('User', '') not in ('', 'root', '0')")" = True ] || refuse "$c runs as root"
  done
}
line_4_02() {
  published
  for c in $components; do
    for arch in amd64 arm64; do tried corten pull --platform "linux/$arch" "$REGISTRY/demon-$c:latest"; done
  done
}
line_4_03() {
  workflow
  has pull_request
  has "github.event_name != 'pull_request'"
}
line_4_04() {
  published
  tried corten tags --git .
  says '^latest'
  says 'sha-[0-9a-f]{40}'
  fails 1 corten push --immutable 'sha-*' "$REGISTRY/demon-engine:sha-0000"
}
line_4_05() {
  with_registry
  echo token >token
  tried corten login -u "\$GITHUB_ACTOR" --password-stdin "$REGISTRY" <token
}
line_4_06() {
  published
  for c in $components; do grep -qE "\"$c\": *\"sha256:[0-9a-f]{64}\"" docker-image-digests.json || refuse "$c is not in the record"; done
}
line_4_07() {
  example digest-pipeline
  fails 1 corten pin --digests missing.json k8s
  says 'missing\.json'
  tried corten pin --digests missing.json --fallback-tag main k8s
}
line_4_08() {
  example digest-pipeline
  tried corten record find --branch main --successful --output docker-image-digests.json
  grep -q 'sha256:' docker-image-digests.json || refuse "the record has no digests"
}
line_4_09() {
  published
  cp -r k8s before
  tried corten pin --digests docker-image-digests.json k8s
  for c in $components; do grep -rqE "demon-$c@sha256:[0-9a-f]{64}" k8s || refuse "$c is not pinned"; done
  diff -r before k8s | grep '^[<>]' | grep -v 'image:' && refuse "other bytes changed"
  return 0
}
line_4_10() {
  { sleep 1; exec python3 -m http.server --bind 127.0.0.1 38410; } >/dev/null 2>&1 &
  # shellcheck disable=SC2064 # the id of now
  trap "kill $!; finish" EXIT
  tried corten check health --retries 10 --interval 300ms http://127.0.0.1:38410/
  fails 1 corten check health --retries 2 --interval 100ms http://127.0.0.1:1/
}
line_4_11() {
  example digest-pipeline
  tried corten lint k8s
}
line_4_12() {
  published
  tried corten check published --digests docker-image-digests.json
}
line_4_13() {
  published
  DEMON_PLACEHOLDER=1 tried corten pin --digests docker-image-digests.json --placeholder nginx:alpine k8s
  grep -rq 'nginx:alpine' k8s || refuse "no placeholder"
  tried corten pin --digests docker-image-digests.json k8s
  ! grep -rq 'nginx:alpine' k8s || refuse "the placeholder stayed"
}
line_4_14() {
  published
  tried corten rollback --to 1 k8s
}
line_4_15() {
  command -v kubectl >/dev/null || refuse "kubectl is not there: a cluster is needed"
  tried corten deploy --wait 30s k8s
}
line_4_16() {
  example digest-pipeline
  for c in $components; do tried corten build --size-budget 100MB -f "$c/Dockerfile" .; done
}
line_4_17() { tried corten stats --success-rate 95; }
line_4_18() { tried corten stats --trend size,duration; }
line_4_19() {
  with_base builder-go
  tried corten scan --exit-code 0 --new-since 2020-01-01 --format json aic-sos/builder-go:12
  says CVE
}
line_4_20() { tried corten stats --pulls; }
line_4_21() {
  workflow
  has 'type=registry'
  has 'corten scan'
  has 'linux/arm64'
}
line_4_22() {
  workflow
  has 'paths:'
  has workflow_dispatch
}

play "$1"
