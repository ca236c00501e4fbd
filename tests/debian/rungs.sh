#!/bin/sh
# rungs.sh CORTEN: with the machine's apt sources, every variant is the same image from the same lock: as root and as an ordinary
# user, in a store that has nothing, and again without the network's help.
set -eu
corten=$1
tests=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
user_place=
trap 'rm -rf "$place"; if [ "$user_place" ]; then rm -rf "$user_place"; fi' EXIT
grep -rqs '^URIs\|^deb ' /etc/apt/sources.list /etc/apt/sources.list.d || { echo "skipped: this machine has no apt sources"; [ -z "${CORTEN_MUST_RUN-}" ]; exit; }

if [ "$(id -u)" = 0 ]; then
  user=$("$tests/make_user.sh")
  user_place=$(mktemp -d "$(getent passwd "$user" | cut -d: -f6)/base.XXXXXX")
  cp -r "$corten" "$(dirname "$corten")/libexec" "$user_place/"
fi

# as_user LOCKED-RECIPE: the image's id when an ordinary user makes it
as_user() {
  if [ -z "$user_place" ]; then
    CORTEN_STORE="$place/second" "$corten" base build -q -f "$1"
    return
  fi
  cp "$1" "$1.lock" "$user_place/"
  chown -R "$user:" "$user_place"
  (cd / && runuser -u "$user" -- env HOME="$user_place" CORTEN_STORE="$user_place/store" "$user_place/$(basename "$corten")" base build -q -f "$user_place/$(basename "$1")")
}

export CORTEN_STORE="$place/store"
failed=0
for variant in busybox distroless minbase; do
  recipe="$place/$variant.yaml"
  printf 'suite: bookworm\nvariant: %s\ninclude: [ca-certificates]\n' "$variant" > "$recipe"
  "$corten" base lock -q -f "$recipe"
  first=$("$corten" base build -q -f "$recipe")
  second=$(as_user "$recipe")
  third=$(http_proxy=http://127.0.0.1:1 https_proxy=http://127.0.0.1:1 "$corten" base build -q -f "$recipe")
  echo "$variant $first"
  if [ "$first" != "$second" ]; then echo "$variant: as an ordinary user $second"; failed=1; fi
  if [ "$first" != "$third" ]; then echo "$variant: again $third"; failed=1; fi
  # Where one id exists: owners of maintainer scripts are recorded.
  fourth=$(CORTEN_STORE="$place/one" CORTEN_FORBID=privileged-mounts,id-range "$corten" base build -q -f "$recipe")
  if [ "$first" != "$fourth" ]; then echo "$variant: where one id exists $fourth"; failed=1; fi
done

# Several platforms make an index, each from a lock of its own; what is only extracted needs nothing to run.
two="$place/two.yaml"
printf 'suite: bookworm\nvariant: busybox\n' > "$two"
"$corten" base lock -q -f "$two" --platform linux/amd64,linux/arm64
for lock in two.yaml.lock two.yaml.arm64.lock; do [ -s "$place/$lock" ] || { echo "$lock is not there"; failed=1; }; done
"$corten" base build -q -f "$two" --platform linux/amd64,linux/arm64 -t two > /dev/null
for arch in amd64 arm64; do
  got=$("$corten" inspect --platform "linux/$arch" --format '{{.Architecture}}' two)
  [ "$got" = "$arch" ] || { echo "two for $arch is for $got"; failed=1; }
done
# minbase runs maintainer scripts: refused before anything is fetched where they cannot run.
if CORTEN_FORBID=emulation "$corten" base build --variant minbase --platform linux/arm64 > "$place/refused" 2>&1; then echo "minbase for arm64 was made"; failed=1; fi
grep -q 'minbase for arm64: its maintainer scripts cannot run on this machine' "$place/refused" || { cat "$place/refused"; failed=1; }
! grep -q fetching "$place/refused" || { echo "something was fetched first"; failed=1; }

if [ "$user_place" ]; then
  (cd / && runuser -u "$user" -- env HOME="$user_place" CORTEN_STORE="$user_place/store" "$user_place/$(basename "$corten")" prune --everything > /dev/null 2>&1) || true
fi
exit $failed
