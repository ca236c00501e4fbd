#!/bin/sh
# as_user_tree.sh CORTEN COMMAND [ARGUMENTS]: runs a command of the source tree as an ordinary user, with a copy of the binary, its
# helper programs, tests/ and examples/ in its home: as ourselves if we are one, else as the user of make_user.sh. CORTEN is set.
# The user's store stays, so that base images are fetched once.
set -eu
corten=$1
shift
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
if [ "$(id -u)" != 0 ]; then
  CORTEN=$corten exec "$@"
fi
user=$(tests/make_user.sh)
home=$(getent passwd "$user" | cut -d: -f6)
copy=$(mktemp -d "$home/tree.XXXXXX")
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/tmp" "$copy/bin"
cp "$corten" "$copy/bin/"
[ ! -d "$(dirname "$corten")/libexec" ] || cp -r "$(dirname "$corten")/libexec" "$copy/bin/"
cp -r examples tests "$copy/"
chown -R "$user:" "$copy"
cd "$copy"
runuser -u "$user" -- env -u XDG_RUNTIME_DIR -u XDG_DATA_HOME -u CORTEN_STORE HOME="$home" TMPDIR="$copy/tmp" CORTEN="$copy/bin/corten" \
  CORTEN_MUST_RUN="${CORTEN_MUST_RUN-}" "$@"
