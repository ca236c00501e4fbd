# Archives and layouts of strangers, by every way in: ADD, a tar as the context, `load`, a layout as a base. Each ends with a named error or with
# a tree inside the image, within bounded memory, and nothing outside the store and the output is touched.
. "$(dirname "$0")/lib.sh"

# What must stay as it is.
mkdir outside ctx
echo untouched >outside/victim
ln -s "$T/outside" ctx/way-out
rm ctx/way-out
watched() { find "$T/outside" -printf '%p %y %m %s %T@ %n\n' | sort && cat "$T/outside/victim"; }
before=$(watched)
cat >tars.py <<'EOF'
import io, sys, tarfile
outside = sys.argv[1]

def block(name, kind=b"0", size=b"0", link=b"", mode=b"0000644"):
    b = bytearray(512)
    def put(at, text): b[at:at + len(text)] = text
    put(0, name); put(100, mode); put(124, size); put(157, link); put(257, b"ustar\x0000")
    b[156:157] = kind
    put(148, b"        ")
    put(148, b"%06o\0 " % sum(b))
    return bytes(b)
def padded(text): return text + bytes(-len(text) % 512)
def record(key, value):
    rest = len(key) + len(value) + 3
    length = rest + 1
    while len(str(length)) + rest != length: length = len(str(length)) + rest
    return b"%d %s=%s\n" % (length, key, value)
def described(kind, text): return block(b"m", kind, b"%011o" % len(text)) + padded(text)
def file(name, text=b"x", **more): return block(name, size=b"%011o" % len(text), **more) + padded(text)
end = bytes(1024)
up = b"../" * 12 + outside.encode().lstrip(b"/")

safe = {
    "dotdot": file(b"../" * 20 + b"tmp/x") + file(b"a/../../../b"),
    "absolute": file(b"/" + outside.encode().lstrip(b"/") + b"/victim"),
    "dotdot-victim": file(up + b"/victim"),
    "link-out": block(b"l", b"2", link=outside.encode()) + file(b"l/victim") + file(b"l/new"),
    "link-up": block(b"l", b"2", link=up) + file(b"l/victim"),
    "links-through-links": block(b"a", b"2", link=b"b") + block(b"b", b"2", link=b"c/..") + block(b"c", b"2", link=outside.encode()) + file(b"a/x") + file(b"c/victim"),
    "link-replaced": block(b"d", b"5") + file(b"d/f") + block(b"d", b"2", link=outside.encode()) + file(b"d/victim"),
    "hard-link-chain": file(b"a") + block(b"b", b"1", link=b"a") + block(b"a", b"1", link=b"b") + block(b"c", b"1", link=b"a"),
    "devices": block(b"disk", b"4", mode=b"0000666") + block(b"pipe", b"6"),
    "twice": file(b"f", b"1") + block(b"f", b"5") + file(b"f/g") + file(b"f", b"2") + block(b"f", b"2", link=b"f") + file(b"f", b"3"),
    "names": file(b"a\x1b[31m\n") + file(b"\xff\xfe"),
}
refused = {
    "hard-link-out": block(b"v", b"1", link=outside.encode() + b"/victim"),
    "hard-link-up": block(b"v", b"1", link=up + b"/victim"),
    "hard-link-into-itself": file(b"d/f") + block(b"d", b"1", link=b"d/f"),
    "link-circle": block(b"a", b"2", link=b"b") + block(b"b", b"2", link=b"a") + file(b"a/f"),
    "whiteout-device": block(b"c", b"3"),
    "size-huge": block(b"f", size=b"77777777777"),
    "size-base256": block(b"f", size=b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
    "size-overflow": block(b"f", size=b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    "size-negative": block(b"f", size=b"\xff" * 11 + b"\xfe"),
    "size-pax-negative": described(b"x", record(b"size", b"-1")) + file(b"f"),
    "pax-gigantic": block(b"m", b"x", b"77777777777") + bytes(4096),
    "pax-lying": described(b"x", b"999999 path=x\n") + file(b"f"),
    "pax-global-many": b"".join(described(b"g", record(b"k%d" % i, b"v" * 4000)) for i in range(40)) + file(b"f"),
    "sparse-old": block(b"s", b"S", b"00000000010") + padded(b"x" * 8),
    "sparse-exabytes": described(b"x", record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + record(b"GNU.sparse.realsize", b"1152921504606846976")) + file(b"s", padded(b"1\n0\n1\n") + b"x"),
    "sparse-petabytes": described(b"x", record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + record(b"GNU.sparse.realsize", b"9007199254740992")) + file(b"s", padded(b"1\n0\n1\n") + b"x"),
    "sparse-map-lies": described(b"x", record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + record(b"GNU.sparse.realsize", b"10")) + file(b"s", padded(b"2\n0\n5\n3\n9\n") + b"x" * 14),
    "sparse-map-many": described(b"x", record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + record(b"GNU.sparse.realsize", b"10")) + file(b"s", padded(b"99999999999\n") + b"x"),
    "capability-gigantic": described(b"x", record(b"SCHILY.xattr.security.capability", b"c" * 60000)) + file(b"f"),
    "deep": described(b"x", record(b"path", b"a/" * 3000 + b"f")) + file(b"f"),
    "zero-byte": described(b"x", record(b"path", b"a\0b")) + file(b"f"),
    "cut-short": file(b"f", b"x" * 2000)[:1000],
}
for name, text in safe.items(): open(f"tars/safe-{name}.tar", "wb").write(text + end)
for name, text in refused.items(): open(f"tars/refused-{name}.tar", "wb").write(text + end)
EOF
mkdir tars
python3 tars.py "$T/outside"

# bounded COMMAND...: its exit code in `code`, within a gigabyte of address space and of files; errors are short and hold no control bytes.
bounded() {
  code=0
  (
    limit_memory 1500000
    ulimit -t 60
    ulimit -f 1000000
    exec "$@"
  ) >out 2>err || code=$?
  [ "$code" -le 1 ] || fail "$*: exit code $code ($(head -c 500 err))"
  equal "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <err | wc -c)" 0 "$*: control bytes in the error"
  [ "$code" -eq 0 ] || [ -s err ] || fail "$*: no message"
  [ "$(wc -c <err)" -lt 20000 ] || fail "$*: an error of $(wc -c <err) bytes"
}
printf 'FROM scratch\nADD x.tar /in/\n' >ctx/Dockerfile
export CORTEN_MAX_UNPACKED=64MB
for tar in tars/*.tar; do
  name=$(basename "$tar" .tar)
  cp "$tar" ctx/x.tar
  bounded "$CORTEN" build --progress plain -o "out-$name" ctx
  case $name in
    safe-*) equal "$code" 0 "$name: ADD ($(cat err))" ;;
    *)
      equal "$code" 1 "$name: ADD"
      holds "$(cat err)" "Dockerfile:2"
      ;;
  esac
  equal "$(watched)" "$before" "$name: something outside was touched by ADD"
  # A tar as the context, with a Dockerfile behind it.
  { head -c -1024 "$tar" && tar -C ctx -cf - Dockerfile; } >piped.tar
  bounded "$CORTEN" build --progress plain - <piped.tar
  equal "$code" 1 "$name: a context without x.tar"
  bounded "$CORTEN" load -i "$tar"
  equal "$code" 1 "$name: no image"
  equal "$(watched)" "$before" "$name: something outside was touched by a context or by load"
done
equal "$(cat out-safe-dotdot/in/b)" x "names stay inside"
[ -f "out-safe-absolute/in$T/outside/victim" ] || fail "an absolute name stays inside"
equal "$(cat out-safe-twice/in/f)" 3 "of a name that comes twice the last counts"
equal "$(cat out-safe-hard-link-chain/in/[abc])" "xxx" "a hard link to another name of itself"

# Layouts. What is named and not so is refused by its name; what goes in circles or deep has an end.
cat >layouts.py <<'EOF'
import gzip, hashlib, json, os, sys
M = "application/vnd.oci.image.manifest.v1+json"
I = "application/vnd.oci.image.index.v1+json"
def digest(b): return "sha256:" + hashlib.sha256(b).hexdigest()
class Layout:
    def __init__(self, name):
        self.at = "layouts/" + name
        os.makedirs(self.at + "/blobs/sha256")
        open(self.at + "/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
    def blob(self, kind, b, **lie):
        if not isinstance(b, bytes): b = json.dumps(b).encode()
        d = {"mediaType": kind, "digest": digest(b), "size": len(b), **lie}
        open(self.at + "/blobs/sha256/" + d["digest"][7:], "wb").write(b)
        return d
    def image(self, tar=bytes(1024), layer={}, config={}, manifest={}, diff=None):
        l = self.blob("application/vnd.oci.image.layer.v1.tar", tar, **layer)
        c = self.blob("application/vnd.oci.image.config.v1+json", {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff or digest(tar)]}}, **config)
        return self.blob(M, {"schemaVersion": 2, "mediaType": M, "config": c, "layers": [l]}, **manifest)
    def index(self, *entries): return self.blob(I, {"schemaVersion": 2, "mediaType": I, "manifests": list(entries)})
    def done(self, *entries): json.dump({"schemaVersion": 2, "manifests": list(entries)}, open(self.at + "/index.json", "w"))

other = "sha256:" + "11" * 32
l = Layout("good"); l.done(l.index(l.image()))
l = Layout("layer-digest"); l.done(l.image(layer={"digest": other}))
l = Layout("layer-longer"); l.done(l.image(layer={"size": 5}))
l = Layout("layer-shorter"); l.done(l.image(layer={"size": 1 << 50}))
l = Layout("layer-negative"); l.done(l.image(layer={"size": -1}))
l = Layout("config-digest"); l.done(l.image(config={"digest": other}))
l = Layout("config-size"); l.done(l.image(config={"size": 1 << 62}))
l = Layout("manifest-digest"); l.done(l.image(manifest={"digest": other}))
l = Layout("manifest-size"); l.done(l.image(manifest={"size": 3}))
l = Layout("diff-id"); l.done(l.image(diff=other))
# A digest cannot be one's own, but a file can lie under any name.
l = Layout("circle"); me = {"mediaType": I, "digest": other, "size": 0}
text = json.dumps({"schemaVersion": 2, "mediaType": I, "manifests": [me]}).encode()
me["size"] = len(text); text = json.dumps({"schemaVersion": 2, "mediaType": I, "manifests": [me]}).encode(); me["size"] = len(text)
open(l.at + "/blobs/sha256/" + other[7:], "wb").write(text); l.done(me)
l = Layout("deep"); d = l.image()
for _ in range(50): d = l.index(d)
l.done(d)
l = Layout("wide"); d = l.image()
for _ in range(4): d = l.index(*[d] * 50)
l.done(d)
l = Layout("link"); l.done(l.image()); os.rename(l.at + "/blobs", l.at + "/real"); os.symlink(sys.argv[1], l.at + "/blobs")
l = Layout("link-file"); d = l.image(); l.done(d); p = l.at + "/blobs/sha256/" + d["digest"][7:]; os.remove(p); os.symlink(sys.argv[1] + "/victim", p)
l = Layout("fifo"); d = l.image(); l.done(d); p = l.at + "/blobs/sha256/" + d["digest"][7:]; os.remove(p); os.mkfifo(p)
l = Layout("both"); d = l.blob(M, {"schemaVersion": 2, "layers": [], "config": {}, "manifests": []}); l.done(d)
l = Layout("nested-json"); open(l.at + "/index.json", "w").write("[" * 1000000)
l = Layout("layer-bomb"); z = gzip.compress(bytes(1 << 20) * 64); l.done(l.image(tar=z))
l = Layout("layer-holes"); l.done(l.image(tar=open("tars/refused-sparse-petabytes.tar", "rb").read()))
l = Layout("layer-hard-link-out"); l.done(l.image(tar=open("tars/refused-hard-link-out.tar", "rb").read()))
EOF
mkdir layouts
python3 layouts.py "$T/outside"
printf 'FROM base\n' >ctx/Dockerfile
for layout in layouts/*; do
  name=$(basename "$layout")
  # 64 GiB of holes would take their time to be refused.
  [ "$name" != layer-holes ] || continue
  bounded "$CORTEN" build --progress plain --build-context "base=oci-layout://$T/$layout" ctx -o "type=oci,dest=of-$name.tar"
  if [ "$name" = good ]; then
    equal "$code" 0 "a good layout ($(cat err))"
    bounded "$CORTEN" load -i "$layout"
    equal "$code" 0 "a good layout is loaded ($(cat err))"
    continue
  fi
  equal "$code" 1 "$name: as a base"
  holds "$(cat err)" "Dockerfile:1"
  [ ! -e "of-$name.tar" ] || fail "$name: an archive of it"
  bounded "$CORTEN" load -i "$layout"
  equal "$code" 1 "$name: loaded ($(cat err))"
  equal "$(watched)" "$before" "$name: something outside was touched"
done

# A Docker archive that names files outside, and one whose links copy one file again and again.
cat >docker.py <<'EOF'
import io, json, sys, tarfile
def add(t, name, text):
    i = tarfile.TarInfo(name); i.size = len(text); t.addfile(i, io.BytesIO(text))
def archive(name, config, layers, fill=lambda t: None):
    with tarfile.open(name, "w") as t:
        add(t, "manifest.json", json.dumps([{"Config": config, "Layers": layers, "RepoTags": ["x:1"]}]).encode())
        add(t, "c.json", json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "11" * 32] * len(layers)}}).encode())
        fill(t)
outside = sys.argv[1]
archive("config-out.tar", "../../../../../../.." + outside + "/victim", [])
archive("layer-out.tar", "c.json", [outside + "/victim"])
def links(t):
    add(t, "l0", bytes(4 << 20))
    for n in range(1, 100):
        i = tarfile.TarInfo(f"l{n}"); i.type = tarfile.LNKTYPE; i.linkname = "l0"; t.addfile(i)
archive("copies.tar", "c.json", ["l0"], links)
def way_out(t):
    i = tarfile.TarInfo("d"); i.type = tarfile.SYMTYPE; i.linkname = outside; t.addfile(i)
    add(t, "d/victim", b"changed")
archive("link-out.tar", "c.json", ["d/victim"], way_out)
EOF
python3 docker.py "$T/outside"
for name in config-out layer-out copies link-out; do
  bounded "$CORTEN" load -i "$name.tar"
  equal "$code" 1 "$name: loaded"
  equal "$(watched)" "$before" "$name: something outside was touched"
done
bounded "$CORTEN" load -i copies.tar
holds "$(cat err)" "more than it holds"
bounded "$CORTEN" load -i tars/refused-sparse-petabytes.tar
holds "$(cat err)" "CORTEN_MAX_UNPACKED"

unset CORTEN_MAX_UNPACKED
"$CORTEN" fsck >out 2>&1 || fail "the store is not whole: $(cat out)"
equal "$(ls -A "$CORTEN_STORE/tmp")" "" "what was begun is gone"
