# Caches that travel: what one store did, an empty one takes from a registry, and fetches only what it stands on.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/registry_lib.sh"

base bb
mkdir -p app/src
cat >app/Dockerfile <<'EOF'
ARG BASE=base
FROM $BASE AS deps
WORKDIR /app
COPY lock .
RUN cat lock >deps.out && head -c 3000000 /dev/urandom >/unneeded

FROM $BASE AS build
WORKDIR /app
COPY --from=deps /app/deps.out .
RUN head -c 2000000 /dev/urandom >tools
COPY src src
RUN cat deps.out src/a >out && date +%N >>out

FROM $BASE
COPY --from=build /app/out /out
RUN cp /out /out2
CMD ["cat", "/out2"]
EOF
echo a >app/src/a
echo lock >app/lock
serve_registry

# The base lies in the registry, too.
printf 'FROM base\nRUN head -c 4000000 /dev/urandom >/in-the-base\n' >Dockerfile.base
build . -f Dockerfile.base --build-context base=bb -t "$HOST/lib/base:1" --push
requests_since() { tail -n +$(($1 + 1)) access; }
travel() { # STORE ARGUMENTS...: a build in that store
  store=$1
  shift
  CORTEN_STORE="$T/$store" build app --build-arg BASE="$HOST/lib/base:1" "$@"
}

# What is exported beside the build...
travel one -t "$HOST/app:1" --push --cache-to "type=registry,ref=$HOST/app:cache,mode=max"
holds "$(cat log)" "exporting cache to registry $HOST/app:cache"
one=$(remote_digest "$HOST/app:1")

# It is an image manifest, and no index: ECR takes nothing else as a cache.
"$CORTEN" manifest inspect --raw "$HOST/app:cache" >manifest
holds "$(cat manifest)" '"mediaType": "application/vnd.oci.image.manifest.v1+json"'
lacks "$(cat manifest)" '"manifests"'

# ...makes every step of an empty store a hit, and no layer is fetched to push the same image again.
before=$(requests)
travel two -t "$HOST/app:2" --push --cache-from "$HOST/app:cache"
holds "$(cat log)" "13 of 13 steps cached"
equal "$(remote_digest "$HOST/app:2")" "$one" "the image of the empty store"
requests_since "$before" >asked
lacks "$(cat asked)" '"POST'
jq -r 'select(.method == "HEAD") | .target' asked | grep /blobs/ >looked
[ -s looked ] || fail "nothing was looked for: $(cat asked)"
sort looked | uniq -d >twice
equal "$(cat twice)" "" "each blob is looked for once"
[ "$(du -s "$T/two/contents" | cut -f1)" -lt 100 ] || fail "contents were fetched: $(du -s "$T/two/contents")"

# One changed source: only what the step stands on comes: base, dependencies and tools; not what only deps stood on.
echo b >app/src/a
travel three -t "$HOST/app:3" --push --cache-from "type=registry,ref=$HOST/app:cache"
holds "$(cat log)" "fetched"
fetched() { find "$T/$1/contents" "$T/$1/dirs" -size "$2"c -type f | wc -l; } # files of that size
equal "$(fetched three 4000000)" 1 "the base's file"
equal "$(fetched three 2000000)" 1 "the tools"
equal "$(fetched three 3000000)" 0 "what only another stage stood on"
CORTEN_STORE="$T/four" "$CORTEN" pull -q "$HOST/app:3"
CORTEN_STORE="$T/four" "$CORTEN" run --rm "$HOST/app:3" >ran
holds "$(cat ran)" "b"

# A blob that is gone: the step that gave it runs again in the middle of the build, once, with those that need it.
echo c >app/src/a
tools=$(du -b "$T"/registry/blobs/sha256/*/*/data "$T"/registry/*/*/*/* 2>/dev/null | awk '$1 > 1990000 && $1 < 2010000 {print $2}' | sort -u)
[ -n "$tools" ] || fail "no blob of the tools in $T/registry"
rm -f $tools
travel five -t "$HOST/app:5" --push --cache-from "$HOST/app:cache"
holds "$(cat log)" "what gave it runs again"
holds "$(cat log)" "building without it"
equal "$(fetched five 2000000)" 1 "the tools that were made here"
CORTEN_STORE="$T/six" "$CORTEN" pull -q "$HOST/app:5"
holds "$(CORTEN_STORE="$T/six" "$CORTEN" run --rm "$HOST/app:5")" "c"
CORTEN_STORE="$T/five" "$CORTEN" fsck

# No cache there, no registry there, a name that is an image: one warning each, and the build goes on.
for ref in "$HOST/app:nothing" "127.0.0.1:1/app:cache" "$HOST/app:5"; do
  rm -rf "$T/empty"
  CORTEN_STORE="$T/empty" build app --build-context base=bb -t plain --cache-from "$ref"
  holds "$(cat log)" "importing cache manifest from registry $ref"
  holds "$(cat log)" "ERROR: "
done

# A directory does the same. mode=min carries what images have, and still every step is a hit.
echo d >app/src/a
travel seven -t "$HOST/app:7" --push --cache-to "type=local,dest=$T/kept"
travel eight -t "$HOST/app:8" --push --cache-from "type=local,src=$T/kept"
holds "$(cat log)" "13 of 13 steps cached"
echo e >app/src/a
travel nine -t "$HOST/app:9" --push --cache-from "type=local,src=$T/kept"
holds "$(cat log)" "what gave it runs again"

# Who keeps nothing needs no layer either; what no cache can say of one is found out in the same build.
echo d >app/src/a
travel cacheonly --target build --output type=cacheonly --cache-from "type=local,src=$T/kept"
holds "$(cat log)" "what gave it runs again"

# A cache that says nothing is not waited for when nothing is asked of it.
mkfifo silent
python3 -c 'import socket, sys
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
kept = []
s.settimeout(60)
while True: kept.append(s.accept())' >silent 2>/dev/null &
listener=$!
read -r port <silent
travel cacheonly --target build --output type=cacheonly --cache-from "127.0.0.1:$port/app:cache"
kill "$listener"
holds "$(cat log)" "CANCELED"

# An image carries its own: read from where it was pushed, each layer a hit.
echo f >app/src/a
printf 'FROM %s/lib/base:1\nWORKDIR /app\nCOPY src src\nRUN cat src/a >out && date +%%N >>out\nCMD ["cat", "out"]\n' "$HOST" >app/Dockerfile.inline
CORTEN_STORE="$T/ten" build app -f app/Dockerfile.inline -t "$HOST/carries:1" --push --cache-to type=inline
CORTEN_STORE="$T/eleven" build app -f app/Dockerfile.inline -t "$HOST/carries:2" --push --cache-from "$HOST/carries:1" --build-arg BUILDKIT_INLINE_CACHE=1
holds "$(cat log)" "4 of 4 steps cached"
equal "$(remote_digest "$HOST/carries:2")" "$(remote_digest "$HOST/carries:1")" "an image and its cache"
# A base's own cache is not the image's.
printf 'FROM %s/carries:1\nCOPY lock /\n' "$HOST" >app/Dockerfile.above
CORTEN_STORE="$T/ten" build app -f app/Dockerfile.above -t above
lacks "$(CORTEN_STORE="$T/ten" "$CORTEN" inspect above)" corten.cache

# Cache mounts travel: what a step left in one is there for the next, with the times that a build tool compares, and only changed chunks are sent.
cat >app/Dockerfile.mounts <<'EOF'
FROM base
COPY src src
RUN --mount=type=cache,target=/c,id=objects \
    if [ ! -e /c/large ]; then head -c 5000000 /dev/urandom >/c/large; echo ma''de; fi; \
    if [ ! -e /c/object ] || [ src/a -nt /c/object ]; then cp src/a /c/object; echo com''piled; fi; cat /c/object >/seen
EOF
mounts() { # STORE ARGUMENTS...
  store=$1
  shift
  CORTEN_STORE="$T/$store" build app -f app/Dockerfile.mounts --build-context base=bb "$@"
}
mounts m1 --cache-to "type=registry,ref=$HOST/app:mounts,mounts=true"
holds "$(cat log)" "compiled"
echo unrelated >app/src/b
mounts m2 --cache-from "$HOST/app:mounts" --cache-to "type=registry,ref=$HOST/app:mounts,mounts=true"
holds "$(cat log)" "of cache mounts"
lacks "$(cat log)" "made"
lacks "$(cat log)" "compiled"
sleep 1 # busybox compares whole seconds
echo changed >app/src/a
mounts m3 --cache-from "$HOST/app:mounts"
lacks "$(cat log)" "made"
holds "$(cat log)" "compiled"
