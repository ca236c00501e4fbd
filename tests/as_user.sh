#!/bin/sh
# as_user.sh PROGRAM [ARGUMENTS]: runs a copy of a test program as an ordinary user: as ourselves if we are one, else as the
# user of make_user.sh. The copy lies in the user's home, since a build tree may be root's alone.
set -eu
program=$1
shift
[ "$(id -u)" != 0 ] && exec "$program" "$@"
user=$("$(dirname "$0")/make_user.sh")
home=$(getent passwd "$user" | cut -d: -f6)
copy=$(mktemp -d "$home/test.XXXXXX")
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/tmp"
cp "$program" "$copy/"
chown -R "$user:" "$copy"
cd "$copy"
runuser -u "$user" -- env HOME="$home" TMPDIR="$copy/tmp" CORTEN_MUST_RUN="${CORTEN_MUST_RUN-}" CORTEN_FORBID="${CORTEN_FORBID-}" \
  "$copy/$(basename "$program")" "$@"
