# Errors say what, where, and how to mend it.
. "$(dirname "$0")/lib.sh"
base bb
mkdir -p ctx/services/api ctx/docker
refused() { # FLAGS... : the build must fail with code 1; its words go to $said
  said=$("$CORTEN" build --progress plain --build-context base=bb "$@" 2>&1) && fail "build $* should fail"
  return 0
}
echo 'FROM base' >ctx/services/api/Dockerfile
echo 'FROM base' >ctx/docker/web.Dockerfile
refused ctx
holds "$said" "failed to read dockerfile: open Dockerfile: no such file or directory"
holds "$said" "services/api/Dockerfile"
holds "$said" "docker/web.Dockerfile"

echo 'node_modules' >ctx/docker/.dockerignore
"$CORTEN" build --progress plain --build-context base=bb -f ctx/docker/web.Dockerfile ctx >log 2>&1 || fail "build"
holds "$(cat log)" ".dockerignore is not read"
holds "$(cat log)" "web.Dockerfile.dockerignore"

printf 'FROM base\nRNU true\n' >ctx/Dockerfile
refused ctx
holds "$said" "dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)"
holds "$said" "Dockerfile:2"
holds "$said" ">>> RNU true"

printf 'FROM base AS build\nRUN true\n' >ctx/Dockerfile
refused --target bulid ctx
holds "$said" 'target stage "bulid" could not be found (did you mean build?)'

printf 'FROM base\nCOPY missing.txt /\n' >ctx/Dockerfile
refused ctx
holds "$said" '"/missing.txt": not found'
holds "$said" "Dockerfile:2"

printf 'FROM base\nRUN echo the last words; exit 7\n' >ctx/Dockerfile
refused ctx
holds "$said" "did not complete successfully: exit code: 7"
holds "$said" "the last words"

printf 'FROM nowhere/image:1\n' >ctx/Dockerfile
refused ctx
holds "$said" "docker.io/nowhere/image:1"
holds "$said" "corten load"

printf 'FROM base\nRUN --mount=type=ssh,required=true true\n' >ctx/Dockerfile
refused ctx
holds "$said" 'no SSH key "default" forwarded from the client'
holds "$said" "--ssh default"

printf 'FROM base\nRUN --mount=type=secret,id=token,required=true true\n' >ctx/Dockerfile
refused ctx
holds "$said" "secret token: not found"
holds "$said" "--secret id=token"

head -c 300000 /dev/zero >ctx/big
printf 'FROM base\nCOPY big /big\nRUN head -c 100000 /dev/zero >/more\n' >ctx/Dockerfile
refused --size-budget 100kB ctx
holds "$said" "its budget is 100kB"
holds "$said" "Dockerfile:2 COPY big /big"
holds "$said" "Dockerfile:3 RUN"
"$CORTEN" build -q --build-context base=bb --size-budget 10MB ctx >/dev/null

code=0
"$CORTEN" build --no-such-flag ctx 2>/dev/null || code=$?
equal "$code" 2 "exit code of a usage error"
mkdir readonly
if [ "$(id -u)" != 0 ]; then
  chmod 555 readonly
  said=$(CORTEN_STORE="$T/readonly/store" "$CORTEN" images 2>&1) && fail "a store that cannot be made"
  holds "$said" "CORTEN_STORE"
fi
