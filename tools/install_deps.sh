#!/bin/sh
# install_deps.sh [build] [test] [check]: installs the Debian packages that building, testing and checking Corten take (without
# arguments: build and test). Packages only, from the machine's own apt sources; docs/dependencies.md says why each is here.
# As root or through sudo; says nothing and touches nothing when all are there.
set -eu

build="g++ cmake ninja-build make ccache lld git ca-certificates
  libssl-dev libcrypt-dev zlib1g-dev liblzma-dev libbz2-dev libzstd-dev libdeflate-dev libsqlite3-dev libseccomp-dev libcap-dev
  libyaml-cpp-dev libc-ares-dev libsodium-dev libboost-dev nlohmann-json3-dev libtomlplusplus-dev libfmt-dev libcli11-dev libsolv-dev libsolvext-dev
  libgtest-dev gpgv debian-archive-keyring uidmap python3"
test="skopeo umoci podman docker-registry xz-utils zstd bzip2 curl jq shellcheck binutils file busybox-static openssh-client openssl strace"
check="clang-format-14 clang-tidy-14 clang-14 libclang-rt-14-dev shellcheck python3 git"

[ $# -gt 0 ] || set -- build test
wanted=
for group in "$@"; do
  case $group in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    check) wanted="$wanted $check" ;;
    *) echo "install_deps.sh: unknown group '$group' (build, test, check)" >&2; exit 2 ;;
  esac
done

missing_packages() {
  for package in $wanted; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    case $status in installed) ;; *) printf '%s ' "$package" ;; esac
  done
}

missing=$(missing_packages)
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null || {
  echo "install_deps.sh: no apt-get here; install what these Debian packages hold: $missing" >&2
  exit 1
}
as_root=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || {
    echo "install_deps.sh: not root and no sudo; ask an administrator for: apt-get install $missing" >&2
    exit 1
  }
  as_root=sudo
fi
echo "installing: $missing"
export DEBIAN_FRONTEND=noninteractive
install="$as_root apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0"
# The lists of a fresh machine are missing or old; a machine whose lists are good need not fetch them again.
# shellcheck disable=SC2086 # the lists are split into words on purpose
$install $missing >/dev/null 2>&1 || { $as_root apt-get update -q && $install $missing; }
missing=$(missing_packages)
[ -z "$missing" ] || { echo "install_deps.sh: still missing after the installation: $missing" >&2; exit 1; }
