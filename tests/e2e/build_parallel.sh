# Independent stages run at the same time, what the target does not need is not built, and two builds of the same thing do it once.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base AS one
RUN --mount=type=cache,target=/meet,id=meet echo x >/meet/one; n=0; until [ -e /meet/two ]; do n=$((n+1)); [ $n -lt 400 ] || exit 1; sleep 0.05; done; echo 1 >/one
FROM base AS two
RUN --mount=type=cache,target=/meet,id=meet echo x >/meet/two; n=0; until [ -e /meet/one ]; do n=$((n+1)); [ $n -lt 400 ] || exit 1; sleep 0.05; done; echo 2 >/two
FROM base AS unneeded
RUN exit 1
FROM base
COPY --from=one /one /
COPY --from=two /two /
DOCKERFILE
build ctx --build-context base=bb -o out
equal "$(cat out/one)$(cat out/two)" 12 "stages that wait for each other"

mkdir single
printf 'FROM base\nRUN --mount=type=cache,target=/runs,id=runs echo run >>/runs/log; sleep 1; cp /runs/log /log\n' >single/Dockerfile
"$CORTEN" build -q --build-context base=bb single >a.id &
first=$!
"$CORTEN" build -q --build-context base=bb single >b.id
wait "$first"
equal "$(cat a.id)" "$(cat b.id)" "two builds at once"
build single --build-context base=bb -o out
equal "$(wc -l <out/log)" 1 "the step ran once"

# Who waits for another build's step can be interrupted, and the other goes on.
mkdir waiting
printf 'FROM base\nRUN --mount=type=cache,target=/c,id=waiting touch /c/started; n=0; until [ -e /c/go ]; do n=$((n+1)); [ $n -lt 1200 ] || exit 1; sleep 0.05; done\n' >waiting/Dockerfile
printf 'FROM base\nRUN --mount=type=cache,target=/c,id=waiting n=0; until [ -e /c/started ]; do n=$((n+1)); [ $n -lt 400 ] || exit 1; sleep 0.05; done\n' >waiting/started
printf 'FROM base\nRUN --mount=type=cache,target=/c,id=waiting touch /c/go\n' >waiting/go
"$CORTEN" build -q --build-context base=bb waiting >/dev/null &
leader=$!
build waiting --build-context base=bb -f waiting/started
"$CORTEN" build --progress plain --build-context base=bb waiting >follower.log 2>&1 &
follower=$!
n=0
until grep -q 'waiting for another build' follower.log; do
  n=$((n+1))
  [ $n -lt 400 ] || fail "the second build did not wait: $(cat follower.log)"
  sleep 0.05
done
kill -INT $follower
code=0
wait $follower || code=$?
equal "$code" 130 "a build that waited and was interrupted"
kill -0 $leader || fail "the first build ended too"
build waiting --build-context base=bb -f waiting/go
wait $leader || fail "the first build"
