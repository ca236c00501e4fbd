#!/bin/sh
# remote_sources.sh BUILDKIT_ADDRESS: ADD of http files and git repositories, and contexts by address, built by `buildctl` (on PATH) with the
# buildkitd at that address and by $CORTEN; says where the trees, or success and failure, are not the same. By hand: it needs a buildkitd.
# Not asked, since it differs on purpose: an address that serves something else than the checksum says, when the store has what it says.
set -u
: "${CORTEN:?set CORTEN to the binary}"
address=$1
here=$(cd "$(dirname "$0")/../e2e" && pwd)
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cd "$T" || exit 1
export CORTEN_STORE="$T/store"
mkdir -p www/files www/git context
mkfifo in out
python3 "$here/server.py" "$T/www" "$T/requests" <in >out 9>&- &
exec 9>in
read -r port <out
U="http://127.0.0.1:$port"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY || true
echo one >www/files/one
echo local >context/local
chmod 640 context/local
tar -C context -czf www/files/a.tar.gz local
gzip -k www/files/one
git init -q -b main work
mkdir -p work/d/e
echo x >work/d/e/x
echo y >work/y
chmod 755 work/y
ln -s y work/link
ln -s /etc/passwd work/absolute
echo k | tee work/.dockerignore >work/k
printf 'FROM scratch\nCOPY . /c/\n' >work/Dockerfile
in_work() { git -C work -c user.name=t -c user.email=t@example.invalid "$@"; }
in_work add -A
in_work commit -qm one
in_work tag -a v1 -m v1
git clone -q --bare work www/git/r.git
tar -C work --exclude=.git -czf www/files/context.tar.gz .
printf 'FROM scratch\nCOPY . /c/\n' >www/files/df
commit=$(in_work rev-parse HEAD)
sum=$(sha256sum <www/files/one | cut -d' ' -f1)

# Types, modes, owners, sizes, names, links; then all contents. No times: Corten has its own.
tree() { tar --numeric-owner -tvf "$1" | sed -E 's/ [0-9]{4}-[0-9-]+ [0-9:]+ / /' | sort; tar -xOf "$1" | sha256sum; }
cases=0 faults=0
compare() { # WHAT BUILDKIT_STATUS CORTEN_STATUS
  cases=$((cases + 1))
  if [ "$2" = 0 ] && [ "$3" = 0 ]; then
    tree b.tar >b.tree 2>/dev/null
    tree c.tar >c.tree 2>/dev/null
    cmp -s b.tree c.tree && return
    diff b.tree c.tree
  elif [ "$2" != 0 ] && [ "$3" != 0 ]; then
    return
  fi
  faults=$((faults + 1))
  echo "$1: not the same (buildkit $2, corten $3)"
}
add() { # LINE...
  printf 'FROM scratch\n' >context/Dockerfile
  printf '%s\n' "$@" >>context/Dockerfile
  b=0 c=0
  buildctl --addr "$address" build --frontend dockerfile.v0 --local context=context --local dockerfile=context --output type=tar,dest=b.tar >b.log 2>&1 || b=1
  "$CORTEN" build --progress plain -o type=tar,dest=c.tar context >c.log 2>&1 || c=1
  compare "$*" $b $c
}
context() { # ADDRESS
  b=0 c=0
  buildctl --addr "$address" build --frontend dockerfile.v0 --opt context="$1" --output type=tar,dest=b.tar >b.log 2>&1 || b=1
  "$CORTEN" build --progress plain -o type=tar,dest=c.tar "$1" >c.log 2>&1 || c=1
  compare "context $1" $b $c
}
f=$U/files g=$U/git/r.git
for line in "ADD $f/one /" "ADD $f/one /x/" "ADD $f/one /x" "ADD $f/one x/y/z" "ADD --chmod=750 --chown=3:4 $f/one /p/q/" "ADD --chmod=u+x $f/one /p/q/" \
  "ADD $f/a.tar.gz /" "ADD --unpack=true $f/a.tar.gz /u/" "ADD --unpack=true $f/a.tar.gz /u" "ADD --unpack=true --chown=3:4 $f/a.tar.gz /u" \
  "ADD --unpack=true $f/one.gz /u/" "ADD --unpack=true $f/one /u/" "ADD --unpack=false $f/a.tar.gz /u/" "ADD $f/ /u/" "ADD $U/ /u/" "ADD $f/one?x=1#y /u/" \
  "ADD $U/redirect/2 /u/" "ADD $U/redirect/20 /u/" "ADD $f/none /u/" "ADD --link $f/one /u/" "ADD $f/one $f/a.tar.gz /u" "ADD --exclude=one $f/one /u/" \
  "ADD --checksum=sha256:$sum $f/one /u/" "ADD --checksum=md5:12 $f/one /u/" "ADD --checksum=12 $f/one /u/" \
  "ADD --checksum=sha256:12 $f/one /u/" "ADD --checksum=sha256:$sum Dockerfile /u/" "ADD $g /g" "ADD $g#v1:d /g/" "ADD $g?subdir=d/e /g/" "ADD $g?subdir=link /g/" \
  "ADD $g?subdir=none /g/" "ADD $g?subdir=../../etc /g/" "ADD --chmod=700 --chown=3:4 $g /g/h/" "ADD --exclude=d $g /g/h/" "ADD --exclude=**/x $g /g/h/" \
  "ADD $g#nope /g" "ADD $g#-x /g" "ADD $U/git/none.git#x /g" "ADD --checksum=$commit $g /g" "ADD --checksum=abcdef $g /g" "ADD --checksum=xyz $g /g" \
  "ADD $g?foo=1 /g" "ADD $g?ref=a#b /g" "ADD $g?tag=v1 /g" "ADD $g?branch=main /g" "ADD $g?tag=v1&branch=main /g" "ADD $g?ref=v1&ref=v1 /g" \
  "ADD --keep-git-dir=true $g?keep-git-dir=0 /g" "ADD --link --chown=5 $g /g" "ADD $g local $f/one /m/" "COPY $g /m/" "COPY $f/one /m/" "ADD ftp://x.invalid/y /m/" \
  "ADD file:///etc/passwd /m/" "ADD github.com/moby/buildkit /m/" "ADD http://127.0.0.1:1/x /m/" "ADD http:// /m/"; do
  add "$line"
done
add "ADD $f/one /g" "ADD $g /g"
add "ADD $g /g" "ADD $f/one /g/d"
for address_of in "$g" "$g#v1" "$g?subdir=d" "$f/context.tar.gz" "$f/df" "$f/none" "$g#nope"; do context "$address_of"; done
exec 9>&-
echo "$cases cases, $faults not the same"
[ $faults = 0 ]
