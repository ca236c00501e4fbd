# What Corten writes is read by skopeo, umoci, podman and Python's streaming tarfile.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
printf 'FROM base\nCOPY . /data\nRUN rm /data/gone && ln /data/keep /data/linked && chown 1000:50 /data/keep\nWORKDIR /work\nENV A=b\nCMD ["sh"]\n' >ctx/Dockerfile
echo keep >ctx/keep
echo gone >ctx/gone
head -c 3000000 /dev/urandom >ctx/big
name=$(printf 'long-%.0s' $(seq 40))
echo long >"ctx/$name"
build ctx --build-context base=bb -t peers:1 -o type=oci,dest=image.tar -o type=docker,dest=docker.tar
holds "$(skopeo inspect oci-archive:image.tar)" '"Architecture"'
holds "$(skopeo inspect --config docker-archive:docker.tar)" '"A=b"'
mkdir layout
tar -C layout -xf image.tar
umoci unpack --rootless --image layout:1 bundle >/dev/null 2>&1 || fail "umoci unpack"
equal "$(cat bundle/rootfs/data/keep)" keep "umoci's tree"
[ ! -e bundle/rootfs/data/gone ] || fail "a whiteout is not obeyed"
cmp ctx/big bundle/rootfs/data/big || fail "contents"
python3 - layout <<'PYTHON'
import json, os, sys, tarfile
layout = sys.argv[1]
read = lambda digest: json.load(open(f"{layout}/blobs/{digest.replace(':', '/')}"))
index = json.load(open(f"{layout}/index.json"))
manifest = read(index["manifests"][0]["digest"])
members = 0
for layer in manifest["layers"]:
    with open(f"{layout}/blobs/{layer['digest'].replace(':', '/')}", "rb") as f, tarfile.open(fileobj=f, mode="r|gz") as tar:
        for member in tar:
            members += 1
            if member.isfile(): tar.extractfile(member).read()
        assert f.read() == b"", "bytes after the archive"
assert members > 200, members
PYTHON
if [ "$(id -u)" = 0 ] && command -v podman >/dev/null; then
  podman --root "$T/podman" --runroot "$T/podman-run" --storage-driver vfs load -q -i docker.tar >/dev/null 2>podman.log || { cat podman.log >&2; fail "podman load"; }
  holds "$(podman --root "$T/podman" --runroot "$T/podman-run" --storage-driver vfs images 2>/dev/null)" "peers"
fi
