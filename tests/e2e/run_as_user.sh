#!/bin/sh
# run_as_user.sh SCRIPT CORTEN: an e2e test (NAME.sh) or another one (../fault/NAME.sh) as an ordinary user with a range of ids: ourselves
# if we are one, else the user of tests/make_user.sh, from copies in its home.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" != 0 ]; then
  CORTEN=$2 exec sh "$here/$1"
fi
user=$("$here/../make_user.sh")
home=$(getent passwd "$user" | cut -d: -f6)
copy=$(mktemp -d "$home/test.XXXXXX")
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/tmp" "$copy/e2e" "$copy/fault"
cp "$here"/*.sh "$here"/*.py "$copy/e2e/"
cp -r "$here/../buildkit" "$copy/"
cp "$here"/../fault/*.sh "$copy/fault/"
cp "$2" "$(dirname "$2")/escape_attempts" "$copy/"
chown -R "$user:" "$copy"
cd "$copy"
runuser -u "$user" -- env HOME="$home" TMPDIR="$copy/tmp" CORTEN="$copy/$(basename "$2")" CORTEN_MUST_RUN="${CORTEN_MUST_RUN-}" \
  CORTEN_KILLS="${CORTEN_KILLS-}" sh "$copy/e2e/$1"
