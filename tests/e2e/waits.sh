# Every wait of a command for another one has a name on the screen: for the store, and for those that use it. (For steps, slots and
# downloads: single_flight.sh, add_remote.sh.)
. "$(dirname "$0")/lib.sh"
command -v flock >/dev/null || fail "flock is needed"
base bb
mkdir ctx
printf 'FROM base\nRUN echo once\n' >ctx/Dockerfile
build ctx --build-context base=bb
hold() { # hold MODE: the store's lock until `go` is there
  rm -f go held
  # shellcheck disable=SC2016 # for the inner shell
  flock "$1" store/lock sh -c 'touch held; while [ ! -e go ]; do sleep 0.05; done' &
  holder=$!
  until_there held
}
until_there() {
  n=0
  until [ -e "$1" ]; do
    n=$((n + 1))
    [ $n -lt 400 ] || fail "$1 does not come"
    sleep 0.05
  done
}
until_told() {
  n=0
  until grep -qs "$1" err; do
    n=$((n + 1))
    [ $n -lt 400 ] || fail "'$1' is not told: $(cat err)"
    sleep 0.05
  done
}
hold -x
"$CORTEN" images >out 2>err &
pid=$!
until_told "waiting for the store $T/store: another command"
touch go
wait "$pid" || fail "a command that waited"
wait "$holder"
hold -s
"$CORTEN" fsck >out 2>err &
pid=$!
until_told "waiting for other commands that use the store $T/store"
touch go
wait "$pid" || fail "fsck after a wait: $(cat err)"
wait "$holder"

# A cache mount that is locked by another step.
cat >ctx/locked <<'DOCKERFILE'
FROM base
ARG WHO
RUN --mount=type=cache,target=/c,id=locked,sharing=locked --mount=type=cache,target=/d,id=free : $WHO; touch /d/$WHO; n=0; until [ -e /d/go ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.05; done
DOCKERFILE
printf 'FROM base\nRUN --mount=type=cache,target=/d,id=free n=0; until [ -e /d/one ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.05; done\n' >ctx/begun
printf 'FROM base\nRUN --mount=type=cache,target=/d,id=free touch /d/go\n' >ctx/go
"$CORTEN" build --build-context base=bb -f ctx/locked --build-arg WHO=one ctx >one 2>&1 &
one=$!
build ctx -f ctx/begun --build-context base=bb
"$CORTEN" build --progress plain --build-context base=bb -f ctx/locked --build-arg WHO=two ctx >err 2>&1 &
two=$!
until_told 'waiting for the cache mount locked, which another step uses'
build ctx -f ctx/go --build-context base=bb
wait "$one" || fail "the first: $(cat one)"
wait "$two" || fail "the second: $(cat err)"

# Two mounts that two steps lock in another order, and one that a step locks twice: nobody waits for ever.
cat >ctx/circle <<'DOCKERFILE'
FROM base AS one
RUN --mount=type=cache,target=/a,id=a,sharing=locked --mount=type=cache,target=/b,id=b,sharing=locked --mount=type=cache,target=/again,id=a,sharing=locked sleep 0.2
FROM base AS two
RUN --mount=type=cache,target=/b,id=b,sharing=locked --mount=type=cache,target=/a,id=a,sharing=locked sleep 0.2
FROM base
COPY --from=one /etc/passwd /1
COPY --from=two /etc/passwd /2
DOCKERFILE
build ctx -f ctx/circle --build-context base=bb
