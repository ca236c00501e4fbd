#!/bin/sh
# Makes tests/debian/archive anew: a few packages of a few bytes, an index, and a Release file signed by a key that is thrown
# away. Needs dpkg-deb and gpg; run by hand when the packages must change.
set -eu
cd "$(dirname "$0")"
rm -rf archive keyring.asc
mkdir -p archive/pool archive/dists/test/main/binary-amd64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=1700000000 GNUPGHOME="$work/gnupg"
mkdir -m 700 "$GNUPGHOME"

# package NAME VERSION ARCHITECTURE CONTROL-LINES; its files lie in $work/NAME
package() {
  mkdir -p "$work/$1/DEBIAN" "$work/$1/usr/share/doc/$1"
  echo "Licence of $1" > "$work/$1/usr/share/doc/$1/copyright"
  echo "Changes of $1" > "$work/$1/usr/share/doc/$1/changelog"
  printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: nobody\nDescription: test\n%s' "$1" "$2" "$3" "$4" > "$work/$1/DEBIAN/control"
  find "$work/$1" -exec touch -h -d @1700000000 {} +
  chmod -R u=rwX,go=rX "$work/$1"
  file=archive/pool/$1_$2_$3.deb
  dpkg-deb --root-owner-group -Zxz --build "$work/$1" "$file" > /dev/null
  {
    cat "$work/$1/DEBIAN/control"
    printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "${file#archive/}" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
  } >> archive/dists/test/main/binary-amd64/Packages
}

mkdir -p "$work/base-files/etc" "$work/base-files/lib"
echo "PRETTY_NAME=test" > "$work/base-files/etc/os-release"
echo library > "$work/base-files/lib/libold.so"
package base-files 1 amd64 'Pre-Depends: awk
'
mkdir -p "$work/ca-certificates/usr/share/ca-certificates/mozilla"
printf 'second\n' > "$work/ca-certificates/usr/share/ca-certificates/mozilla/B.crt"
printf 'first' > "$work/ca-certificates/usr/share/ca-certificates/mozilla/A.crt"
package ca-certificates 2 all 'Depends: openssl (>= 1.1), debconf (>= 0.5) | debconf-2.0
'
package netbase 1 all ''
package tzdata 1 all 'Depends: debconf (>= 0.5) | debconf-2.0
'
mkdir -p "$work/busybox-static/bin"
printf 'ELF...[\0[[\0cat\0env\0ip\0sh\0wget\0\0...' > "$work/busybox-static/bin/busybox"
package busybox-static 1 amd64 ''
package server 1 amd64 'Depends: libreal0 (>= 1), tool | other-tool, missing | netbase
Recommends: recommended
'
package libreal0 1 amd64 ''
package libstandin0 3 amd64 'Provides: libreal0 (= 3)
'
package tool 1.9 amd64 ''
package tool 1.10 amd64 ''
package other-tool 1 amd64 ''
package recommended 1 amd64 ''
package broken 1 amd64 'Depends: nowhere-to-be-found
'

gpg --batch --quiet --passphrase '' --quick-generate-key 'Corten test archive <test@example.invalid>' ed25519 sign 0
gpg --armor --export > keyring.asc
packages=archive/dists/test/main/binary-amd64/Packages
{
  printf 'Origin: Debian\nSuite: teststable\nCodename: test\nDate: Tue, 14 Nov 2023 22:13:20 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n'
  printf ' %s %s main/binary-amd64/Packages\n' "$(sha256sum "$packages" | cut -d' ' -f1)" "$(stat -c %s "$packages")"
} > "$work/Release"
gpg --batch --quiet --clearsign --output archive/dists/test/InRelease "$work/Release"
