# Sourced by every e2e test: one behaviour of the real binary each. `CORTEN` names it; a test has a store and a directory
# of its own, which go away with it (and stay when it failed, for a look).
set -eu
: "${CORTEN:?set CORTEN to the binary}"
umask 022
unset SOURCE_DATE_EPOCH DOCKER_BUILDKIT BUILDKIT_PROGRESS CORTEN_FORBID GITHUB_ACTIONS GITLAB_CI TF_BUILD || true
export NO_COLOR=1
T=$(mktemp -d "${TMPDIR:-/tmp}/corten-e2e-XXXXXX")
export CORTEN_STORE="$T/store"
cleanup() {
  code=$?
  if [ "$code" -eq 0 ]; then
    "$CORTEN" prune --everything --force >/dev/null
    rm -rf "$T"
  else
    echo "what is left lies in $T" >&2
  fi
}
trap cleanup EXIT
cd "$T"
# No test asks a registry of the world: an image that is not in the store is an error at once.
export CORTEN_SYSTEM_CONFIG="$T/system"
mkdir -p "$T/system/containers"
printf '[[registry]]\nprefix = "docker.io"\nblocked = true\n' >"$T/system/containers/registries.conf"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}
equal() { [ "$1" = "$2" ] || fail "$3: expected '$2', got '$1'"; }
differ() { [ "$1" != "$2" ] || fail "$3: both are '$1'"; }
holds() { case "$1" in *"$2"*) ;; *) fail "'$2' is not in: $1" ;; esac; }
lacks() { case "$1" in *"$2"*) fail "'$2' is in: $1" ;; esac; }

# limit_memory KILOBYTES: of address space, unless the program has a sanitizer (tests/sanitized), which takes terabytes of it.
limit_memory() { [ -n "${CORTEN_SANITIZED-}" ] || ulimit -v "$1"; }

# A root file system with busybox and, with their libraries, programs of this machine.
base() {
  dir=$1
  shift
  mkdir -p "$dir/bin" "$dir/etc" "$dir/tmp" "$dir/root" "$dir/usr/bin"
  chmod 1777 "$dir/tmp"
  cp /bin/busybox "$dir/bin/busybox"
  for applet in $(/bin/busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "$dir/bin/$applet"; done
  ln -sf /bin/env "$dir/usr/bin/env"
  printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n' >"$dir/etc/passwd"
  printf 'root:x:0:\napp:x:1000:\nstaff:x:50:app\n' >"$dir/etc/group"
  for program in "$@"; do
    path=$(command -v "$program") || fail "$program is needed"
    path=$(readlink -f "$path")
    mkdir -p "$dir$(dirname "$path")"
    cp "$path" "$dir$path"
    name=$(basename "$program")
    [ -e "$dir/bin/$name" ] || ln -s "$path" "$dir/bin/$name"
    for library in $(ldd "$path" | grep -o '/[^ ]*'); do
      mkdir -p "$dir$(dirname "$library")"
      cp -L "$library" "$dir$library"
    done
  done
}

# build CONTEXT FLAGS...: quietly; the log is shown when it fails.
build() {
  context=$1
  shift
  "$CORTEN" build --progress plain "$@" "$context" >"$T/log" 2>&1 || {
    cat "$T/log" >&2
    fail "corten build $*"
  }
}
# The lines of a tar of the image's files, with whole times.
listing() { TZ=UTC tar --full-time -tvf "$1"; }
image_id() { "$CORTEN" images -q --no-trunc "$1"; }
