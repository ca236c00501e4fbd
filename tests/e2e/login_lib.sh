# Sourced after lib.sh by the tests of login: a home without credentials, and registries on free ports that end with the test.
unset DOCKER_CONFIG REGISTRY_AUTH_FILE DOCKER_AUTH_CONFIG XDG_CONFIG_HOME XDG_RUNTIME_DIR SSL_CERT_FILE || true
HOME="$T/home"
CORTEN_SYSTEM_CONFIG="$T/etc"
export HOME CORTEN_SYSTEM_CONFIG
mkdir -p "$HOME" "$T/etc"
# shellcheck disable=SC2034 # who sources this reads it
CONFIG="$HOME/.docker/config.json"
SECRET=hunter2-secret
PIDS=
trap '[ -z "$PIDS" ] || kill $PIDS 2>/dev/null; cleanup' EXIT

# serve LOG COMMAND...: a registry; HOST is where it listens, as it says itself.
serve() {
  log=$1
  shift
  : >"$log"
  "$@" >"$log" 2>&1 &
  PIDS="$PIDS $!"
  HOST=
  for _ in $(seq 100); do
    HOST=$(sed -n 's,.*listening on \(https*://\)\{0\,1\}\(127\.0\.0\.1:[0-9]*\).*,\2,p' "$log" | head -1)
    [ -z "$HOST" ] || return 0
    sleep 0.1
  done
  cat "$log" >&2
  fail "no registry: $*"
}
serve_own() { # FLAGS...: ours
  rm -rf "$T/own"
  serve own.log "$CORTEN" serve registry --listen 127.0.0.1:0 --root "$T/own" "$@"
}
# login: as ann, with the password that is right.
login() { echo "$SECRET" | "$CORTEN" login -u ann --password-stdin "$HOST" 2>&1; }
