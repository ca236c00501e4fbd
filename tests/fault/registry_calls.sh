# The N-th call of a kind fails in a server of a registry, or the server is killed as it makes it, for every N until none does (strace
# injects it and counts in each thread by itself). A refusal is a 500 or 507 with words; the server goes on, but for syncs that failed:
# after these nothing is written until it is started again. What was acknowledged is there, before and after a restart; what was not is
# there as a whole or not at all. CORTEN_EVERY=1 tries every N; else N grows by a half each time, so that CI has time.
. "$(dirname "$0")/../e2e/lib.sh"
[ "$(id -u)" = 0 ] || {
  echo "as root, like the other tests with strace"
  exit 0
}
command -v strace >/dev/null || fail "strace is needed"
work="$(cd "$(dirname "$0")" && pwd)/registry_work.py"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY || true
every=${CORTEN_EVERY:-0}
# In memory, where syncs take no time: what fails here is told to fail.
memory=$T
[ ! -w /dev/shm ] || memory=$(mktemp -d /dev/shm/corten-fault-XXXXXX)
root=$memory/registry
# CALLS:ERROR, or CALLS:KILL. A call of a file in temporary/ alone: temporary=CALLS:ERROR.
kinds=${CORTEN_KINDS:-"pwrite64:ENOSPC fsync,fdatasync,syncfs:EIO renameat:EIO openat,openat2:EMFILE renameat:KILL"}

# serve PREFIX...: a server, perhaps under strace; sets SERVER (of what was started), PID (of the server), URL, or returns 1.
serve() {
  : >said
  "$@" "$CORTEN" serve registry --no-store --gc-interval 0 --listen 127.0.0.1:0 --root "$root" >said 2>served &
  SERVER=$!
  URL=
  while [ -z "$URL" ]; do
    URL=$(sed -n 's/^listening on //p' said)
    [ -n "$URL" ] || kill -0 $SERVER 2>/dev/null || {
      wait $SERVER || true
      SERVER=
      return 1
    }
    [ -n "$URL" ] || sleep 0.02
  done
}
# The server itself, if it lives: a child of strace, or what was started.
server_of() {
  child=$({ tr -d ' ' <"/proc/$SERVER/task/$SERVER/children"; } 2>/dev/null || true)
  echo "${child:-$SERVER}"
}
stop() {
  [ -n "$SERVER" ] || return 0
  kill -TERM "$(server_of)" 2>/dev/null || true
  wait $SERVER 2>/dev/null || true
  SERVER=
}
trap '[ -z "${SERVER-}" ] || kill -KILL "$(server_of)" 2>/dev/null; (cleanup); rm -rf "$memory"' EXIT

disturb() { # KIND N: false when no call was that late
  where=
  kind=${1#temporary=}
  if [ "$kind" != "$1" ]; then
    for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do where="$where -P $root/temporary/$i"; done
  fi
  calls=${kind%:*} error=${kind#*:}
  what="$1 number $2"
  # Where --seccomp-bpf stops a call no signal arrives.
  case $error in KILL) inject="signal=SIGKILL" fast= ;; *) inject="error=$error" fast=--seccomp-bpf ;; esac
  rm -rf "$root" ledger trace
  : >ledger
  # shellcheck disable=SC2086 # words
  if serve strace -f $fast -qq -o trace $where -e "trace=$calls" -e "inject=$calls:$inject:when=$2"; then
    round=0
    while :; do
      round=$((round + 1))
      refused=$(python3 "$work" push "$URL" ledger "$round" 2>refusals) || fail "$what: $(cat refusals served)"
      total=$((total + refused))
      [ "$refused" != 0 ] || break
      if [ ! -e "/proc/$(server_of)/exe" ] || grep -q 'killed by' trace; then
        [ "$error" = KILL ] || fail "$what: the server ended: $(cat served)"
        break
      fi
      # After a sync that failed nobody knows what the disk has.
      case "$calls$(cat served)" in *sync*": sync "*) break ;; esac
      [ "$round" -lt 6 ] || fail "$what: it does not go on: $(cat refusals served)"
    done
    if [ "$error" != KILL ]; then
      [ "$refused" = 0 ] || grep -q '^corten: ' served || fail "$what: nothing is in the log"
      python3 "$work" check "$URL" ledger 2>log || [ -n "$where" ] || fail "$what, before a restart: $(cat log served)"
    fi
    stop
  else
    # It did not start: with a word on why, unless it was killed.
    [ "$error" = KILL ] || grep -q '^ERROR' served || fail "$what: it did not start, and said: $(cat served)"
  fi
  serve env || fail "$what: it does not start again: $(cat served)"
  python3 "$work" check "$URL" ledger 2>log || fail "$what, after a restart: $(cat log)"
  equal "$(python3 "$work" push "$URL" ledger again 2>log)" 0 "$what, pushes after a restart: $(cat log)"
  stop
  serve env || fail "$what: it does not start a third time: $(cat served)"
  python3 "$work" check "$URL" ledger 2>log || fail "$what, at the end: $(cat log)"
  stop
  equal "$(find "$root/temporary" -type f)" "" "$what: rubbish in temporary/"
  grep -q 'INJECTED\|killed by SIGKILL' trace
}

tried=0 total=0
for kind in $kinds; do
  n=1
  while disturb "$kind" $n; do
    tried=$((tried + 1))
    if [ "$every" = 1 ]; then n=$((n + 1)); else n=$((n + n / 2 + 1)); fi
  done
  [ $n -gt 1 ] || fail "no call of $kind"
done
echo "$tried disturbed servers, $total refused requests"
