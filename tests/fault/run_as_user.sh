#!/bin/sh
# run_as_user.sh SCRIPT CORTEN: a fault test as an ordinary user, from copies in its home (tests/e2e/run_as_user.sh).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" != 0 ]; then
  CORTEN=$2 exec sh "$here/$1"
fi
user=$("$here/../make_user.sh")
home=$(getent passwd "$user" | cut -d: -f6)
copy=$(mktemp -d "$home/fault.XXXXXX")
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/tmp" "$copy/e2e" "$copy/fault"
cp "$here"/../e2e/lib.sh "$copy/e2e/"
cp "$here"/*.sh "$copy/fault/"
cp "$2" "$copy/"
chown -R "$user:" "$copy"
cd "$copy"
runuser -u "$user" -- env HOME="$home" TMPDIR="$copy/tmp" CORTEN="$copy/$(basename "$2")" CORTEN_MUST_RUN="${CORTEN_MUST_RUN-}" \
  CORTEN_KILLS="${CORTEN_KILLS-}" sh "$copy/fault/$1"
