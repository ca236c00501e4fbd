# The same inputs give the same digest: whoever builds, where, when, on how many processors of which model, with what in the
# store, from a deep or a shallow clone.
#
# The digests stand here since the day they were made. So every run of this test, as root and as an ordinary user, on any
# machine, is another user, machine and day that must agree with that one; within a run each axis is turned alone as well.
# (A clock of another day cannot be had honestly: a time namespace does not move CLOCK_REALTIME, and a preloaded library does
# not reach a static binary.) They change only when what an image is made of changes on purpose: then say so in CHANGELOG.md.
plain=sha256:2d97331279b5f01e2a694316370a01571605468cc30e21dd9af7a5751da17cfe
with_run=sha256:ce541b1fd2fa30ffb908de418e8318fff0d3ed22cdcd4a0f4d4b2803899bd057
. "$(dirname "$0")/lib.sh"
if [ "$(uname -m)" != x86_64 ]; then
  [ "${CORTEN_MUST_RUN:-}" != 1 ] || fail "the program of this test is for x86_64"
  echo "skipped: the program of this test is for x86_64"
  exit 0
fi

# A base whose one program (made by hand, so that no package's version is in a digest) writes /made.
mkdir -p root/bin root/etc
printf '\177ELF\002\001\001\0\0\0\0\0\0\0\0\0\002\0\076\0\001\0\0\0\170\0\100\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\070\0\001\0\100\0\0\0\0\0' >root/bin/make
printf '\001\0\0\0\005\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\100\0\0\0\0\0\265\0\0\0\0\0\0\0\265\0\0\0\0\0\0\0\0\0\001\0\0\0\0\0' >>root/bin/make
# open("/made", O_WRONLY | O_CREAT, 0644); write(it, "made\n", 5); exit(0)
printf '\270\002\0\0\0\277\252\0\100\0\276\101\0\0\0\272\244\001\0\0\017\005\211\307\270\001\0\0\0\276\260\0\100\0\272\005\0\0\0\017\005\270\074\0\0\0\061\377\017\005/made\0made\n' >>root/bin/make
chmod 755 root root/bin root/etc root/bin/make
mkdir empty
"$CORTEN" build -q -f - --build-context root=root -o type=oci,tar=false,dest=base empty >/dev/null <<'EOF'
FROM scratch
COPY --from=root --chmod=755 . /
EOF

# A work tree with what tells machines apart: modes, times, links, an archive, many files, one that is large.
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' HOME="$T"
git config --global user.email a@example.org
git config --global user.name a
git config --global init.defaultBranch main
git init -q origin
cd origin
mkdir -p src/deep/er
for i in $(seq 200); do echo "file $i" >"src/deep/f$i"; done
python3 -c '
import hashlib, sys
state, out = b"corten", []
for _ in range(60000):
    state = hashlib.sha256(state).digest()
    out.append(state)
sys.stdout.buffer.write(b"".join(out) + b"text that compresses well, " * 40000)' >src/large
printf '#!/bin/sh\necho run\n' >src/run.sh
chmod 755 src/run.sh
ln -s ../large src/deep/link
python3 - <<'EOF'
import io, tarfile
with tarfile.open("data.tar", "w") as tar:
    for name in ("d/one", "d/two"):
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.uid = 4, 1234567890, 7
        tar.addfile(info, io.BytesIO(b"data"))
EOF
printf 'ignored\n' >.dockerignore
cat >Plain <<'EOF'
FROM scratch
WORKDIR /app
COPY src ./src
COPY --chmod=600 --chown=5:6 src/run.sh /secret
ADD data.tar /data/
COPY <<TEXT /etc/motd
hello
TEXT
LABEL a=b
CMD ["/app/src/run.sh"]
EOF
cat >Run <<'EOF'
FROM base AS one
RUN ["/bin/make"]
FROM base
COPY --from=one /made /from/
COPY src/deep /deep
RUN ["/bin/make"]
EOF
git add -A
git commit -qm one
git commit -q --allow-empty -m two
cd "$T"

# digest NAME TREE [WRAPPER...]: of the layout that corten (behind a wrapper) writes for one Dockerfile.
digest() {
  name=$1 tree=$2
  shift 2
  rm -rf result
  "$@" "$CORTEN" build --progress plain -f "$tree/$name" --build-context base=oci-layout://base -o type=oci,tar=false,dest=result \
    --metadata-file result.json "$tree" >log 2>&1 || { cat log >&2; fail "build of $name"; }
  sed -n 's/.*"containerimage.digest": "\(.*\)".*/\1/p' result.json
}
check() {  # check WHAT TREE [WRAPPER...]
  what=$1 tree=$2
  shift 2
  equal "$(digest Plain "$tree" "$@")" "$plain" "$what, without RUN"
  equal "$(digest Run "$tree" "$@")" "$with_run" "$what, with RUN"
}
fresh() { "$CORTEN" prune --everything --force >/dev/null; }

git clone -q origin first
if [ "${CORTEN_ACCEPT:-}" = 1 ]; then
  echo "plain=$(digest Plain first)"
  echo "with_run=$(digest Run first)"
  exit 0
fi
check "the first build, by $(id -un)" first
check "a warm store" first
fresh
check "an empty store" first
for cores in 0 0,1; do
  [ "$(nproc)" -gt 1 ] || continue
  fresh
  check "processors $cores" first taskset -c "$cores"
done
fresh
for mask in 077 002; do
  (umask "$mask" && git clone -q origin "mask-$mask")
  check "umask $mask" "mask-$mask"
  fresh
  (umask "$mask" && check "umask $mask while building" first) || exit 1
done
fresh
mkdir -p "else where/ünder"
git clone -q origin "else where/ünder/tree"
check "another directory" "else where/ünder/tree"
fresh
git clone -q --depth 1 "file://$T/origin" shallow
check "a clone of depth 1" shallow
fresh
for day in '1985-10-26 01:21' '2015-10-21 07:28' '2035-01-01'; do
  find first -not -path '*/.git*' -exec touch -h -d "$day" {} +
  check "files of $day" first
done
fresh
echo x >first/ignored
TZ=Asia/Tokyo LC_ALL=C check "another zone, an ignored file" first

# Processor models: Corten itself is emulated. qemu-user knows no openat2, so the context comes as an archive; nothing can be
# run in a sandbox; and it has threads of its own, so that an ordinary user's namespace is made around it.
as_root=
[ "$(id -u)" = 0 ] || as_root="unshare --user --map-root-user"
if [ -n "${CORTEN_SANITIZED-}" ]; then
  echo "skipped: processor models (the memory that a sanitizer reserves is taken when it is emulated)"
elif command -v qemu-x86_64-static >/dev/null; then
  tar --sort=name -C first --exclude=.git -cf context.tar .
  for model in Nehalem max; do
    # shellcheck disable=SC2086 # words on purpose
    CORTEN_STORE="$T/store-$model" $as_root qemu-x86_64-static -cpu "$model" "$CORTEN" build --progress plain -f Plain -o type=oci,dest="$model.tar" \
      --metadata-file model.json - <context.tar >log 2>&1 || { cat log >&2; fail "on the processor $model"; }
    equal "$(sed -n 's/.*"containerimage.digest": "\(.*\)".*/\1/p' model.json)" "$plain" "processor $model"
    CORTEN_STORE="$T/store-$model" "$CORTEN" prune --everything --force >/dev/null
  done
  cmp Nehalem.tar max.tar || fail "two processor models, two archives"
elif [ "${CORTEN_MUST_RUN:-}" = 1 ]; then
  fail "qemu-user-static is needed"
else
  echo "skipped: processor models (qemu-user-static)"
fi

# And one user with other names around it.
fresh
check "another environment" first env -i PATH="$PATH" HOME=/nonexistent CORTEN_STORE="$CORTEN_STORE" USER=somebody LOGNAME=somebody HOSTNAME=elsewhere
