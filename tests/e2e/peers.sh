#!/usr/bin/env bash
# peers.sh CORTEN skopeo|umoci|podman|python: what Corten writes is read by others. The image has what readers stumble over: long
# names, links, owners, a whiteout, an empty layer. Exit 77 (a skip that CORTEN_MUST_RUN=1 forbids) when the peer is missing.
set -euo pipefail
corten=$1
peer=$2
fail() { echo "peers.sh: $*" >&2; exit 1; }
case $peer in python) program=python3 ;; *) program=$peer ;; esac
if ! command -v "$program" >/dev/null; then
  echo "$program is not installed: skipped"
  [ "${CORTEN_MUST_RUN-}" = 1 ] && exit 1
  exit 77
fi

work=$(mktemp -d)
export CORTEN_STORE=$work/store
cleanup() {
  "$corten" prune --everything -f >/dev/null 2>&1 || true
  [ "$peer" != podman ] || podman --root "$work/podman" --runroot "$work/podman-run" --storage-driver vfs rmi -af >/dev/null 2>&1 || true
  chmod -R u+rwX "$work" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
mkdir -p "$work/context/tree/deep"
long=$(printf 'x%.0s' $(seq 150))
echo content >"$work/context/tree/deep/$long"
ln -s "deep/$long" "$work/context/tree/link"
printf 'a page\n' >"$work/context/tree/page"
cp "$corten" "$work/context/corten"
cat >"$work/context/Dockerfile" <<'SH'
FROM scratch
COPY --chown=1000:1001 --chmod=750 tree /tree
COPY corten /bin/corten
RUN ["/bin/corten", "version"]
WORKDIR /tree
ENV NAME="a value"
CMD ["/bin/corten", "version"]
SH
"$corten" build --progress=plain -t example.org/peer:1 -o "type=oci,dest=$work/oci.tar" "$work/context" >"$work/log" 2>&1 || { cat "$work/log"; fail "build"; }
mkdir "$work/layout"
tar xf "$work/oci.tar" -C "$work/layout"

case $peer in
  skopeo)
    skopeo inspect --config "oci-archive:$work/oci.tar" >"$work/config"
    grep -q '"NAME=a value"' "$work/config" || fail "the environment is not in the configuration"
    skopeo inspect "oci:$work/layout" >"$work/inspect"
    grep -q '"Layers"' "$work/inspect" || fail "no layers"
    ;;
  umoci)
    tag=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifests"][0].get("annotations", {}).get("org.opencontainers.image.ref.name", ""))' "$work/layout/index.json")
    rootless=()
    [ "$(id -u)" = 0 ] || rootless=(--rootless)
    umoci unpack "${rootless[@]}" --image "$work/layout:${tag:-latest}" "$work/bundle"
    [ "$(cat "$work/bundle/rootfs/tree/link")" = content ] || fail "the long name behind the link"
    cmp "$corten" "$work/bundle/rootfs/bin/corten"
    [ -n "${rootless[*]}" ] || [ "$(stat -c %u:%g:%a "$work/bundle/rootfs/tree/page")" = 1000:1001:750 ] || fail "owner or mode"
    ;;
  podman)
    "$corten" save -o "$work/save.tar" example.org/peer:1
    podman --root "$work/podman" --runroot "$work/podman-run" --storage-driver vfs load -q -i "$work/save.tar" >"$work/loaded"
    grep -q 'example.org/peer:1' "$work/loaded" || { cat "$work/loaded"; fail "loaded under another name"; }
    ;;
  python)
    python3 - "$work/layout" <<'PY'
import gzip, hashlib, json, sys, tarfile
from pathlib import Path
layout = Path(sys.argv[1])
blob = lambda digest: layout / "blobs" / digest.replace(":", "/")
manifest = json.loads(blob(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]).read_text())
config = json.loads(blob(manifest["config"]["digest"]).read_text())
names = []
for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
    data = blob(layer["digest"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == layer["digest"].split(":")[1] and len(data) == layer["size"]
    assert "sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest() == diff_id
    with open(blob(layer["digest"]), "rb") as stream, tarfile.open(fileobj=stream, mode="r|gz") as tar:  # streaming
        for member in tar:
            names.append(member.name)
            if member.isfile():
                tar.extractfile(member).read()
assert any(len(name) > 150 for name in names), names
assert "bin/corten" in names, names
PY
    ;;
  *) fail "unknown peer '$peer'" ;;
esac
