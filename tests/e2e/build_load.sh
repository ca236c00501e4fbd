# build --load=docker|podman|containerd: the image goes to another program's store. The programs are ones that note what they are
# given, as their daemons cannot run here; podman is the real one.
. "$(dirname "$0")/lib.sh"
mkdir bin empty app
printf 'FROM scratch\nCOPY page /page\nCMD ["/page"]\n' >app/Dockerfile
echo one >app/page

# noting NAME: a program that keeps its words, its input and where it runs.
noting() {
  cat >"bin/$1" <<EOF
#!/bin/sh
echo "\$*" >"$T/$1.words"
readlink /proc/self/ns/user /proc/self/ns/mnt >"$T/$1.place"
id -u >>"$T/$1.place"
cat >"$T/$1.tar"
echo "Loaded image: noted"
EOF
  chmod +x "bin/$1"
}
noting docker
noting ctr
(readlink /proc/self/ns/user /proc/self/ns/mnt && id -u) >here
PATH="$T/bin:$PATH"

# docker: an archive that it reads, under all names; the program runs where its user does, not in the build's namespaces.
build app -t page:1 -t other:2 --load=docker
holds "$(cat log)" "docker load: Loaded image: noted"
equal "$(cat docker.words)" "load" "docker's arguments"
equal "$(cat docker.place)" "$(cat here)" "where docker runs"
equal "$(tar -xOf docker.tar manifest.json | jq -c '.[0].RepoTags | sort')" '["other:2","page:1"]' "names for docker"
equal "sha256:$(skopeo inspect --raw --config docker-archive:docker.tar:page:1 | sha256sum | cut -d' ' -f1)" "$(image_id page:1)" "the image for docker"

# containerd: ctr reads the index of the layout, of several platforms too.
build app -t page:1 --load=containerd
equal "$(cat ctr.words)" "images import -" "ctr's arguments"
build app -t page:1 --platform linux/amd64,linux/arm64 --load=containerd:k8s.io
equal "$(cat ctr.words)" "-n k8s.io images import -" "ctr's arguments with a namespace"
equal "$(tar -xOf ctr.tar index.json | jq -r '.manifests[0].annotations."io.containerd.image.name"')" "docker.io/library/page:1" "the name for containerd"
equal "$(skopeo inspect --raw oci-archive:ctr.tar | jq -c '[.manifests[].platform.architecture]')" '["amd64","arm64"]' "platforms for containerd"

# What is missing, or refuses, says so; the image is built all the same.
PATH="$T/empty" "$CORTEN" build -t none:1 --load=podman app >said 2>&1 && fail "without podman"
holds "$(cat said)" "there is no program podman"
"$CORTEN" build --load=rkt app >said 2>&1 && fail "an unknown program"
holds "$(cat said)" "it is one of store (the default), docker, podman, containerd"
printf '#!/bin/sh\necho "Cannot connect to the Docker daemon" >&2\nexit 1\n' >bin/docker
head -c 9000000 /dev/urandom >app/page
"$CORTEN" build -t kept:1 --load=docker app >said 2>&1 && fail "without a daemon"
holds "$(cat said)" "docker load ended with 1: Cannot connect to the Docker daemon"
holds "$(cat said)" "DOCKER_HOST says where"
image_id kept:1 | grep -q sha256 || fail "the image is not in the store"
# A build that fails starts nothing, and leaves nothing behind.
noting docker
rm docker.words
printf 'FROM scratch\nCOPY none /\n' >Dockerfile.bad
"$CORTEN" build -t bad --load=docker -f Dockerfile.bad app >said 2>&1 && fail "a bad build"
[ ! -e docker.words ] || fail "docker was started for a build that failed"

# podman itself; as root, since its storage wants ids of its own.
if [ "$(id -u)" = 0 ] && command -v podman >/dev/null; then
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/podman"\nrunroot = "%s/podman-run"\n' "$T" "$T" >storage.conf
  export CONTAINERS_STORAGE_CONF="$T/storage.conf"
  echo two >app/page
  build app -t localhost/page:3 --load=podman
  holds "$(cat log)" "podman load: "
  equal "sha256:$(podman images -q --no-trunc localhost/page:3 2>/dev/null | sed 's/^sha256://')" "$(image_id localhost/page:3)" "the image in podman"
  podman rmi -f localhost/page:3 >/dev/null 2>&1
elif [ "$(id -u)" = 0 ] && [ "${CORTEN_MUST_RUN-}" = 1 ]; then
  fail "podman is needed"
fi
