# Where nothing can be mounted a cache mount is moved into the step's root, and a secret is a file there. Killed at any instant: the
# cache's contents are at home again for the next build, and the secret is overwritten.
# shellcheck disable=SC2086 # flags are words
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || fail "a chroot is root's"
export CORTEN_FORBID=privileged-mounts,user-namespace
base bb
mkdir ctx
echo hush-hush >token
flags="build --progress plain --build-context base=bb --secret id=token,src=token ctx"
chroot_build() { "$CORTEN" $flags "$@"; }
# shellcheck disable=SC2016 # the Dockerfiles' variables
{
  printf 'FROM base\nARG NOW\nRUN --mount=type=cache,target=/deep/c,id=kept : $NOW; mkdir -p /deep/c/d && echo kept >/deep/c/d/f\n' >ctx/fill
  printf 'FROM base\nARG NOW\nRUN --mount=type=cache,target=/deep/c,id=kept : $NOW; cat /deep/c/d/f; n=0; while [ $n -lt 20 ]; do n=$((n+1)); echo $n >/deep/c/n; sleep 0.02; done\n' >ctx/use
  printf 'FROM base\nRUN --mount=type=cache,target=/deep/c,id=kept --mount=type=secret,id=token mv /deep /moved; mv /run /moved-run; echo "up $((1+1))"; sleep 1000\n' >ctx/move
  printf 'FROM base\nRUN --mount=type=cache,target=/deep/c,id=kept mv /deep /moved\n' >ctx/take
}
check() {
  equal "$(find store/mounts -path '*/data/d/f' -exec cat {} +)" kept "$1"
}
holds "$(chroot_build -f ctx/fill 2>&1)" "a step's secrets lie on the store's disk while it runs"
check "a cache mount after a build"

# While it is away, with all that is above it moved: the next command brings it home.
"$CORTEN" $flags -f ctx/move >move.log 2>&1 &
pid=$!
n=0
until grep -q 'up 2' move.log; do
  n=$((n + 1))
  [ $n -lt 600 ] || fail "the step does not start: $(cat move.log)"
  sleep 0.05
done
[ -z "$(find store/mounts -path '*/data/d/f')" ] || fail "the cache mount is at home while the step has it"
secret=$(grep -rl hush-hush store/tmp | grep moved-run) || fail "no secret lies there"
ln "$secret" secret-was-here
grep -q hush-hush secret-was-here
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
log=$(chroot_build -f ctx/use --build-arg NOW=1 2>&1) || fail "the next build: $log"
holds "$log" kept
check "a cache mount after a kill"
! grep -q hush secret-was-here || fail "a secret is still readable after a kill"
[ -z "$(ls -A store/tmp)" ] || fail "left: $(find store/tmp | head)"

# A step that moves its cache mount away fails, and the contents are not lost.
! log=$(chroot_build -f ctx/take 2>&1) || fail "a step took its cache mount"
holds "$log" "the step took it from its place"
check "a cache mount that the step moved"

# At all instants.
for pause in 0.02 0.05 0.08 0.11 0.14 0.17 0.2 0.25 0.3 0.4 0.5 0.6; do
  "$CORTEN" $flags -f ctx/use --build-arg "NOW=$pause" >use.log 2>&1 &
  pid=$!
  sleep "$pause"
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
done
log=$(chroot_build -f ctx/use --build-arg NOW=last 2>&1) || fail "the last build: $log"
holds "$log" kept
check "a cache mount after many kills"
"$CORTEN" fsck >/dev/null || fail "fsck"
