#!/bin/sh
# as_user.sh CORTEN: the differential test as an ordinary user: ourselves if we are one, else the user of make_user.sh, from a copy
# in its home.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [ "$(id -u)" != 0 ]; then exec "$root/tools/differential" test --corten "$1"; fi
user=$("$here/../make_user.sh")
home=$(getent passwd "$user" | cut -d: -f6)
copy=$(mktemp -d "$home/differential.XXXXXX")
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy/tmp" "$copy/tools" "$copy/tests" "$copy/docs"
cp "$root/tools/differential" "$copy/tools/"
cp -r "$here" "$copy/tests/conformance"
cp "$1" "$copy/corten"
chown -R "$user:" "$copy"
runuser -u "$user" -- env HOME="$home" TMPDIR="$copy/tmp" BASES="$copy/tmp/bases" "$copy/tools/differential" test --corten "$copy/corten"
