# What a layer's time is counted from: without a RUN, from the base's `created`, so that the base need not be read; with one, from the
# newest entry of the base; entries from the future do not count. rewrite-timestamp brings the layers of this build down, not the base's.
. "$(dirname "$0")/lib.sh"
python3 - layout <<'PYTHON'
import gzip, hashlib, io, json, os, sys, tarfile
out = sys.argv[1]
os.makedirs(f'{out}/blobs/sha256')
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open(f'{out}/blobs/sha256/{digest}', 'wb').write(data)
    return {'digest': 'sha256:' + digest, 'size': len(data)}
raw = io.BytesIO()
with tarfile.open(fileobj=raw, mode='w', format=tarfile.PAX_FORMAT) as tar:
    def add(name, mtime, data=b'', kind=tarfile.REGTYPE, mode=0o644):
        i = tarfile.TarInfo(name); i.type = kind; i.mtime = mtime; i.mode = mode; i.size = len(data)
        tar.addfile(i, io.BytesIO(data))
    add('bin', 1500000000, kind=tarfile.DIRTYPE, mode=0o755)
    add('bin/busybox', 1600000000, open('/bin/busybox', 'rb').read(), mode=0o755)
    for applet in ('sh', 'stat', 'touch'):
        i = tarfile.TarInfo(f'bin/{applet}'); i.type = tarfile.SYMTYPE; i.linkname = 'busybox'; i.mtime = 1500000000; tar.addfile(i)
    add('future', 4000000000)
layer = raw.getvalue()
config = {'created': '2015-01-01T00:00:00Z', 'architecture': 'amd64', 'os': 'linux', 'config': {},
          'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(layer).hexdigest()]}}
kind = 'application/vnd.oci.image.'
manifest = {'schemaVersion': 2, 'mediaType': kind + 'manifest.v1+json', 'config': {'mediaType': kind + 'config.v1+json', **put(json.dumps(config).encode())},
            'layers': [{'mediaType': kind + 'layer.v1.tar+gzip', **put(gzip.compress(layer, mtime=0))}]}
index = {'schemaVersion': 2, 'manifests': [{'mediaType': kind + 'manifest.v1+json', **put(json.dumps(manifest).encode())}]}
open(f'{out}/index.json', 'w').write(json.dumps(index))
open(f'{out}/oci-layout', 'w').write('{"imageLayoutVersion": "1.0.0"}')
PYTHON
mkdir ctx
echo page >ctx/page
stamps() { # CONTEXT FLAGS...: "name seconds" of every file of the image
  build "$@" -o type=tar,dest=files.tar
  python3 -c 'import tarfile; [print(m.name, int(m.mtime)) for m in tarfile.open("files.tar")]'
}
of() { echo "$1" | awk -v name="$2" '$1 == name {print $2}'; }

printf 'FROM base\nCOPY page /page\n' >ctx/Dockerfile
without=$(stamps ctx --build-context base=oci-layout://layout)
created=1420070400
[ "$(of "$without" page)" -gt $created ] && [ "$(of "$without" page)" -le $((created + 3601)) ] || fail "without a RUN: $(of "$without" page)"
equal "$(of "$without" future)" 4000000000 "kept times are never clamped"

printf 'FROM base\nCOPY page /page\nRUN touch /made\n' >ctx/Dockerfile
with=$(stamps ctx --build-context base=oci-layout://layout)
equal "$(of "$with" page)" 1600000001 "with a RUN, the copy"
equal "$(of "$with" made)" 1600000002 "with a RUN, what it made"

export SOURCE_DATE_EPOCH=1550000000
build ctx --build-context base=oci-layout://layout -o type=oci,dest=image.tar,rewrite-timestamp=true
mkdir image && tar -C image -xf image.tar
python3 - image <<'PYTHON'
import gzip, io, json, sys, tarfile
root = sys.argv[1]
blob = lambda d: open(f"{root}/blobs/{d.replace(':', '/')}", 'rb').read()
manifest = json.loads(blob(json.load(open(f'{root}/index.json'))['manifests'][0]['digest']))
newest = [max(m.mtime for m in tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(l['digest']))))) for l in manifest['layers']]
assert newest[0] == 4000000000, newest
assert all(t <= 1550000000 for t in newest[1:]), newest
PYTHON
