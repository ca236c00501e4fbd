# `why` and the history: each kind of input that can differ is named, in the progress, in `corten why` and in JSON; records and logs
# stay when images and the memory of steps are gone; nothing of a secret is in them.
. "$(dirname "$0")/lib.sh"
base bb
base other
echo other >other/etc/mark
mkdir -p ctx/src
printf 'one\n' >ctx/src/a.c
printf 'two\n' >ctx/src/b.c
printf 'secret-value-1' >s1
printf 'secret-value-2' >s2
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base AS build
ARG VERSION=1
ARG API_TOKEN=none
COPY src /src
RUN --mount=type=secret,id=key cat /src/a.c >/out; test -z "" && : compile
RUN --mount=type=bind,source=src,target=/m : bound
RUN : $VERSION-use
FROM base
COPY --from=build --chown=1:1 /out /out
DOCKERFILE
now() { build ctx --build-context base=bb --secret id=key,src=s1 -t page "$@"; }
# The remark of a step in the plain log.
remark() { grep -F -A1 "$1" log | grep -F 'not cached' || true; }
now
lacks "$(cat log)" 'not cached'
equal "$("$CORTEN" why --format json | grep -c '"reason":"first"')" 6 "first runs"

# A file: its content, its mode; one that came, one that went.
printf 'ONE\n' >ctx/src/a.c
now
holds "$(remark 'COPY src /src')" 'context file src/a.c: content was 2c8b08da5ce6 (4B), is '
holds "$(remark ': compile')" 'step below [build 2/5] COPY src /src: result changed'
holds "$(remark ': bound')" 'step below'
why=$("$CORTEN" why page ': bound')
holds "$why" 'context file src/a.c: content was'
holds "$(remark 'COPY --from=build')" 'stage build file out: content was'
chmod 755 ctx/src/b.c
now
holds "$(remark 'COPY src /src')" 'context file src/b.c: mode was 0644, is 0755'
touch ctx/src/c.c
now
holds "$(remark 'COPY src /src')" 'context file src/c.c was added'
rm ctx/src/c.c ctx/src/b.c
now
holds "$(remark 'COPY src /src')" 'context file src/b.c was removed'

# A variable, a secret-looking one without its value, the command, a flag, a mount, the base.
now --build-arg VERSION=2
holds "$(remark ': $VERSION-use')" 'variable VERSION was "1", is "2"'
now --build-arg VERSION=2 --build-arg API_TOKEN=hidden-in-arg
holds "$(remark ': $VERSION-use')" 'variable API_TOKEN: value changed'
lacks "$("$CORTEN" why --format json; cat store/builds/*/steps)" 'hidden-in-arg'
if grep -q 'hidden-in-arg' store/index.db*; then fail "a value that looks like a secret is in the index"; fi
sed -i 's/: compile/: compile -O2/' ctx/Dockerfile
now
holds "$(remark ': compile -O2')" ': compile", is "'
sed -i 's/chown=1:1/chown=2:1/' ctx/Dockerfile
now
holds "$(remark 'COPY --from=build')" '--chown was "1:1", is "2:1"'
now --network none
holds "$(remark ': compile -O2')" '--network was "default", is "none"'
sed -i 's/target=\/m :/target=\/n :/' ctx/Dockerfile
now
holds "$(remark 'target=/n')" 'mount /n was added'
now --build-context base=other
holds "$(remark 'FROM base')" 'file etc/mark was added'
now

# A secret is in no key: another one is a hit. When the step misses for another reason, that it changed is told too.
now --secret id=key,src=s2
holds "$(cat log)" '7 of 7 steps cached'
printf 'three\n' >ctx/src/a.c
now
holds "$("$CORTEN" why page ': compile -O2')" 'secret key: content (not in the key) changed'
lacks "$(cat store/builds/*/steps store/builds/*/log)" 'secret-value'
lacks "$("$CORTEN" why --format json; cat log)" 'hidden-in-arg'

# A step that failed, one whose result was thrown away, one that was not to be cached.
printf 'FROM base\nRUN exit 3\n' >ctx/failing
for _ in 1 2; do
  if "$CORTEN" build --progress plain --build-context base=bb -f ctx/failing ctx >log 2>&1; then fail "a build whose step fails"; fi
done
holds "$(cat log)" 'not cached: with the same inputs it gave nothing'
holds "$("$CORTEN" why | cat)" 'failed'
now --no-cache
lacks "$(cat log)" 'not cached'
holds "$("$CORTEN" why)" '--no-cache'
"$CORTEN" prune -a --cache -f >/dev/null
now
holds "$(remark 'COPY src /src')" 'is no longer in the store'

# The history: by id, name, place; as a table and as JSON; forgotten when that is asked for.
"$CORTEN" rmi page >/dev/null
"$CORTEN" prune -a --cache -f >/dev/null
holds "$("$CORTEN" builds)" 'page'
holds "$("$CORTEN" buildx history ls)" 'BUILD ID'
id=$("$CORTEN" builds -q -n 1)
holds "$("$CORTEN" builds show page)" "$id"
holds "$("$CORTEN" builds show ^0 --format json)" '"status":"done"'
holds "$("$CORTEN" builds show ^0 --format json)" '"state":"done"'
holds "$("$CORTEN" builds logs "${id%????????}")" 'COPY src /src'
holds "$("$CORTEN" builds ls --filter status=failed --format json)" '"error":"'
equal "$("$CORTEN" builds ls --filter status=running -q)" "" "builds that run"
"$CORTEN" builds rm "$id" >/dev/null
lacks "$("$CORTEN" builds -q)" "$id"
if [ -e "store/builds/$id" ]; then fail "the directory of a forgotten build"; fi
code=0
"$CORTEN" builds show nothing-like-it 2>err || code=$?
equal "$code" 1 "a build that is not there"
holds "$(cat err)" "no such build: nothing-like-it"
code=0
"$CORTEN" why page 'no such step' 2>err || code=$?
equal "$code" 1 "a step that is not there"

# A build that is killed says so, and what it had done.
printf 'FROM base\nRUN : before\nRUN --mount=type=cache,target=/c echo has beg""un; sleep 600\n' >ctx/long
"$CORTEN" build --progress plain --build-context base=bb -f ctx/long ctx >killed.log 2>&1 &
pid=$!
n=0
until grep -qs 'has begun' killed.log; do
  n=$((n + 1))
  [ $n -lt 400 ] || fail "the step does not start"
  sleep 0.05
done
holds "$("$CORTEN" builds -n 1)" running
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
holds "$("$CORTEN" builds -n 1)" killed
holds "$("$CORTEN" why)" ': before'
"$CORTEN" builds rm --all >/dev/null
equal "$("$CORTEN" builds -q)" "" "builds after all were forgotten"
