# tags, delete, referrers, manifest, copy and imagetools, against the embedded server and docker-registry; skopeo reads the results.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/registry_lib.sh"

raw_digest() { printf 'sha256:%s' "$(sha256sum | cut -d' ' -f1)"; }
mkdir app
printf 'FROM scratch\nCOPY page /page\n' >app/Dockerfile
head -c 300000 /dev/urandom >app/page
build app -t local:v1
build app --platform linux/amd64,linux/arm64 -t local:both
serve_registry
one=$HOST
"$CORTEN" push -q local:v1 "$one/team/page:v1" >pushed
digest=$(sed 's/.*@//' pushed)
"$CORTEN" push -q local:both "$one/team/page:both" >pushed
index=$(sed 's/.*@//' pushed)

# tags and manifest inspect.
equal "$("$CORTEN" tags "$one/team/page" | tr '\n' ' ')" "both v1 " "tags"
"$CORTEN" tags "$one/team/none" >none 2>&1 && fail "tags of nothing"
"$CORTEN" tags "$one/team/page:v1" >none 2>&1 && fail "tags of a tag"
equal "$("$CORTEN" manifest inspect --raw "$one/team/page:both" | raw_digest)" "$index" "the raw index"
equal "$("$CORTEN" manifest inspect "$one/team/page:v1" | jq -r .config.mediaType)" application/vnd.oci.image.config.v1+json "the config"
equal "$("$CORTEN" manifest inspect "$one/team/page:both" | jq -c '[.manifests[].platform.architecture]')" '["amd64","arm64"]' "platforms"
equal "$("$CORTEN" manifest inspect -v "$one/team/page:v1" | jq -r .Descriptor.digest,.OCIManifest.schemaVersion | tr '\n' ' ')" "$digest 2 " "verbose"
equal "$("$CORTEN" manifest inspect -v "$one/team/page:both" | jq -r '.[1].Raw' | base64 -d | raw_digest)" \
  "$("$CORTEN" manifest inspect "$one/team/page:both" | jq -r '.manifests[1].digest')" "the bytes of the second"

# Within a registry blobs are mounted; the whole index keeps its digest, one platform of it has its own.
"$CORTEN" copy "$one/team/page:both" "docker://$one/other/page:both" >copied 2>log
equal "$(cat copied)" "$one/other/page:both@$index" "what copy prints"
holds "$(cat log)" "sent 0 of"
equal "$(remote_digest "$one/other/page:both")" "$index" "the copied index"
requests_before=$(requests)
"$CORTEN" copy -q "$one/team/page:both" "$one/other/page:both" >/dev/null
[ $(($(requests) - requests_before)) -le 4 ] || fail "copying what is there takes many requests"
"$CORTEN" copy -q --platform linux/arm64 "$one/team/page:both" "$one/other/page:arm" >copied
equal "$(sed 's/.*@//' copied)" "$(skopeo inspect --raw --tls-verify=false "docker://$one/team/page:both" | jq -r '.manifests[1].digest')" "arm64"
"$CORTEN" copy -q --platform linux/s390x "$one/team/page:both" "$one/other/page:z" >none 2>&1 && fail "a platform that is not there"
holds "$(cat none)" "linux/amd64, linux/arm64"

# What refers to an image.
printf '{}' >empty
printf '{"a":1}' >sbom
"$CORTEN" manifest inspect --raw "$one/team/page:v1" >v1.json
put_blob() {
  place=$(curl -sf -D - -o /dev/null -X POST "http://$one/v2/team/page/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  case $place in http*) ;; *) place=http://$one$place ;; esac
  case $place in *\?*) place="$place&" ;; *) place="$place?" ;; esac
  curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$1" "${place}digest=$(raw_digest <"$1")"
}
put_blob empty
put_blob sbom
cat >artifact <<EOM
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/spdx+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"$(raw_digest <empty)","size":2},"layers":[{"mediaType":"application/spdx+json","digest":"$(raw_digest <sbom)","size":7}],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"$digest","size":$(wc -c <v1.json)}}
EOM
artifact=$(raw_digest <artifact)
curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @artifact "http://$one/v2/team/page/manifests/$artifact"
"$CORTEN" referrers "$one/team/page:v1" >listed
holds "$(cat listed)" "$artifact   application/spdx+json"
equal "$("$CORTEN" referrers --format json "$one/team/page@$digest" | jq -r '.manifests[].digest')" "$artifact" "referrers as json"
lacks "$("$CORTEN" referrers --artifact-type text/none "$one/team/page:v1")" "sha256:"

# To layouts and archives and back: the digests stay, skopeo agrees.
"$CORTEN" copy -q "$one/team/page:both" oci:layout:both >copied
equal "$(cat copied)" "$index" "the digest of a layout"
equal "$(skopeo inspect --raw oci:layout:both | raw_digest)" "$index" "skopeo on the layout"
"$CORTEN" copy -q --with-referrers "$one/team/page:v1" oci:layout:v1 >/dev/null
equal "$(skopeo inspect --raw oci:layout:v1 | raw_digest)" "$digest" "a second name in the layout"
"$CORTEN" copy -q --with-referrers oci:layout:v1 "$one/back/page:v1" >/dev/null
equal "$(remote_digest "$one/back/page:v1")" "$digest" "back from the layout"
equal "$("$CORTEN" referrers --format json "$one/back/page:v1" | jq -r '.manifests[].digest')" "$artifact" "referrers by a layout"
"$CORTEN" imagetools create -t "$one/team/page:wrapped" "$one/team/page:v1" >/dev/null 2>&1
"$CORTEN" copy -q "$one/team/page:wrapped" "$one/late/page:wrapped" >/dev/null
"$CORTEN" copy -q --with-referrers "$one/team/page:wrapped" "$one/late/page:wrapped" >/dev/null
equal "$("$CORTEN" referrers --format json "$one/late/page@$digest" | jq -r '.manifests[].digest')" "$artifact" "referrers of a member, later"
"$CORTEN" copy -q oci:layout:both oci-archive:both.tar:both >/dev/null
equal "$(skopeo inspect --raw oci-archive:both.tar:both | raw_digest)" "$index" "skopeo on the archive"
"$CORTEN" copy -q oci-archive:both.tar:both "$one/back/page:both" >copied
equal "$(cat copied)" "$one/back/page:both@$index" "back from the archive"
"$CORTEN" copy -q oci:layout:none "$one/back/page:none" >none 2>&1 && fail "a name that is not in the layout"
holds "$(cat none)" "it has both, v1"

# The store and Docker's archives.
"$CORTEN" copy -q store:local:v1 "$one/stored/page:v1" >copied
equal "$(sed 's/.*@//' copied)" "$digest" "from the store"
CORTEN_STORE="$T/store2" "$CORTEN" copy -q "$one/team/page:both" store:other:both >/dev/null
CORTEN_STORE="$T/store2" "$CORTEN" copy -q --platform linux/arm64 store:other:both docker-archive:arm.tar:page:arm >/dev/null
equal "$(skopeo inspect docker-archive:arm.tar | jq -r .Architecture)" arm64 "skopeo on a Docker archive"
"$CORTEN" copy -q docker-archive:arm.tar:page:arm oci:layout:arm >/dev/null
equal "$(skopeo inspect oci:layout:arm | jq -r .Architecture)" arm64 "from a Docker archive"
before=$(requests)
said=$("$CORTEN" copy --recompress bzip2 "$one/team/page:both" "$one/zstd/page:both" 2>&1) && fail "bzip2"
holds "$said" 'unsupported compression "bzip2"'
equal "$(requests)" "$before" "what cannot be is not begun"
"$CORTEN" copy -q --recompress zstd "$one/team/page:both" "$one/zstd/page:both" >copied
equal "$(skopeo inspect --raw --tls-verify=false "docker://$one/zstd/page:both" | jq '.manifests | length')" 2 "recompressed"
holds "$("$CORTEN" manifest inspect -v "$one/zstd/page:both")" "tar+zstd"
"$CORTEN" copy "$one/team/page:v1" dir:none >none 2>&1 && fail "a place of another kind"

# imagetools: looks as buildx shows them.
"$CORTEN" buildx imagetools inspect "$one/team/page:both" >looked
equal "$(sed -n 1,3p looked)" "Name:      $one/team/page:both
MediaType: application/vnd.oci.image.index.v1+json
Digest:    $index" "imagetools inspect"
holds "$(cat looked)" "Platform:  linux/arm64"
equal "$("$CORTEN" imagetools inspect --raw "$one/team/page:both" | raw_digest)" "$index" "imagetools --raw"
equal "$("$CORTEN" imagetools inspect "$one/team/page:both" --format '{{json .Manifest}}' | jq -r .digest,.manifests[0].platform.architecture | tr '\n' ' ')" "$index amd64 " ".Manifest"
equal "$("$CORTEN" imagetools inspect "$one/team/page:v1" --format '{{.Name}} {{.Manifest.Digest}}')" "$one/team/page:v1 $digest" "a template"
# What attestation manifests say, as buildx shows it: one for the only platform, else one a platform.
cat >attested.py <<'EOF'
import hashlib, json, os, sys
root, platforms = sys.argv[1], sys.argv[2:]
os.makedirs(root + "/blobs/sha256")
def put(media_type, data, **more):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    digest = hashlib.sha256(data).hexdigest()
    open(f"{root}/blobs/sha256/{digest}", "wb").write(data)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data), **more}
oci = "application/vnd.oci.image."
def manifest(config, layers, **more):
    return put(oci + "manifest.v1+json", {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": config, "layers": layers}, **more)
def statement(predicate_type, predicate):
    return put("application/vnd.in-toto+json", {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": predicate_type, "predicate": predicate},
               annotations={"in-toto.io/predicate-type": predicate_type})
members = []
for name in platforms:
    platform = {"os": "linux", "architecture": name}
    rootfs = {"type": "layers", "diff_ids": []}
    members.append(manifest(put(oci + "config.v1+json", {**platform, "rootfs": rootfs}), [], platform=platform))
for name, image in list(zip(platforms, members)):
    spdx = "https://spdx.dev/Document"
    layers = [statement(spdx, {"name": name}), statement(spdx, {"name": "more"}),
              statement("https://slsa.dev/provenance/v1", {"buildDefinition": {"buildType": name}})]
    members.append(manifest(put(oci + "config.v1+json", {"os": "unknown", "architecture": "unknown", "rootfs": {"type": "layers", "diff_ids": []}}), layers,
                            platform={"os": "unknown", "architecture": "unknown"},
                            annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image["digest"]}))
index = put(oci + "index.v1+json", {"schemaVersion": 2, "mediaType": oci + "index.v1+json", "manifests": members})
json.dump({"schemaVersion": 2, "manifests": [index]}, open(root + "/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(root + "/oci-layout", "w"))
EOF
python3 attested.py attested1 amd64
python3 attested.py attested2 amd64 arm64
"$CORTEN" copy -q oci:attested1 "$one/attested/page:1" >/dev/null
"$CORTEN" copy -q oci:attested2 "$one/attested/page:2" >/dev/null
looked() { "$CORTEN" imagetools inspect "$one/$1" --format "$2"; }
equal "$(looked attested/page:1 '{{json .SBOM}}' | jq -c .)" '{"SPDX":{"name":"amd64"},"AdditionalSPDXs":[{"name":"more"}]}' ".SBOM"
equal "$(looked attested/page:1 '{{json .Provenance.SLSA}}' | jq -c .)" '{"buildDefinition":{"buildType":"amd64"}}' ".Provenance"
equal "$(looked attested/page:2 '{{json .SBOM}}' | jq -c '."linux/arm64".SPDX')" '{"name":"arm64"}' ".SBOM of a platform"
equal "$(looked attested/page:2 '{{json .Provenance}}' | jq -r '."linux/amd64".SLSA.buildDefinition.buildType')" amd64 ".Provenance of a platform"
equal "$(looked team/page:v1 '{{json .SBOM}}')" '{}' ".SBOM of an image without one"
equal "$("$CORTEN" imagetools inspect "$one/team/page:both" --format '{{json .Image}}' | jq -r '."linux/arm64".architecture')" arm64 ".Image"

# imagetools create: one index stays what it is, single images become an index, of other repositories too.
"$CORTEN" imagetools create -t "$one/made/page:same" "$one/team/page:both" >made 2>log
equal "$(cat made)" "$one/made/page:same@$index" "a single source"
equal "$(remote_digest "$one/made/page:same")" "$index" "the digest of a single source"
amd=$(jq -r '.manifests[0].digest' <"layout/blobs/sha256/${index#sha256:}")
arm=$(jq -r '.manifests[1].digest' <"layout/blobs/sha256/${index#sha256:}")
"$CORTEN" imagetools create -t "$one/made/page:one" "$one/team/page@$amd" >/dev/null 2>&1
equal "$("$CORTEN" imagetools inspect --raw "$one/made/page:one" | jq -c '[.manifests[].platform.architecture]')" '["amd64"]' "an image in an index"
"$CORTEN" buildx imagetools create --append -t "$one/made/page:one" "$one/team/page@$arm" --annotation index:key=value --metadata-file meta.json >made 2>&1
equal "$("$CORTEN" imagetools inspect --raw "$one/made/page:one" | jq -c '[.manifests[].digest], .annotations' | tr '\n' ' ')" "[\"$amd\",\"$arm\"] {\"key\":\"value\"} " "--append"
equal "$(jq -r '."containerimage.digest"' meta.json)" "$(remote_digest "$one/made/page:one")" "the metadata file"
CORTEN_STORE="$T/store2" "$CORTEN" pull -q --platform linux/arm64 "$one/made/page:one" >/dev/null
requests_before=$(grep -c '"PUT\|PUT ' "$T/access" || true)
"$CORTEN" imagetools create --dry-run -p linux/arm64 -t "$one/made/page:dry" "$one/team/page:both" "$one/made/page:one" >dry
equal "$(jq -c '[.manifests[].digest]' <dry)" "[\"$arm\"]" "--dry-run with --platform"
equal "$(grep -c '"PUT\|PUT ' "$T/access" || true)" "$requests_before" "what --dry-run pushes"
printf '%s\n' "$amd" >source
"$CORTEN" imagetools create -f source --prefer-index=false -t "$one/made/page:plain" >/dev/null 2>&1
equal "$(remote_digest "$one/made/page:plain")" "$amd" "--prefer-index=false, -f"
"$CORTEN" imagetools create "$one/team/page:both" >none 2>&1 && fail "no tag"
holds "$(cat none)" "can't push with no tags specified"

# A layout that lies is found out, and its links lead nowhere.
cp -r layout liar
for blob in liar/blobs/sha256/*; do [ "$(wc -c <"$blob")" -lt 200000 ] || { size=$(wc -c <"$blob"); head -c "$size" /dev/zero >"$blob"; }; done
"$CORTEN" copy -q oci:liar:v1 oci:honest:v1 >none 2>&1 && fail "a blob with other bytes"
[ ! -e honest/index.json ] || fail "a layout with half an image has a name"
"$CORTEN" copy -q oci:liar:v1 "$one/liar/page:v1" >none 2>&1 && fail "a blob with other bytes, pushed"
for blob in liar/blobs/sha256/*; do [ "$(wc -c <"$blob")" -lt 200000 ] || ln -sf "$T/app/page" "$blob"; done
"$CORTEN" copy -q oci:liar:v1 oci:honest:v1 >none 2>&1 && fail "a link in a layout"
ls honest/blobs/sha256 >left
lacks "$(cat left)" "."

# delete takes one tag, or a manifest with all of them.
"$CORTEN" delete "$one/other/page:arm" >deleted
equal "$(cat deleted)" "Deleted: $one/other/page:arm" "what delete prints"
equal "$("$CORTEN" tags "$one/other/page")" both "the tags after delete"
"$CORTEN" delete "$one/other/page:arm" >none 2>&1 && fail "deleted twice"
"$CORTEN" delete "$one/other/page" >none 2>&1 && fail "deleted a repository"
"$CORTEN" delete "$one/other/page@$index" >/dev/null
"$CORTEN" manifest inspect "$one/other/page:both" >none 2>&1 && fail "there after delete"

# To another registry, which has no referrers API and deletes by digest alone.
first=$SERVER
SERVER=
if docker_registry; then
  second=$SERVER
  "$CORTEN" copy -q --with-referrers "$one/team/page:v1" "$HOST/team/page:v1" >copied
  equal "$(cat copied)" "$HOST/team/page:v1@$digest" "to docker-registry"
  equal "$(remote_digest "$HOST/team/page:v1")" "$digest" "skopeo on docker-registry"
  equal "$("$CORTEN" referrers --format json "$HOST/team/page:v1" | jq -r '.manifests[].digest')" "$artifact" "referrers by the fallback tag"
  "$CORTEN" copy -q "$one/team/page:both" "$HOST/team/page:both" >/dev/null
  equal "$(remote_digest "$HOST/team/page:both")" "$index" "an index in docker-registry"
  "$CORTEN" delete "$HOST/team/page:v1" >none 2>&1 && fail "docker-registry deletes a tag"
  holds "$(cat none)" "by digest alone"
  "$CORTEN" delete "$HOST/team/page@$digest" >/dev/null
  "$CORTEN" manifest inspect "$HOST/team/page:v1" >none 2>&1 && fail "there after delete by digest"
  SERVER=$second
  stop_registry
fi
SERVER=$first
stop_registry
CORTEN_STORE="$T/store2" "$CORTEN" prune --everything --force >/dev/null
