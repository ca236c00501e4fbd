# What bounds a RUN is enforced or refused by name, and what went past a bound says so: memory, time, a signal, a limit of the shell,
# the disk. Ctrl-C ends a build whose step will not end; a second one ends it when the first cannot.
# shellcheck disable=SC1007 # an empty CDPATH
HERE=$(CDPATH= cd "$(dirname "$0")" && pwd)
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
failing() { # failing TEXT FLAGS...: a build of `RUN TEXT` that fails; its log is in $log
  printf 'FROM base\nRUN %s\n' "$1" >ctx/Dockerfile
  shift
  if "$CORTEN" build --progress plain --build-context base=bb "$@" ctx >log 2>&1; then fail "a build went well: $*"; fi
  log=$(cat log)
}

# Memory: where control groups can be made the step is killed at its limit; elsewhere the build is refused before its first step.
failing 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done' --resource memory=48m
case "$log" in
  *'cannot be enforced'*)
    holds "$log" 'memory=50.33MB cannot be enforced: '
    holds "$log" 'hint: build where control groups are delegated'
    lacks "$log" 'RUN x='
    ;;
  *)
    holds "$log" 'exit code: 137: out of memory: limit 50.33MB, peak '
    holds "$log" 'hint: give it more: --resource memory=SIZE'
    printf 'FROM base\nRUN : small\n' >ctx/Dockerfile
    build ctx --build-context base=bb -m 48m --cpu-shares 512 --cpu-period 50000 --cpu-quota 25000
    if find /sys/fs/cgroup -maxdepth 4 -type d -name 'corten-*' 2>/dev/null | grep .; then fail "a control group is left"; fi
    # The limit changes no result: a hit without it.
    build ctx --build-context base=bb
    holds "$(cat log)" '2 of 2 steps cached'
    ;;
esac
for bad in memory=much disk=1g memory; do
  code=0
  "$CORTEN" build --resource "$bad" --build-context base=bb ctx 2>log || code=$?
  equal "$code" 2 "--resource $bad: $(cat log)"
done

# Time.
failing 'sleep 600' --step-timeout 300ms
holds "$log" 'exit code: 137: killed after 300ms: its time was over'
holds "$log" 'Dockerfile:2'
code=0
"$CORTEN" build --step-timeout soon --build-context base=bb ctx 2>log || code=$?
equal "$code" 2 "--step-timeout soon"

# Signals, of the step itself and of a program of its shell; rlimits.
failing 'sleep 600 & kill -TERM $!; wait $!'
holds "$log" 'exit code: 143: a program of it was killed by SIGTERM'
failing 'while :; do :; done' --ulimit cpu=1
holds "$log" 'killed by SIGKILL, limit cpu=1 (--ulimit), used '
failing 'exit 3'
holds "$log" 'did not complete successfully: exit code: 3'
lacks "$log" 'killed by'

# A full disk (a small one can only be made as root).
if [ "$(id -u)" = 0 ]; then
  printf 'FROM base\nRUN dd if=/dev/zero of=/big bs=1M count=200\n' >ctx/Dockerfile
  mkdir small
  # shellcheck disable=SC2016 # for the inner shell
  unshare -m sh -c 'mount -t tmpfs -o size=40m tmpfs small && CORTEN_STORE=$PWD/small/store exec "$@"' sh \
    "$CORTEN" build --progress plain --build-context base=bb ctx >log 2>&1 && fail "a build on a full disk"
  holds "$(cat log)" "the disk is full: $T/small/store has "
  holds "$(cat log)" "hint: make room: 'corten prune', 'corten du'"
fi

# Ctrl-C: a step that ignores every signal it may is gone soon, and so is the build.
printf 'FROM base\nRUN trap "" INT TERM HUP; echo ig""noring; while :; do sleep 1; done\n' >ctx/Dockerfile
"$CORTEN" build --progress plain --build-context base=bb ctx >log 2>&1 &
pid=$!
n=0
until grep -qs 'ignoring' log; do
  n=$((n + 1))
  [ $n -lt 400 ] || fail "the step does not start: $(cat log)"
  sleep 0.05
done
kill -INT "$pid"
n=0
while kill -0 "$pid" 2>/dev/null; do
  n=$((n + 1))
  [ $n -lt 100 ] || fail "the build does not end"
  sleep 0.05
done
code=0
wait "$pid" || code=$?
equal "$code" 130 "a build that was interrupted"
if [ -n "$(find store/tmp store/locks -mindepth 1)" ]; then fail "something is left: $(find store/tmp store/locks -mindepth 1)"; fi

# A second Ctrl-C does not wait for anything: here for a terminal that takes no more output.
printf 'FROM base\nRUN while :; do echo many many many words that nobody reads; done\n' >ctx/Dockerfile
python3 "$HERE/unread.py" "$CORTEN" build --progress plain --build-context base=bb ctx || fail "a second Ctrl-C"
