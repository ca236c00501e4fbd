# The embedded registry, as other programs see it: skopeo and curl; killed at any instant it keeps what it acknowledged.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/registry_lib.sh"
STORE_FLAG=--store

copy() { skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false "$@"; }
status() { curl -s --max-time 60 -o "$T/body" -w '%{http_code}' "$@"; }

base bb
printf 'FROM bb\nRUN head -c 300000 /dev/urandom >/random\nCMD ["true"]\n' >Dockerfile
build . --build-context bb=bb -o type=oci,dest=image.tar
mkdir layout && tar -C layout -xf image.tar

# skopeo pushes and pulls; every byte comes back.
serve_registry
copy "oci:layout" "docker://$HOST/team/page:v1"
copy "docker://$HOST/team/page:v1" oci:back:v1
equal "$(ls back/blobs/sha256)" "$(ls layout/blobs/sha256)" "the blobs"
copy "docker://$HOST/team/page:v1" "docker://$HOST/other/page:v2"
equal "$(skopeo list-tags --tls-verify=false "docker://$HOST/other/page" | tr -d ' \n')" \
  "{\"Repository\":\"$HOST/other/page\",\"Tags\":[\"v2\"]}" "tags"
skopeo delete --tls-verify=false "docker://$HOST/other/page:v2"
equal "$(status "$URL/v2/other/page/manifests/v2")" 404 "after skopeo's delete"
holds "$(cat body)" '"code":"MANIFEST_UNKNOWN"'

# curl: an upload in pieces that goes on after the server was killed.
head -c 900000 /dev/urandom >blob
digest=sha256:$(sha256sum blob | cut -d' ' -f1)
location=$(curl -sf -D - -X POST "$URL/v2/a/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //p')
head -c 500000 blob >first
tail -c +500001 blob >second
equal "$(status -X PATCH -H 'Content-Type: application/octet-stream' -T first "$URL$location")" 202 "a piece"
stop_registry KILL
serve_registry
equal "$(curl -sf -D - "$URL$location" | tr -d '\r' | sed -n 's/^Range: //p')" 0-499999 "what had come before it was killed"
equal "$(status -X PUT -H 'Content-Range: 500000-899999' -T second "$URL$location?digest=$digest")" 201 "the end"
curl -sf "$URL/v2/a/blobs/$digest" | cmp - blob
equal "$(curl -sf -H 'Range: bytes=1000-1999' "$URL/v2/a/blobs/$digest" | sha256sum)" \
  "$(tail -c +1001 blob | head -c 1000 | sha256sum)" "a range"
head -c 899990 blob >end
curl -sf -C - "$URL/v2/a/blobs/$digest" -o end
cmp end blob || fail "a download that goes on"

# Killed while it is pushed to: whatever was acknowledged is there.
: >acknowledged
empty=sha256:$(printf '{}' | sha256sum | cut -d' ' -f1)
for round in 1 2 3; do
  curl -sf -o body -X POST --data-binary '{}' "$URL/v2/k/blobs/uploads/?digest=$empty"
  (
    i=0
    while i=$((i + 1)); do
      printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[],"annotations":{"n":"%s-%s"}}' \
        "$empty" "$round" "$i" >manifest
      curl -sf -o body2 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @manifest \
        "$URL/v2/k/manifests/t$round-$i" || break
      echo "t$round-$i $(sha256sum <manifest | cut -d' ' -f1)" >>acknowledged
    done
  ) 2>/dev/null &
  pusher=$!
  while [ "$(grep -c "^t$round-" acknowledged || true)" -lt 20 ]; do
    kill -0 "$pusher" 2>/dev/null || fail "pushing ended: $(cat body2)"
    sleep 0.05
  done
  stop_registry KILL
  wait "$pusher" || true
  serve_registry
  while read -r tag sum; do
    equal "$(curl -sf "$URL/v2/k/manifests/$tag" | sha256sum | cut -d' ' -f1)" "$sum" "$tag after a kill"
  done <acknowledged
done

# TLS, passwords, a limit on the size, figures: as curl and skopeo see them.
stop_registry TERM
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 30 \
  -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>/dev/null
python3 -W ignore -c 'import crypt; print("ann:" + crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' >htpasswd
serve_registry --tls-cert cert.pem --tls-key key.pem --htpasswd htpasswd --access-log access.log --max-size 100m
equal "${URL%%:*}" https "the address"
equal "$(status --cacert cert.pem "$URL/v2/")" 401 "without a password"
equal "$(status --cacert cert.pem -u ann:wrong "$URL/v2/")" 401 "a wrong one"
equal "$(status --cacert cert.pem -u ann:secret "$URL/v2/")" 200 "the right one"
copy --dest-creds ann:secret "oci:layout" "docker://$HOST/team/secret:v1"
copy --src-creds ann:secret "docker://$HOST/team/secret:v1" oci:secret:v1
equal "$(ls secret/blobs/sha256)" "$(ls layout/blobs/sha256)" "the blobs over TLS"
head -c 30000000 /dev/urandom >blob
digest=sha256:$(sha256sum blob | cut -d' ' -f1)
equal "$(status --cacert cert.pem -u ann:secret -X POST --data-binary @blob "$URL/v2/t/blobs/uploads/?digest=$digest")" 201 "a big blob in TLS"
curl -sf --cacert cert.pem -u ann:secret "$URL/v2/t/blobs/$digest" | cmp - blob
head -c 90000000 /dev/zero >zeros
equal "$(status --cacert cert.pem -u ann:secret -X POST --data-binary @zeros "$URL/v2/t/blobs/uploads/?digest=$digest")" 413 "beyond the limit"
equal "$(status --cacert cert.pem "$URL/healthz")" 200 "healthz"
holds "$(curl -sf --cacert cert.pem "$URL/metrics")" 'corten_registry_requests_total{method="GET",code="401"} '
stop_registry TERM
grep -q '"target":"/v2/team/secret/manifests/v1".*"user":"ann"' access.log || fail "the log: $(cat access.log)"
grep -q 'secret"' access.log && fail "a password in the log"
serve_registry --read-only
equal "$(status -X POST "$URL/v2/a/blobs/uploads/")" 405 "read-only"

# An image of the store needs no push; what was built anew follows, and the server of another network shows nothing.
build . --build-context bb=bb -t local/page:v1
copy "docker://$HOST/local/page:v1" oci:local:v1
equal "$("$CORTEN" images -q --no-trunc local/page:v1)" \
  "$(skopeo inspect --tls-verify=false --raw "docker://$HOST/local/page:v1" | grep -o 'sha256:[0-9a-f]*' | head -n 1)" "the image"
first=$(curl -sf -o /dev/null -D - "$URL/v2/local/page/manifests/v1" | grep -i '^docker-content')
echo 'LABEL new=yes' >>Dockerfile
build . --build-context bb=bb -t local/page:v1
differ "$(curl -sf -o /dev/null -D - "$URL/v2/local/page/manifests/v1" | grep -i '^docker-content')" "$first" "built anew"

# Lists have it, also when nobody asked for it before.
build . --build-context bb=bb -t "$HOST/here/page:v2" -t elsewhere.example/page:v1 -t plain
equal "$(curl -sf "$URL/v2/here/page/tags/list")" '{"name":"here/page","tags":["v2"]}' "tags of an image that nobody asked for"
equal "$(curl -sf "$URL/v2/plain/tags/list")" '{"name":"plain","tags":["latest"]}' "a name without a registry"
catalog=$(curl -sf "$URL/v2/_catalog")
for name in here/page plain local/page team/page; do holds "$catalog" "\"$name\""; done
case "$catalog" in *elsewhere* | *none*) fail "in the catalog: $catalog" ;; esac
"$CORTEN" rmi plain >/dev/null
equal "$(status "$URL/v2/plain/tags/list")" 404 "removed from the store"
stop_registry TERM
STORE_FLAG=--no-store serve_registry
equal "$(status "$URL/v2/local/other/manifests/v1")" 404 "--no-store"
equal "$(status "$URL/v2/here/page/tags/list")" 404 "--no-store lists nothing of it"

# It ends cleanly, and says what is wrong with its flags.
stop_registry TERM
serve_registry
stop_registry INT
"$CORTEN" serve registry --root "$T/registry" --listen nonsense 2>err && fail "a listen address"
holds "$(cat err)" "not of the form ADDRESS:PORT"
"$CORTEN" serve registry --root "$T/registry" --listen 127.0.0.1:0 --tls-cert cert.pem 2>err && fail "a certificate without its key"
holds "$(cat err)" "--tls-cert and --tls-key go together"
echo ann:plain >htpasswd
"$CORTEN" serve registry --root "$T/registry" --listen 127.0.0.1:0 --htpasswd htpasswd 2>err && fail "a password that is no hash"
holds "$(cat err)" "htpasswd:1: not a name and a bcrypt hash"
mkdir things && touch things/file
"$CORTEN" serve registry --root things --listen 127.0.0.1:0 2>err && fail "a directory of other things"
holds "$(cat err)" "no registry of Corten"
serve_registry
"$CORTEN" serve registry --root "$T/registry" --listen 127.0.0.1:0 2>err && fail "two servers"
holds "$(cat err)" "another server has this registry open"
stop_registry TERM
