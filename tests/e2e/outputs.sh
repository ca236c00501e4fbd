# Every attribute of an output is obeyed, refused by name, or remarked on.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
head -c 2000000 /dev/zero >ctx/zeros
printf 'FROM base\nCOPY zeros /data/\nRUN echo one >/one\nLABEL a=b\n' >ctx/Dockerfile
out() { build ctx --build-context base=bb "$@"; }

# What a layout holds: layer media types, sizes, annotations. look LAYOUT EXPRESSION
look() {
  python3 - "$1" "$2" <<'EOF'
import json, sys
layout = sys.argv[1]
read = lambda d: json.load(open(f"{layout}/blobs/{d['digest'].replace(':', '/')}"))
root = json.load(open(f"{layout}/index.json"))["manifests"]
manifest = read(root[0])
first = read(manifest["manifests"][0]) if "manifests" in manifest else manifest
config = read(first["config"])
types = sorted({layer["mediaType"].split(".")[-1] for layer in first["layers"]})
size = sum(layer["size"] for layer in first["layers"])
raw = lambda i: open(f"{layout}/blobs/{first['layers'][i]['digest'].replace(':', '/')}", "rb").read()
print(eval(sys.argv[2]))
EOF
}

# Compression: kind, level, Docker's types; each is read by skopeo.
n=0
for form in "gzip" "gzip,compression-level=0" "gzip,compression-level=1" "gzip,compression-level=9" "zstd" "zstd,compression-level=22" "uncompressed"; do
  n=$((n + 1))
  out -o "type=oci,tar=false,dest=layout$n,compression=$form,force-compression=true"
  skopeo copy -q "oci:layout$n" "dir:copy$n" || fail "skopeo copies $form"
done
equal "$(look layout1 types)" "['tar+gzip']" gzip
equal "$(look layout5 types)" "['tar+zstd']" zstd
equal "$(look layout7 types)" "['tar']" uncompressed
equal "$(look layout1 'raw(0)[3:10] == bytes([0, 0, 0, 0, 0, 0, 255]) or raw(0)[3:10].hex()')" True "no time, no system in gzip's header"
[ "$(look layout2 size)" -gt "$(look layout3 size)" ] || fail "level 0 stores"
[ "$(look layout3 size)" -gt "$(look layout4 size)" ] || fail "level 9 is smaller than 1"
for i in 2 3 4 5 6 7; do
  equal "$(look "layout$i" 'config["rootfs"]["diff_ids"]')" "$(look layout1 'config["rootfs"]["diff_ids"]')" "one set of diff ids"
  differ "$(look "layout$i" 'manifest["layers"][0]["digest"]')" "$(look layout1 'manifest["layers"][0]["digest"]')" "layout$i"
done
again=$(look layout4 'root[0]["digest"]')
CORTEN_STORE=$T/another out --no-cache -o type=oci,tar=false,dest=again,compression-level=9,force-compression
CORTEN_STORE=$T/another "$CORTEN" prune --everything --force >/dev/null
equal "$(look again 'root[0]["digest"]')" "$again" "a level gives one digest"
out -o type=oci,tar=false,dest=docker,oci-mediatypes=false
equal "$(look docker 'manifest["mediaType"], first["config"]["mediaType"], first["layers"][0]["mediaType"]')" \
  "('application/vnd.docker.distribution.manifest.v2+json', 'application/vnd.docker.container.image.v1+json', 'application/vnd.docker.image.rootfs.diff.tar.gzip')" types

# A base's layers stay as they came, unless they are forced.
out -t b:1 -o type=oci,tar=false,dest=zbase,compression=zstd
printf 'FROM zbase\nRUN echo two >/two\n' >ctx/Child
"$CORTEN" prune --everything --force >/dev/null
build ctx -f ctx/Child --build-context zbase=oci-layout://zbase -o type=oci,tar=false,dest=mixed
equal "$(look mixed types)" "['tar+gzip', 'tar+zstd']" "the base's layers stay zstd"
build ctx -f ctx/Child --build-context zbase=oci-layout://zbase -o type=oci,tar=false,dest=forced,force-compression=true
equal "$(look forced types)" "['tar+gzip']" "forced"
# In whatever form the base was met before.
out -o type=oci,tar=false,dest=gbase
build ctx -f ctx/Child --build-context zbase=oci-layout://gbase -o type=oci,tar=false,dest=child1
equal "$(look child1 types)" "['tar+gzip']" "a base in gzip"
build ctx -f ctx/Child --build-context zbase=oci-layout://zbase -o type=oci,tar=false,dest=child2
equal "$(look child2 'root[0]["digest"]')" "$(look mixed 'root[0]["digest"]')" "the zstd base after the gzip one"

# Annotations by level, by attribute and by flag.
out --platform linux/amd64,linux/arm64 -f - --annotation 'index,manifest:both=1' --annotation 'manifest-descriptor[linux/arm64]:desc=2' \
  -o type=oci,tar=false,dest=notes,annotation.m=3,annotation-index-descriptor.i=4,annotation-index.x=5 <<'EOF'
FROM scratch
COPY zeros /
EOF
equal "$(look notes 'sorted(manifest["annotations"].items())')" "[('both', '1'), ('x', '5')]" index
equal "$(look notes 'sorted(first["annotations"].items())')" "[('both', '1'), ('m', '3')]" manifest
equal "$(look notes 'manifest["manifests"][0].get("annotations"), manifest["manifests"][1]["annotations"]')" "(None, {'desc': '2'})" descriptors
equal "$(look notes 'root[0]["annotations"]["i"]')" 4 "index descriptor"
out -o type=oci,tar=false,dest=single,annotation.m=1,annotation-manifest-descriptor.d=2
equal "$(look single 'manifest["annotations"], root[0]["annotations"]["d"]')" "({'m': '1'}, '2')" "a single image"
out --annotation a=b -t annotated
holds "$(cat log)" "annotations of type=image"

# Names, several outputs at once, the store.
out -t one -o 'type=oci,"name=two:1,example.org/three:x",dest=names.tar' -o type=image,name=four -o type=tar,dest=files.tar -o files --metadata-file md.json
tar xf names.tar index.json
for name in library/one:latest library/two:1 example.org/three:x; do holds "$(cat index.json)" "$name"; done
[ -e files/one ] || fail "local"
holds "$(tar tf files.tar)" data/zeros
"$CORTEN" inspect four >/dev/null || fail "type=image,name"
holds "$(cat md.json)" '"containerimage.config.digest"'
holds "$(cat md.json)" '"image.name": "docker.io/library/one:latest,docker.io/library/four:latest,docker.io/library/two:1,example.org/three:x"'
out -t md:1 --metadata-file md2.json
holds "$(cat md2.json)" '"containerimage.digest": "sha256:'
out -o type=image,name=unkept,store=false
if "$CORTEN" inspect unkept >/dev/null 2>&1; then fail "store=false"; fi

# Times.
SOURCE_DATE_EPOCH=900000000 out -o type=oci,tar=false,dest=epoch,rewrite-timestamp=true -o type=oci,tar=false,dest=plain -o dated
equal "$(look epoch 'config["created"]')" "1998-07-09T16:00:00Z" created
python3 - <<'EOF'
import io, json, tarfile
def newest(layout):
    read = lambda d: open(f"{layout}/blobs/{d['digest'].replace(':', '/')}", "rb").read()
    manifest = json.loads(read(json.load(open(f"{layout}/index.json"))["manifests"][0]))
    return max(m.mtime for layer in manifest["layers"] for m in tarfile.open(fileobj=io.BytesIO(read(layer))))
assert newest("epoch") <= 900000000 < newest("plain"), (newest("epoch"), newest("plain"))
EOF
equal "$(stat -c %Y dated/one dated/data/zeros dated/data | sort -u)" 900000000 "local: every time"
out -o type=local,dest=dated,source-date-epoch=7
equal "$(stat -c %Y dated/one)" 7 "source-date-epoch"
out -o type=oci,tar=false,dest=w,rewrite-timestamp=true
holds "$(cat log)" "no source-date-epoch was found"

# platform-split and mode=delete.
printf 'FROM scratch\nCOPY zeros /\n' >ctx/Plain
out -f ctx/Plain --platform linux/amd64,linux/arm64/v8 -o type=tar,dest=split.tar
equal "$(tar tf split.tar | grep zeros | tr '\n' ' ')" "linux_amd64/zeros linux_arm64/zeros " "tar by platform"
out -f ctx/Plain -o type=local,dest=alone,platform-split=true
[ -e alone/linux_amd64/zeros ] || fail "platform-split=true for one"
if "$CORTEN" build -f ctx/Plain --platform linux/amd64,linux/arm64 -o type=local,dest=x,platform-split=false ctx >log 2>&1; then fail "collision"; fi
holds "$(cat log)" "cannot overwrite /zeros from linux/amd64 with linux/arm64 when split option is disabled"
mkdir -p kept/dir && touch kept/old kept/dir/old && ln -s /etc kept/link
out -f ctx/Plain -o type=local,dest=kept
[ -e kept/old ] || fail "mode=copy keeps"
out -f ctx/Plain -o type=local,dest=kept,mode=delete
equal "$(ls kept)" zeros "mode=delete"
[ -e /etc/passwd ] || fail "a link was followed"

# Refused before anything runs.
refused() {
  words=$1
  shift
  if "$CORTEN" build --progress plain --build-context base=bb "$@" ctx >log 2>&1; then fail "$* was taken"; fi
  holds "$(cat log)" "$words"
  lacks "$(cat log)" "#1"
}
refused "writes no file" -o type=registry,name=x,dest=y
refused "compression=estargz" -o type=oci,dest=x,compression=estargz
refused "is not known (did you mean compression?)" -o type=oci,dest=x,compresion=zstd
refused "does not belong to type=local" -o type=local,dest=x,compression=zstd
refused 'conflicts with "oci-mediatypes=false"' -o type=oci,dest=x,oci-mediatypes=false,compression=zstd
refused "index annotations not supported for single platform export" -o type=oci,dest=x,annotation-index.a=b
refused "no platform linux/arm64 found in source" -o 'type=oci,dest=x,annotation[linux/arm64].a=b'
refused "cannot export annotations" --platform linux/amd64,linux/arm64 -f ctx/Plain -o type=oci,dest=x,oci-mediatypes=false,annotation-index.a=b
refused "invalid compression-level" -o type=oci,dest=x,compression-level=10
refused "tag is needed when pushing" -o type=image,push=true
out -o type=image,name=x,unpack=true
holds "$(cat log)" "unpack"

# podman and umoci read what Docker's form holds.
out -t umoci:1 -o type=oci,tar=false,dest=named,compression-level=9,force-compression,annotation.a=b
umoci unpack --rootless --image named:1 bundle >/dev/null 2>&1 || fail "umoci unpack"
cmp ctx/zeros bundle/rootfs/data/zeros || fail "umoci's tree"
if [ "$(id -u)" = 0 ] && command -v podman >/dev/null; then
  out -t podman:1 -o type=docker,dest=docker.tar,compression=gzip,compression-level=6,force-compression
  podman --root "$T/podman" --runroot "$T/podman-run" --storage-driver vfs load -q -i docker.tar >/dev/null 2>podman.log || { cat podman.log >&2; fail "podman load"; }
fi
