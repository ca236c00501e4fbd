# Corten inside containers of Debian's podman, with the store on the container's own file system, an overlay: which rung is
# reached, and that the image is the one that is built outside. SECCOMP_PROFILE names Docker's profile, which pods have too.
. "$(dirname "$0")/lib.sh"
: "${SECCOMP_PROFILE:?}"
command -v podman >/dev/null || fail "podman is needed"
mkdir box box/t box/t/ctx box/home box/home/app
base box "$CORTEN"
base box/t/bb
mkdir -p box/t/bb/var/old
echo gone >box/t/bb/var/old/gone
echo hi >box/t/ctx/f
cat >box/t/ctx/Dockerfile <<'DOCKERFILE'
FROM base AS main
COPY --chown=1000:50 f /owned
RUN mkdir /d && echo x >/d/r && chown 33:34 /d /d/r && chmod 4755 /d/r && echo more >>/owned && rm -r /var/old && mkdir /var/old && echo new >/var/old/new
RUN --mount=type=cache,target=/cache --mount=type=bind,target=/bound touch /cache/x && cp /bound/f /from-bind && mv /d /e && stat -c %u:%g /e /owned >/seen && rm /etc/group
USER app
RUN id -u >/tmp/id && mkdir /tmp/w && echo a >/tmp/w/a
DOCKERFILE
cat >box/t/run <<'SCRIPT'
export CORTEN_STORE=$HOME/store
corten build --progress plain --build-context base=/t/bb --iidfile /tmp/id /t/ctx >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
head -1 /tmp/log
cat /tmp/id
corten prune --everything --force
SCRIPT
"$CORTEN" build -q --build-context base=box/t/bb --iidfile expected box/t/ctx >/dev/null
chmod 755 box box/t box/t/bb
chown -R 1000:1000 box/home/app
tar -C box -c . >box.tar
podman() { command podman --root "$T/podman" --runroot "$T/podman-run" --storage-driver overlay --cgroup-manager cgroupfs --runtime runc "$@"; }
# Podman keeps its mount points; they must go before the directory does.
podman import box.tar box >/dev/null 2>podman.log || { cat podman.log >&2; fail "podman import"; }
# inside NAME FLAGS...: what the build said and which image it made.
inside() {
  name=$1
  shift
  podman run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 --env HOME=/root "$@" box sh /t/run >"$name.out" 2>"$name.err" || {
    cat "$name.out" "$name.err" >&2
    fail "a build in the container $name"
  }
  holds "$(cat "$name.out")" "$(cat expected)"
  head -1 "$name.out"
}
# Root of a container is no root of the machine: a user namespace with its ids, and memory for what steps write.
holds "$(inside default)" "building as user namespace with a range of ids, with overlays in memory"
# An ordinary user of a container has one id.
holds "$(inside user --user 1000:1000 --env HOME=/home/app)" "building as user namespace with one id: owners are recorded"
# With a volume for the store nothing is missing.
mkdir volume
lacks "$(inside volume --volume "$T/volume:/root")" "memory"
holds "$(inside copied --env CORTEN_FORBID=overlay)" "with copied directories"
# A pod of Kubernetes: Docker's filter, which lets nobody have namespaces. Root has a chroot, others nothing.
pod="--cap-drop all --security-opt seccomp=$SECCOMP_PROFILE"
for capability in CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE; do
  pod="$pod --cap-add $capability"
done
# shellcheck disable=SC2086 # flags
holds "$(inside pod $pod)" "building as chroot only: steps are not isolated"
# shellcheck disable=SC2086
said=$(podman run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 $pod --user 1000:1000 --env HOME=/home/app box sh /t/run 2>&1) && fail "a RUN without any rights"
holds "$said" "RUN cannot be executed here"
holds "$said" "Unconfined"
podman rmi -f box >/dev/null 2>&1 || true
