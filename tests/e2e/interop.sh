# Other programs with our registry, and ours with theirs: podman, skopeo, Debian's docker-registry. (crane, regctl and oras:
# tests/interop/peers.sh.)
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/registry_lib.sh"

copy() { skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false "$@"; }
manifest_of() { skopeo inspect --raw --tls-verify=false "docker://$1"; }
same() { # A B WHAT: the very same bytes under both names
  equal "$(manifest_of "$1" | sha256sum)" "$(manifest_of "$2" | sha256sum)" "$3"
}

base bb
mkdir app
printf 'FROM bb\nRUN head -c 400000 /dev/urandom >/random\nCMD ["cat", "/etc/group"]\n' >app/Dockerfile
printf 'FROM scratch\nCOPY Dockerfile.both /\n' >app/Dockerfile.both
build app --build-context bb=bb -t local:page
build app -f app/Dockerfile.both --platform linux/amd64,linux/arm64 -t local:both
serve_registry
ours=$HOST
"$CORTEN" push -q local:page "$ours/corten/page:1" >/dev/null
"$CORTEN" push -q local:both "$ours/corten/page:both" >/dev/null
id=$(image_id local:page)

# skopeo takes whole indexes out of our registry and brings them back; what it makes itself (Docker's types, zstd) is pulled by us.
copy --all "docker://$ours/corten/page:both" oci:layout:both
copy --all oci:layout:both "docker://$ours/skopeo/page:both"
same "$ours/skopeo/page:both" "$ours/corten/page:both" "an index by skopeo"
copy --format v2s2 "docker://$ours/corten/page:1" "docker://$ours/skopeo/page:v2s2"
copy --dest-compress-format zstd --dest-compress "docker://$ours/corten/page:1" "docker://$ours/skopeo/page:zstd"
for tag in v2s2 zstd; do
  CORTEN_STORE="$T/other" "$CORTEN" pull -q "$ours/skopeo/page:$tag" >/dev/null
  holds "$(CORTEN_STORE="$T/other" "$CORTEN" run --rm "$ours/skopeo/page:$tag")" staff
done

# podman pulls, runs nothing, pushes; its image comes back to us with the same layers.
podman_goes_round() { # HOST
  podman pull -q --tls-verify=false "$1/corten/page:1" >podman.id 2>podman.log || fail "podman pull: $(cat podman.log)"
  equal "sha256:$(cat podman.id)" "$id" "the image in podman"
  podman push -q --tls-verify=false "$1/corten/page:1" "$1/podman/page:1" 2>podman.log || fail "podman push: $(cat podman.log)"
  CORTEN_STORE="$T/other" "$CORTEN" pull -q "$1/podman/page:1" >pulled
  equal "$(cat pulled)" "$id" "podman's push, pulled by us"
  podman rmi -f "$(cat podman.id)" >/dev/null 2>&1
  podman pull -q --tls-verify=false --platform linux/arm64 "$1/corten/page:both" >podman.id 2>podman.log || fail "podman pull: $(cat podman.log)"
  equal "$(podman image inspect --format '{{.Architecture}}' "$(cat podman.id)")" arm64 "a platform by podman"
  podman rmi -f "$(cat podman.id)" >/dev/null 2>&1
}
with_podman() {
  # Its storage wants ids of its own.
  [ "$(id -u)" = 0 ] || return 1
  command -v podman >/dev/null && return 0
  [ "${CORTEN_MUST_RUN-}" != 1 ] || fail "podman is needed"
  return 1
}
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/podman"\nrunroot = "%s/podman-run"\n' "$T" "$T" >storage.conf
export CONTAINERS_STORAGE_CONF="$T/storage.conf"
if with_podman; then podman_goes_round "$ours"; fi

# docker-registry and ours, beside each other: what goes from one to the other and back keeps its bytes, whoever carries it.
ours_server=$SERVER
if docker_registry; then
  theirs=$HOST
  "$CORTEN" copy -q "$ours/corten/page:both" "$theirs/corten/page:both" >/dev/null
  "$CORTEN" copy -q "$ours/corten/page:1" "$theirs/corten/page:1" >/dev/null
  same "$theirs/corten/page:both" "$ours/corten/page:both" "an index in docker-registry"
  copy --all "docker://$theirs/corten/page:both" "docker://$ours/back/page:both"
  same "$ours/back/page:both" "$ours/corten/page:both" "an index from docker-registry"
  if with_podman; then podman_goes_round "$theirs"; fi
  stop_registry
fi
SERVER=$ours_server
stop_registry
CORTEN_STORE="$T/other" "$CORTEN" prune --everything --force >/dev/null
