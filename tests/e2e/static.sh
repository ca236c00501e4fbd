#!/bin/sh
# static.sh CORTEN binary|version|build: the release binary needs nothing beside itself: no library, and in an empty root it
# tells its version and, as root, makes a whole build (an ordinary user cannot make namespaces in a chroot).
set -eu
corten=$1
subject=$2
fail() { echo "static.sh: $*" >&2; exit 1; }
# An ordinary user enters the empty root through a user namespace.
enter() { if [ "$(id -u)" = 0 ]; then chroot "$@"; else unshare --map-root-user --user chroot "$@"; fi; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp "$corten" "$root/corten"
case $subject in
  binary)
    readelf -dW "$corten" >"$root/dynamic"
    ! grep -q NEEDED "$root/dynamic" || { cat "$root/dynamic"; fail "the binary needs a library"; }
    readelf -lW "$corten" >"$root/headers"
    ! grep -q INTERP "$root/headers" || fail "the binary asks for an interpreter"
    ;;
  version)
    enter "$root" /corten version >"$root/out"
    grep -qE '^corten [0-9]+\.[0-9]+\.[0-9]+' "$root/out" || { cat "$root/out"; fail "no version"; }
    ;;
  build)
    if [ "$(id -u)" != 0 ]; then echo "not root: 'build' in an empty root is tested as root"; exit 0; fi
    mkdir -p "$root/context" "$root/store"
    cp "$corten" "$root/context/program"
    # The one program in the image is corten itself, so that a RUN needs nothing from this machine.
    printf 'FROM scratch AS made\nCOPY program /bin/corten\nRUN ["/bin/corten", "version"]\nFROM scratch\nCOPY --from=made /bin/corten /corten\n' \
      >"$root/context/Dockerfile"
    CORTEN_STORE=/store enter "$root" /corten build --progress=plain -t empty:1 -o type=oci,dest=/image.tar /context >"$root/out" 2>&1 ||
      { cat "$root/out"; fail "the build in an empty root failed"; }
    [ -s "$root/image.tar" ] || fail "no image was written"
    CORTEN_STORE=/store enter "$root" /corten prune --everything -f >/dev/null
    ;;
  *) fail "unknown subject '$subject'" ;;
esac
