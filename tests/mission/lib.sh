# shellcheck shell=bash disable=SC2034
# What the scripts of the mission share. A line passes when its function comes to its end; `refuse` ends it with the reason.
set -uo pipefail
export PATH="$MISSION_WORK/bin:$PATH"
ex=$MISSION_WORK/five-services
registry=ghcr.io/aic-sos
services="control-plane connector-gateway execution-plane agent indexer"
scratch=$(mktemp -d "$MISSION_WORK/line.XXXXXX")
containers=
finish() {
  for container in $containers; do corten rm -f "$container" >/dev/null 2>&1; done
  rm -rf "$scratch"
}
trap finish EXIT
mkdir -p "$MISSION_WORK/bin"
ln -sfn "$CORTEN" "$MISSION_WORK/bin/corten"

exec 3>&1  # `refuse` is heard from inside $(...) too
refuse() { printf '\nrefused: %s\n' "$*" >&3; exit 3; }

# What corten itself says is missing: the line with `error:`, else the last one that it wrote.
reason_in() {
  { grep -m 1 -iE '^(error|corten)[^ ]*:? ' "$1" || grep -v '^ *$' "$1" | tail -n 1; } |
    sed -E "s/^(corten: )?error: //I; s|$scratch/?||g; s|$MISSION_WORK/?||g" | cut -c1-160
}

# A command as a reader knows it: the program and its first word that is no flag.
summary() {
  local word what=${1##*/}
  for word in "${@:2}"; do case $word in -*|/*) ;; *) what="$what $word"; break ;; esac; done
  echo "$what"
}

# tried COMMAND...: runs it, its output to $scratch/out; refuses with its own words when it fails.
tried() {
  "$@" >"$scratch/out" 2>&1 && return 0
  local status=$?
  cat "$scratch/out"
  refuse "$(summary "$@"): $(reason_in "$scratch/out") (exit $status)"
}

# fails STATUS COMMAND...: it must end with this status; its output to $scratch/out.
fails() {
  local want=$1 status=0
  shift
  "$@" >"$scratch/out" 2>&1 || status=$?
  cat "$scratch/out"
  [ "$status" = "$want" ] || refuse "$(summary "$@") ended with $status instead of $want: $(reason_in "$scratch/out")"
}

says() { grep -qE -- "$1" "$scratch/out" || { cat "$scratch/out"; refuse "the output does not say '$1'"; }; }
silent_on() { ! grep -qE -- "$1" "$scratch/out" || refuse "the output says '$1'"; }

# once NAME COMMAND...: a fixture, made once in a run; a fixture that failed refuses every line that needs it.
once() {
  local mark=$MISSION_WORK/once-$1
  shift
  if [ ! -e "$mark" ]; then
    if "$@" >"$scratch/fixture" 2>&1; then echo good >"$mark"; else cat "$scratch/fixture"; reason_in "$scratch/fixture" >"$mark"; fi
  fi
  [ "$(cat "$mark")" = good ] || refuse "$(cat "$mark")"
}

copy_example() { rm -rf "$ex" && cp -r "$MISSION_TREE/examples/five-services" "$ex"; }
make_base() { make --no-print-directory -s -C "$ex" "base-$1"; }
make_services() { make --no-print-directory -s -C "$ex" container-build BUILD_FLAGS=--progress=plain; }

with_example() { once example copy_example; }
with_base() { with_example; once "base-$1" make_base "$1"; }
with_services() { with_base runtime; with_base builder-go; with_base builder-rust; once services make_services; }

in_five() { tried make --no-print-directory -s -C "$ex" "$@"; }

# field IMAGE EXPRESSION: a Python expression over `i`, the image's `inspect`.
field() {
  corten inspect "$1" >"$scratch/inspect" 2>"$scratch/out" || refuse "inspect $1: $(reason_in "$scratch/out")"
  python3 -c 'import json, sys; i = json.load(open(sys.argv[1]))[0]; print(eval(sys.argv[2]))' "$scratch/inspect" "$2"
}

port_of() { awk -F'\t' -v s="$1" '$1 == s {print $3}' "$ex/services.tsv"; }
budget_of() { awk -F'\t' -v s="$1" '$1 == s {print $4}' "$ex/services.tsv"; }

# started NAME ARGUMENTS...: a detached container that goes when the line ends.
started() {
  local name=$1
  shift
  corten rm -f "$name" >/dev/null 2>&1
  containers="$containers $name"
  tried corten run -d --name "$name" "$@"
}

# health NAME WORD: waits until `ps` says the word of the container.
health() {
  for _ in $(seq 300); do
    corten ps -a >"$scratch/out" 2>&1 || refuse "ps: $(reason_in "$scratch/out")"
    grep -E "\b$1\b" "$scratch/out" | grep -q "($2)" && return 0
    sleep 0.1
  done
  cat "$scratch/out"
  refuse "ps does not say '$2' of $1 within 30 s"
}

# answers URL: asks until it answers, 10 s at most; the answer to $scratch/out.
answers() {
  for _ in $(seq 100); do
    python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())' "$1" \
      >"$scratch/out" 2>"$scratch/why" && return 0
    sleep 0.1
  done
  refuse "$1 does not answer: $(tail -n 1 "$scratch/why")"
}

# dockerfile TEXT...: a context of its own in $scratch/context with this Dockerfile, from standard input.
dockerfile() { mkdir -p "$scratch/context" && cat >"$scratch/context/Dockerfile"; }
built() { tried corten build --progress=plain "$@" "$scratch/context"; }

# A registry of our own on loopback; its address to $REGISTRY. It goes when the line ends.
with_registry() {
  corten registry serve --listen 127.0.0.1:0 --root "$scratch/registry" >"$scratch/serve" 2>&1 &
  local server=$!
  for _ in $(seq 50); do
    REGISTRY=$(grep -oE '127\.0\.0\.1:[0-9]+' "$scratch/serve" | head -n 1)
    [ -n "$REGISTRY" ] && { trap 'kill '"$server"' 2>/dev/null; finish' EXIT; return 0; }
    kill -0 "$server" 2>/dev/null || refuse "corten registry serve: $(reason_in "$scratch/serve")"
    sleep 0.1
  done
  kill "$server"
  refuse "corten registry serve names no address"
}

# Amazon's ECR and STS on the loopback, as strict as they are; it ends with this script.
with_ecr() {
  mkdir -p "$scratch/aws"
  mkfifo "$scratch/aws/in" "$scratch/aws/out"
  python3 "$MISSION_TREE/tests/e2e/aws_server.py" "$scratch/aws" <"$scratch/aws/in" >"$scratch/aws/out" 9>&- &
  exec 9>"$scratch/aws/in"
  read -r port <"$scratch/aws/out"
  export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_EC2_METADATA_DISABLED=true
  export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
}

# Azure on the loopback, in the same way; its registry is $AZURE.
with_azure() {
  mkdir -p "$scratch/azure"
  mkfifo "$scratch/azure/in" "$scratch/azure/out"
  python3 "$MISSION_TREE/tests/e2e/azure_server.py" "$scratch/azure" <"$scratch/azure/in" >"$scratch/azure/out" 9>&- 8>&- &
  exec 8>"$scratch/azure/in"
  read -r port <"$scratch/azure/out"
  AZURE=127.0.0.1:$port
  export AZURE_AUTHORITY_HOST=http://$AZURE AZURE_RESOURCE_MANAGER_ENDPOINT=http://$AZURE AZURE_CLIENT_ID=client-1 AZURE_TENANT_ID=tenant-1
  export AZURE_CLIENT_SECRET=azure-secret-EXAMPLE DOCKER_CONFIG=$scratch/docker
  tried corten acr login "$AZURE"
}

# example NAME: a repository below examples/ that plays this system, copied to $scratch/NAME.
example() {
  [ -d "$MISSION_TREE/examples/$1" ] || refuse "examples/$1 does not exist yet"
  cp -r "$MISSION_TREE/examples/$1" "$scratch/$1"
  cd "$scratch/$1" || refuse "examples/$1 cannot be entered"
}

play() { cd "$scratch" || exit 1; "line_${1/./_}" && exit 0; refuse "line $1 ended with $?"; }
