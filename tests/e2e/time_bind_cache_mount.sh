# Sources that come by a bind mount are seen by a cache mount like those in a layer.
. "$(dirname "$0")/lib.sh"
base bb make
mkdir -p ctx/src
printf 'all: /out/a\n/out/a: a.src ; @echo rebuilt a; cp a.src $@; touch $@\n' >ctx/src/Makefile
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
RUN --mount=type=bind,source=src,target=/src --mount=type=cache,target=/out cd /src && make && cp /out/a /result
DOCKERFILE
echo one >ctx/src/a.src
build ctx --build-context base=bb -o out
equal "$(cat out/result)" one "first build"
build ctx --build-context base=bb -o out --no-cache
lacks "$(cat "$T/log")" "rebuilt a"
printf 'ONE\n' >ctx/src/a.src
touch -d 2001-01-01 ctx/src/a.src
build ctx --build-context base=bb -o out
equal "$(cat out/result)" ONE "an edit with an old stamp"
