# Sourced after lib.sh by tests that need a registry: each on a free port, ended with the test.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY || true
echo {} >"$T/auth.json"
export REGISTRY_AUTH_FILE="$T/auth.json"
SERVER=
# stop_registry [SIGNAL]: it ends by itself, unless it is killed.
stop_registry() {
  [ -n "$SERVER" ] || return 0
  kill -"${1:-TERM}" "$SERVER"
  code=0
  wait "$SERVER" 2>/dev/null || code=$?
  # Of SIGTERM docker-registry dies.
  [ "$code" = 0 ] || [ "$code" = 143 ] || [ "${1-}" = KILL ] || fail "it ended with $code: $(cat "$T/served")"
  SERVER=
}
trap '[ -z "$SERVER" ] || kill -KILL "$SERVER" 2>/dev/null; cleanup' EXIT

# serve_registry FLAGS...: the embedded one (STORE_FLAG=--store: with the images of the store). Sets URL, HOST and SERVER; every
# request is a line of $T/access.
# shellcheck disable=SC2120 # flags are for the tests of flags
serve_registry() {
  : >"$T/said"
  "$CORTEN" serve registry --listen 127.0.0.1:0 --root "$T/registry" "${STORE_FLAG:---no-store}" --access-log "$T/access" "$@" >"$T/said" 2>"$T/served" &
  SERVER=$!
  URL=
  while [ -z "$URL" ]; do
    kill -0 "$SERVER" 2>/dev/null || fail "the server ended: $(cat "$T/served")"
    URL=$(sed -n 's/^listening on //p' "$T/said")
    [ -n "$URL" ] || sleep 0.05
  done
  HOST=${URL#*://}
}
requests() { wc -l <"$T/access"; }

# docker_registry: Debian's, on a free port. Sets HOST and SERVER; false where it is not installed.
# ($REGISTRY_AUTH_FILE would be a setting of its own to it.)
docker_registry() {
  command -v docker-registry >/dev/null || {
    [ "${CORTEN_MUST_RUN-}" != 1 ] || fail "docker-registry is needed"
    return 1
  }
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  cat >"$T/docker-registry.yml" <<EOF
version: 0.1
storage:
  filesystem:
    rootdirectory: $T/docker-registry
  delete:
    enabled: true
http:
  addr: 127.0.0.1:$port
EOF
  env -u REGISTRY_AUTH_FILE docker-registry serve "$T/docker-registry.yml" >"$T/docker-registry.log" 2>&1 &
  SERVER=$!
  HOST=127.0.0.1:$port
  until curl -sf "http://$HOST/v2/" >/dev/null; do
    kill -0 "$SERVER" 2>/dev/null || fail "docker-registry: $(cat "$T/docker-registry.log")"
    sleep 0.05
  done
}

remote_digest() { skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$1"; }
skopeo_tags() { skopeo list-tags --tls-verify=false "docker://$1"; }
