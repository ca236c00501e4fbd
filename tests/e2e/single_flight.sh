# Two builds that need the same step at the same time run it once; who waits sees the leader's output, and goes on by itself when the
# leader fails, is cancelled or is killed. What ran is counted in a cache mount.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
# started(NAME): one line for each run of the step; it goes on when `go` is there.
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
ARG NAME
RUN --mount=type=cache,target=/c,id=flight echo run >>/c/$NAME.runs; echo "hello from $NAME"; \
    n=0; until [ -e /c/$NAME.go ]; do n=$((n+1)); [ $n -lt 1200 ] || exit 1; sleep 0.05; done; \
    echo "after $NAME"; if [ -e /c/$NAME.fail ]; then exit 7; fi; cp /c/$NAME.runs /runs
RUN : a step that waits
DOCKERFILE
# tell WORDS...: touches files in the cache mount; count NAME: how often the step began.
tell() { build ctx -f ctx/tell --build-arg "WHAT=$*" --build-arg "NOW=$(date +%N)"; }
count() {
  build ctx -f ctx/count --build-arg "NAME=$1" --build-arg "NOW=$(date +%N)" -o count.out
  cat count.out/runs
}
# shellcheck disable=SC2016 # the Dockerfile's variables
{
  printf 'FROM base\nARG WHAT\nARG NOW\nRUN --mount=type=cache,target=/c,id=flight : $NOW; for f in $WHAT; do touch /c/$f; done\n' >ctx/tell
  printf 'FROM base AS b\nARG NAME\nARG NOW\nRUN --mount=type=cache,target=/c,id=flight : $NOW; wc -l </c/$NAME.runs >/runs\nFROM scratch\nCOPY --from=b /runs /\n' >ctx/count
}
build() {
  context=$1
  shift
  "$CORTEN" build --progress plain --build-context base=bb "$@" "$context" >"$T/log" 2>&1 || {
    cat "$T/log" >&2
    fail "corten build $*"
  }
}
begin() { # begin NAME LOG: in the background; $! is its process
  "$CORTEN" build --progress plain --build-context base=bb --build-arg "NAME=$1" ctx >"$2" 2>&1 &
}
until_holds() { # FILE TEXT
  n=0
  until grep -qs "$2" "$1"; do
    n=$((n + 1))
    [ $n -lt 600 ] || fail "'$2' does not come in $1: $(cat "$1")"
    sleep 0.05
  done
}
# The leader prints, then the follower waits for it and shows what it printed, before the step goes on.
pair() {
  begin "$1" "$1.leader"
  leader=$!
  until_holds "$1.leader" "hello from $1"
  begin "$1" "$1.follower"
  follower=$!
  until_holds "$1.follower" 'waiting for another build'
  until_holds "$1.follower" "hello from $1"
}
end() { # PROCESS CODE WHAT
  code=0
  wait "$1" || code=$?
  equal "$code" "$2" "$3"
}

# Done: once, and the follower's log has what came later too.
pair done
# Who waits for an input, as the last step does, holds no lock.
equal "$(find store/locks -type f ! -name '*.log' | wc -l)" 1 "locks while two builds are at one step"
tell done.go
end "$leader" 0 "the leader"
end "$follower" 0 "the follower"
until_holds done.follower 'after done'
holds "$(cat done.follower)" 'CACHED'
equal "$(count done)" 1 "runs of a step that two builds wanted"
equal "$(find store/locks -type f)" "" "locks that are left"

# Failed: the follower runs it once itself, and says why.
pair failed
tell failed.fail failed.go
end "$leader" 1 "a leader whose step fails"
end "$follower" 1 "a follower whose step fails too"
holds "$(cat failed.follower)" 'which ran this step, failed; running it here'
equal "$(count failed)" 2 "runs of a step that failed for the leader"

# Cancelled: the follower takes over.
pair cancelled
kill -INT "$leader"
end "$leader" 130 "a leader that was interrupted"
until_holds cancelled.follower 'was cancelled; running it here'
tell cancelled.go
end "$follower" 0 "a follower whose leader was cancelled"
equal "$(count cancelled)" 2 "runs of a step whose leader was cancelled"

# Killed: the follower takes over when the step is really dead.
pair killed
kill -KILL "$leader"
wait "$leader" 2>/dev/null || true
until_holds killed.follower 'was killed; running it here'
tell killed.go
end "$follower" 0 "a follower whose leader was killed"
equal "$(count killed)" 2 "runs of a step whose leader was killed"
equal "$(find store/locks -type f)" "" "locks that are left"

# Killed, and the process that holds the step's locks has not seen yet that the step is dead: nobody enters the cache mounts.
cat >ctx/kept <<'DOCKERFILE'
FROM base
RUN --mount=type=cache,target=/c,id=kept,sharing=locked --mount=type=cache,target=/d,id=mine,sharing=private echo "up $((1+1))"; sleep 1000
DOCKERFILE
cat >ctx/next <<'DOCKERFILE'
FROM base
RUN --mount=type=cache,target=/c,id=kept,sharing=locked --mount=type=cache,target=/d,id=mine,sharing=private echo "in $((1+1))"
DOCKERFILE
"$CORTEN" build --progress plain --build-context base=bb -f ctx/kept ctx >kept.log 2>&1 &
leader=$!
until_holds kept.log 'up 2'
keeper=$(pgrep -P "$leader" -x corten-locks) || fail "nobody holds the step's locks"
kill -STOP "$keeper"
kill -KILL "$leader"
wait "$leader" 2>/dev/null || true
equal "$(find store/mounts -name lock | wc -l)" 2 "cache mounts with a lock"
for lock in store/mounts/*/lock; do
  ! flock -n "$lock" true || fail "$lock is free, and nobody knows that the step is dead"
done
"$CORTEN" build --progress plain --build-context base=bb -f ctx/next ctx >next.log 2>&1 &
follower=$!
until_holds next.log 'waiting for the cache mount kept'
lacks "$(cat next.log)" 'in 2'
kill -CONT "$keeper"
end "$follower" 0 "a build that waited for a dead step's cache mount"
holds "$(cat next.log)" 'in 2'

# Two equal builds of several stages, and equal steps in one build: none runs twice.
mkdir equal
cat >equal/Dockerfile <<'DOCKERFILE'
FROM base AS one
RUN --mount=type=cache,target=/c,id=equal echo a >>/c/runs; sleep 0.3; echo >/a
FROM base AS two
RUN --mount=type=cache,target=/c,id=equal echo a >>/c/runs; sleep 0.3; echo >/a
RUN --mount=type=cache,target=/c,id=equal echo b >>/c/runs; sleep 0.3
FROM base AS three
RUN --mount=type=cache,target=/c,id=equal echo c >>/c/runs; sleep 0.3
FROM base
COPY --from=one /a /1
COPY --from=two /a /2
COPY --from=three /etc/passwd /3
RUN --mount=type=cache,target=/c,id=equal echo d >>/c/runs
DOCKERFILE
pids=
for i in 1 2 3; do
  "$CORTEN" build -q --build-context base=bb equal >"equal.$i" 2>&1 &
  pids="$pids $!"
done
for pid in $pids; do end "$pid" 0 "an equal build"; done
# shellcheck disable=SC2016 # the Dockerfile's variables
printf 'FROM base AS b\nRUN --mount=type=cache,target=/c,id=equal sort /c/runs | tr -d "\\n" >/runs\nFROM scratch\nCOPY --from=b /runs /\n' >equal/count
build equal -f equal/count -o count.out
equal "$(cat count.out/runs)" abcd "runs of equal builds"

# Slots: with one for each build, two steps of a build run one after the other, and the second says what it waits for.
mkdir slots
cat >slots/Dockerfile <<'DOCKERFILE'
FROM base AS one
RUN --mount=type=cache,target=/c,id=slots echo x >>/c/one; n=0; until [ -e /c/go ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.05; done
FROM base AS two
RUN --mount=type=cache,target=/c,id=slots echo x >>/c/two; n=0; until [ -e /c/go ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.05; done
FROM base
COPY --from=one /etc/passwd /1
COPY --from=two /etc/passwd /2
DOCKERFILE
printf 'FROM base\nRUN --mount=type=cache,target=/c,id=slots touch /c/go\n' >slots/go
CORTEN_MAX_STEPS=1 "$CORTEN" build --progress plain --build-context base=bb slots >slots.log 2>&1 &
pid=$!
until_holds slots.log 'waiting for a processor: 1 steps are running'
build slots -f slots/go
end "$pid" 0 "a build with one slot"
code=0
CORTEN_MAX_STEPS=none "$CORTEN" build --build-context base=bb slots >slots.log 2>&1 || code=$?
equal "$code" 2 "CORTEN_MAX_STEPS that is no number"
