# Images to a registry and back: build --push, push, pull, FROM; against the embedded server and docker-registry, read by skopeo.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/registry_lib.sh"

base bb
mkdir app
cat >app/Dockerfile <<'EOF'
FROM bb
RUN head -c 3000000 /dev/urandom >/random
COPY page /page
CMD ["cat", "/page"]
EOF
echo one >app/page
serve_registry

# The same image is pushed, pulled by others, and pushed again in few requests.
build app --build-context bb=bb -t "$HOST/team/page:v1" -t "$HOST/team/page:latest" --push --metadata-file meta.json
holds "$(cat log)" "pushed $HOST/team/page:v1@sha256:"
holds "$(cat log)" "sent 4 of 4 blobs"
digest=$(sed -n 's/.*"containerimage.digest": "\(.*\)".*/\1/p' meta.json)
equal "$(remote_digest "$HOST/team/page:v1")" "$digest" "the digest of v1"
equal "$(remote_digest "$HOST/team/page:latest")" "$digest" "the digest of latest"
requests_before=$(requests)
equal "$("$CORTEN" push -q "$HOST/team/page:v1")" "$HOST/team/page:v1@$digest" "what push prints"
most=$(($(requests) - requests_before))
[ "$most" -le 4 ] || fail "a second push takes $most requests"

# Another repository of the registry gets the blobs by mounting them.
"$CORTEN" tag "$HOST/team/page:v1" "$HOST/other/page:v1"
echo two >app/page
build app --build-context bb=bb -t "$HOST/team/page:v2" -t "$HOST/other/page:v2" -o type=registry
holds "$(cat log)" "mounted"

# By digest alone: no tag moves.
build app --build-context bb=bb -t "$HOST/team/digest" -o type=image,push=true,push-by-digest=true
lacks "$(skopeo_tags "$HOST/team/digest" || true)" latest

# Pulled into an empty store, it runs and is the same image.
id=$(image_id "$HOST/team/page:v1")
CORTEN_STORE="$T/store2" "$CORTEN" pull -q "$HOST/team/page:v1" >pulled
equal "$(cat pulled)" "$id" "the id after pull"
equal "$(CORTEN_STORE="$T/store2" "$CORTEN" run --rm "$HOST/team/page:v1")" one "what it prints"

# FROM pulls; with --pull=never it fails without any request, and says what to do; what is there needs no registry.
printf 'FROM %s/team/page:v2\nRUN cat /page >/copy\nCMD ["cat", "/copy"]\n' "$HOST" >Dockerfile
CORTEN_STORE="$T/store3" "$CORTEN" build --pull=never . >never 2>&1 && fail "a base that is not there"
holds "$(cat never)" "Base image '$HOST/team/page:v2' not found locally"
holds "$(cat never)" "corten build -t $HOST/team/page:v2"
CORTEN_STORE="$T/store3" build . -t above
holds "$(cat log)" "pulling layers"
equal "$(CORTEN_STORE="$T/store3" "$CORTEN" run --rm above)" two "on a pulled base"
# What stands on it has its layers mounted from the base's repository, wherever it goes.
CORTEN_STORE="$T/store3" build . -t "$HOST/fresh/above:1" --push
holds "$(cat log)" "sent 2 of 5 blobs"
holds "$(cat log)" "3 mounted"
equal "$(grep -c 'mount=.*from=team/page' access | sed 's/^[3-9]$/mounted/')" mounted "mounts from the base's repository"
requests_before=$(requests)
CORTEN_STORE="$T/store3" build . -t above
equal "$(requests)" "$requests_before" "requests of a build whose base is there"
# One name is one digest for all stages: one question.
requests_before=$(requests)
printf 'FROM %s/team/page:v1 AS one\nFROM %s/team/page:v1 AS two\nCOPY --from=one /page /again\n' "$HOST" "$HOST" >Dockerfile
CORTEN_STORE="$T/store5" build . -t twice
equal "$(tail -n +$((requests_before + 1)) access | grep -c 'manifests/v1')" 1 "questions for v1"
printf 'FROM %s/team/page@%s\nRUN cat /page >/copy\nCMD ["cat", "/copy"]\n' "$HOST" "$digest" >Dockerfile
CORTEN_STORE="$T/store3" build . -t pinned
for policy in missing always never; do
  requests_before=$(requests)
  CORTEN_STORE="$T/store3" build . -t pinned --pull=$policy
  equal "$(requests)" "$requests_before" "requests for a digest that is in the store, with --pull=$policy"
done
CORTEN_STORE="$T/store6" "$CORTEN" build . --pull=never >never 2>&1 && fail "a digest that the store does not have"
holds "$(cat never)" "Base image '$HOST/team/page@$digest' not found locally"

# --pull=never says how the base is made: as it was made last, or by the Dockerfile of its name.
mkdir made
printf 'FROM scratch\nCOPY page /\n' >made/Dockerfile.odd
cp app/page made/
build made -f made/Dockerfile.odd -t recorded:1
"$CORTEN" rmi recorded:1 >/dev/null
printf 'FROM recorded:1\n' >Dockerfile
"$CORTEN" build --pull=never . >never 2>&1 && fail "a base that was removed"
holds "$(cat never)" "build the base image first: corten build -t recorded:1 -f $T/made/Dockerfile.odd $T/made"
printf 'FROM team/named\n' >Dockerfile
cp made/Dockerfile.odd Dockerfile.named
"$CORTEN" build --pull=never . >never 2>&1 && fail "a base that nobody made"
holds "$(cat never)" "corten build -t team/named:latest -f Dockerfile.named ."
rm Dockerfile.named

# A tag that must not move, and latest that would go back.
"$CORTEN" tag "$HOST/team/page:v2" "$HOST/team/page:sha-1"
"$CORTEN" push -q "$HOST/team/page:sha-1" >/dev/null
"$CORTEN" push "$HOST/team/page:v1" "$HOST/team/page:sha-1" --immutable 'sha-*' >moved 2>&1 && fail "an immutable tag moved"
holds "$(cat moved)" "it matches --immutable"
equal "$(remote_digest "$HOST/team/page:sha-1")" "$(remote_digest "$HOST/team/page:v2")" "sha-1"

"$CORTEN" push -q "$HOST/team/page:v2" "$HOST/team/page:sha-1" --immutable 'sha-*' >/dev/null || fail "the same image under the same tag"
# The same of a build, which sends no manifest then.
build app --build-context bb=bb -t "$HOST/team/page:sha-1" --push --immutable 'sha-*'
"$CORTEN" build app --build-context bb=bb --label moved=yes -t "$HOST/team/page:sha-1" --push --immutable 'sha-*' >moved 2>&1 && fail "a build moved an immutable tag"
holds "$(cat moved)" "it matches --immutable"
equal "$(remote_digest "$HOST/team/page:sha-1")" "$(remote_digest "$HOST/team/page:v2")" "sha-1 after a build"
"$CORTEN" build app --immutable 'sha-*' >moved 2>&1 && fail "--immutable without --push"
holds "$(cat moved)" "it goes with --push"
printf 'FROM bb\nLABEL org.opencontainers.image.created=2020-01-01T00:00:00Z\n' >Dockerfile
build . --build-context bb=bb -t old
printf 'FROM bb\nLABEL org.opencontainers.image.created=2021-01-01T00:00:00Z\n' >Dockerfile
build . --build-context bb=bb -t new
"$CORTEN" push -q new "$HOST/team/moves:latest" >/dev/null
"$CORTEN" push old "$HOST/team/moves:latest" >moved 2>&1 && fail "latest went back"
holds "$(cat moved)" "would go back: it is of 2021-01-01"
"$CORTEN" push -q --force old "$HOST/team/moves:latest" >/dev/null
"$CORTEN" push -q new "$HOST/team/moves:latest" >/dev/null

# What is not there, and a registry that is not there.
"$CORTEN" pull "$HOST/team/none:v1" >none 2>&1 && fail "pulled nothing"
holds "$(cat none)" "$HOST/team/none:v1"
stop_registry
"$CORTEN" pull 127.0.0.1:1/team/none:v1 >none 2>&1 && fail "pulled from nowhere"
holds "$(cat none)" "127.0.0.1"

# A server that shares the store shows its images; a push makes one stay all the same.
STORE_FLAG=--store
serve_registry
printf 'FROM bb\nCOPY Dockerfile /\n' >Dockerfile
build . --build-context bb=bb -t "$HOST/shared:1" --push
digest=$(remote_digest "$HOST/shared:1")
"$CORTEN" tag new "$HOST/shared:1"
equal "$(remote_digest "$HOST/shared:1")" "$digest" "a pushed image whose name means another in the store"
"$CORTEN" rmi "$HOST/shared:1" >/dev/null
equal "$(remote_digest "$HOST/shared:1")" "$digest" "a pushed image that left the store"
stop_registry

# Debian's docker-registry takes and gives the same.
if docker_registry; then
  "$CORTEN" push -q "$id" "$HOST/team/page:v1" >there
  equal "$(remote_digest "$HOST/team/page:v1")" "$(sed 's/.*@//' there)" "the digest in docker-registry"
  CORTEN_STORE="$T/store4" "$CORTEN" pull -q "$HOST/team/page:v1" >pulled
  equal "$(cat pulled)" "$id" "the id after docker-registry"
  stop_registry
fi
for store in store2 store3 store4 store5 store6; do
  [ ! -d "$T/$store" ] || CORTEN_STORE="$T/$store" "$CORTEN" prune --everything --force >/dev/null
done
