#!/usr/bin/env bash
# Lines 3.01 to 3.31: everything a modern builder offers. buildkit_tour.sh LINE
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

from="FROM aic-sos/runtime:12"

line_3_01() {
  with_base runtime
  # Each stage waits until it has seen the other at work: one after the other would never end.
  dockerfile <<EOF2
$from AS left
RUN --mount=type=cache,id=meet-$$,target=/m touch /m/left; for i in \$(seq 100); do [ -e /m/right ] && exit 0; sleep 0.1; done; exit 1
$from AS right
RUN --mount=type=cache,id=meet-$$,target=/m touch /m/right; for i in \$(seq 100); do [ -e /m/left ] && exit 0; sleep 0.1; done; exit 1
FROM scratch
COPY --from=left /etc/hostname /left
COPY --from=right /etc/hostname /right
EOF2
  sed -i 's|/etc/hostname|/etc/passwd|' context/Dockerfile
  built
}
line_3_02() {
  with_base runtime
  for round in 1 2; do
    dockerfile <<EOF2
$from
RUN --mount=type=cache,id=keep-$$,target=/var/cache/packages echo $round; cat /var/cache/packages/kept || echo kept >/var/cache/packages/kept
RUN test ! -e /var/cache/packages/kept
EOF2
    built
  done
  says '^(#[0-9]+ [0-9.]+ )?kept'
}
line_3_03() {
  with_base runtime
  local secret=s3cret-$RANDOM$RANDOM
  printf '%s' "$secret" >token
  dockerfile <<EOF2
$from
RUN --mount=type=secret,id=token test "\$(wc -c </run/secrets/token)" = ${#secret}
RUN --mount=type=secret,id=key,env=KEY test "\${#KEY}" = ${#secret}
EOF2
  KEY_HERE=$secret built --no-cache --secret id=token,src=token --secret id=key,env=KEY_HERE -t mission/secret:1 --metadata-file meta.json
  silent_on "$secret"
  tried corten history --no-trunc mission/secret:1
  silent_on "$secret"
  tried corten save -o secret.tar mission/secret:1
  mkdir layers && tar xf secret.tar -C layers
  ! grep -rqa "$secret" layers meta.json || refuse "the secret is in the image"
  for layer in layers/blobs/sha256/*; do ! gzip -dc "$layer" 2>/dev/null | grep -qa "$secret" || refuse "the secret is in a layer"; done
  ! grep -rqa "$secret" "$CORTEN_STORE" || refuse "the secret is in the store"
}
line_3_04() {
  with_base runtime
  printf '%s\nRUN --mount=type=ssh test -S "$SSH_AUTH_SOCK"\n' "$from" | dockerfile
  eval "$(ssh-agent)" >/dev/null
  trap 'kill '"$SSH_AGENT_PID"'; finish' EXIT
  built --ssh default
}
line_3_05() {
  with_base runtime
  dockerfile <<EOF2
$from
RUN <<SH
echo one >/heredoc
echo two >>/heredoc
SH
COPY <<FILE /page
hello from a heredoc
FILE
RUN grep -q two /heredoc && grep -q hello /page
EOF2
  built
}
line_3_06() {
  with_base runtime
  for line in docker/dockerfile:1 docker/dockerfile:1.7-labs docker.io/docker/dockerfile:latest; do
    printf '# syntax=%s\n%s\nRUN true\n' "$line" "$from" | dockerfile
    built
  done
}
line_3_07() {
  with_base runtime
  mkdir -p context/in
  touch context/in/a.txt context/in/b.txt context/in/c.md
  printf '%s\nCOPY --chown=1000:1000 ["in/*.txt", "/out dir/"]\nRUN test "$(ls "/out dir" | wc -l)" = 2 && test "$(stat -c %%u:%%g "/out dir/a.txt")" = 1000:1000\n' "$from" | dockerfile
  built
}
line_3_08() {
  with_base runtime
  printf '%s\nHEALTHCHECK --interval=5s --timeout=3s --start-period=2s --start-interval=1s --retries=4 CMD wget -q --spider http://localhost/ || exit 1\n' "$from" | dockerfile
  built -t mission/health:1
  local got
  got=$(field mission/health:1 "sorted((k, v) for k, v in i['Config']['Healthcheck'].items() if k != 'Test')") || exit
  [ "$got" = "[('Interval', 5000000000), ('Retries', 4), ('StartInterval', 1000000000), ('StartPeriod', 2000000000), ('Timeout', 3000000000)]" ] || refuse "got $got"
}
line_3_09() {
  with_base runtime
  printf '%s\nRUN echo plain-output-%s\n' "$from" $$ | dockerfile
  DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain tried corten build --no-cache context
  says '^#[0-9]+ .*plain-output'
  mkdir -p "$scratch/docker" && echo '{"features": {"buildkit": true}}' >"$scratch/docker/config.json"
  DOCKER_CONFIG=$scratch/docker tried corten build --progress=plain context
  says CACHED
}
line_3_10() {
  with_base runtime
  printf 'ARG BASE=none\nFROM ${BASE}\nARG VERSION=1\nENV APP_VERSION=v$VERSION\nRUN test "$APP_VERSION" = v7\n' | dockerfile
  built --build-arg BASE=aic-sos/runtime:12 --build-arg VERSION=7 -t mission/args:1
  [ "$(field mission/args:1 "'APP_VERSION=v7' in i['Config']['Env']")" = True ] || refuse "ENV is not in the image"
}
line_3_11() {
  with_base runtime
  printf '%s\nRUN uname -m\n' "$from" | dockerfile
  built --platform linux/amd64,linux/arm64 -o type=oci,dest=two.tar
}
# A registry with the base, for runners whose stores are empty.
with_runners() {
  with_base runtime
  with_registry
  tried corten tag aic-sos/runtime:12 "$REGISTRY/runtime:12"
  tried corten push "$REGISTRY/runtime:12"
  tried corten rmi "$REGISTRY/runtime:12"
  from="FROM $REGISTRY/runtime:12"
}
on_runner() { # NAME ARGUMENTS...: a build in that runner's store
  local runner=$1
  shift
  CORTEN_STORE=$scratch/$runner built "$@"
}
line_3_12() {
  with_runners
  printf '%s\nRUN echo local-cache >/x\n' "$from" | dockerfile
  on_runner one --cache-to type=local,dest=cache
  on_runner other --cache-from type=local,src=cache
  says '2 of 2 steps cached'
}
line_3_13() {
  with_runners
  printf '%s\nRUN echo inline >/x\n' "$from" | dockerfile
  on_runner one --push --build-arg BUILDKIT_INLINE_CACHE=1 --cache-to type=inline -t "$REGISTRY/inline:1"
  on_runner other --cache-from "$REGISTRY/inline:1"
  says '2 of 2 steps cached'
}
line_3_14() {
  with_runners
  printf '%s AS first\nRUN echo first >/x\nFROM scratch\nCOPY --from=first /x /x\n' "$from" | dockerfile
  on_runner one --cache-to "type=registry,ref=$REGISTRY/cache:1,mode=max"
  on_runner other --cache-from "type=registry,ref=$REGISTRY/cache:1"
  says '3 of 3 steps cached'
}
line_3_15() {
  with_base runtime
  git init -q -b topic repository
  printf '%s\nRUN echo from-git\n' "$from" >repository/Dockerfile
  git -C repository add . && git -C repository -c user.name=m -c user.email=m@example.org commit -qm first
  tried corten build --progress=plain "file://$scratch/repository#topic"
}
line_3_16() {
  with_base runtime
  printf '%s\nRUN echo from-archive\n' "$from" | dockerfile
  mkdir www && tar czf www/context.tar.gz -C context .
  python3 -u -m http.server --bind 127.0.0.1 --directory www 0 >serve 2>&1 &
  # shellcheck disable=SC2064 # the id of now
  trap "kill $!; finish" EXIT
  local port=
  for _ in $(seq 50); do port=$(grep -oE 'port [0-9]+' serve | grep -oE '[0-9]+'); [ -n "$port" ] && break; sleep 0.1; done
  tried corten build --progress=plain "http://127.0.0.1:$port/context.tar.gz"
}
line_3_17() {
  printf 'FROM debian:latest\nENV API_TOKEN=hunter2\nRUN apt-get update\nRUN apt-get install -y vim\n' | dockerfile
  fails 1 corten lint context/Dockerfile
  says latest
  says API_TOKEN
  says '[Uu]ser|root'
  says 'HEALTHCHECK'
  tried corten lint "$MISSION_TREE/examples/five-services/agent/Dockerfile"
}
line_3_18() {
  with_base runtime
  printf '%s\nRUN dd if=/dev/zero of=/wasted bs=1k count=2000\nRUN rm /wasted\n' "$from" | dockerfile
  built -t mission/waste:1
  tried corten history mission/waste:1
  says 'rm /wasted'
  tried corten layers mission/waste:1
  says wasted
}
line_3_19() {
  with_base builder-go
  tried corten scan --exit-code 0 aic-sos/builder-go:12
  says CVE
  tried corten scan --exit-code 0 --type fs "$MISSION_TREE/examples/five-services"
}
line_3_20() {
  with_base builder-go
  fails 1 corten scan --severity HIGH,CRITICAL --format sarif --output report.sarif aic-sos/builder-go:12
  python3 -c 'import json; assert json.load(open("report.sarif"))["version"] == "2.1.0"' || refuse "no SARIF"
}
line_3_21() {
  mkdir conf
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, image: "nginx:latest", securityContext: {privileged: true}}]}\n' >conf/pod.yaml
  fails 1 corten scan --type config conf
  says privileged
}
line_3_22() {
  with_base runtime
  with_registry
  tried corten tag aic-sos/runtime:12 "$REGISTRY/runtime:1"
  tried corten push "$REGISTRY/runtime:1"
  export COSIGN_PASSWORD=mission
  tried corten generate-key-pair
  tried corten sign --key cosign.key "$REGISTRY/runtime:1"
  tried corten verify --key cosign.pub "$REGISTRY/runtime:1"
  mv cosign.pub old.pub && mv cosign.key old.key
  tried corten generate-key-pair
  fails 1 corten verify --key cosign.pub "$REGISTRY/runtime:1"
}
line_3_23() {
  with_registry
  fails 1 env DOCKER_CONTENT_TRUST=1 corten pull "$REGISTRY/none:1"
  says 'DOCKER_CONTENT_TRUST'
}
line_3_24() {
  git init -q -b feature/login repository
  git -C repository -c user.name=m -c user.email=m@example.org commit -q --allow-empty -m first
  git -C repository tag v1.2.3
  tried corten tags --git repository
  for tag in feature-login 1.2.3 1.2 "sha-$(git -C repository rev-parse --short=7 HEAD)"; do says "(^|:)$tag"; done
}
line_3_25() {
  with_example
  with_azure
  tried corten build --on "acr:$AZURE" -t app:1 -f agent/Dockerfile "$ex"
  says "$AZURE/app:1@sha256:"
  tried corten build --on "acr:$AZURE" --platform linux/amd64,linux/arm64 -t app:2 -f agent/Dockerfile "$ex"
  says "$AZURE/app:2@sha256:"
  fails 1 corten build --on "acr:$AZURE" -t broken:1 -f agent/Dockerfile "$ex"
}
line_3_26() {
  with_azure
  tried corten acr import docker.io/library/nginx:alpine "$AZURE/base/nginx:alpine"
  says imported
  tried corten acr retention --days 30 "$AZURE"
  says '30 days'
  tried corten acr untagged --older-than 30d --yes "$AZURE/app"
  says '1 manifests and 0 tags deleted'
}
line_3_27() {
  with_ecr
  tried corten ecr ensure --region eu-west-1 --scan-on-push agent
  tried corten ecr findings --region eu-west-1 --start --wait 60 --severity CRITICAL,HIGH agent:1
  says 'scan COMPLETE'
}
template() {  # template KIND WORDS...
  tried corten ci "$1" --output "$scratch/pipeline" "$MISSION_TREE/examples/five-services"
  for word in 'corten build' cache scan sarif push; do grep -rqi "$word" "$scratch/pipeline" || refuse "the template lacks $word"; done
}
line_3_28() { template github; }
line_3_29() { template gitlab; }
line_3_30() { template azure; }
line_3_31() {
  tried corten buildx create --use
  with_base runtime
  printf '%s\nRUN true\n' "$from" | dockerfile
  tried corten buildx build --load -t mission/buildx:1 context
  tried corten inspect mission/buildx:1
}

play "$1"
