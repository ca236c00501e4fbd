# corten acr and build --on acr: against a server that takes what Azure takes, and no credential where it does not belong.
. "$(dirname "$0")/lib.sh"
for variable in $(env | sed -n 's/^\(AZURE_[A-Z_]*\)=.*/\1/p') http_proxy https_proxy HTTP_PROXY HTTPS_PROXY REGISTRY_AUTH_FILE; do unset "$variable"; done
export HOME="$T/home" DOCKER_CONFIG="$T/docker" AZURE_POD_IDENTITY_AUTHORITY_HOST=none
mkdir -p "$HOME" "$DOCKER_CONFIG" azure bin
PATH="$T/bin:$PATH"
printf '#!/bin/sh\necho "Please run az login to setup account." >&2\nexit 1\n' >bin/az && chmod +x bin/az
mkfifo in out
python3 "$(dirname "$0")/azure_server.py" "$T/azure" <in >out &
exec 9>in
read -r port <out
registry="127.0.0.1:$port"
secret=azure-secret-EXAMPLE
export AZURE_AUTHORITY_HOST="http://$registry" AZURE_RESOURCE_MANAGER_ENDPOINT="http://$registry"
refused() { # WORDS COMMAND...
  words=$1
  shift
  code=0
  "$CORTEN" "$@" >said 2>&1 || code=$?
  [ "$code" -ne 0 ] || fail "'$*' did not fail"
  holds "$(cat said)" "$words"
  for word in "$secret" signature-EXAMPLE directory-token-EXAMPLE refresh-token-EXAMPLE; do lacks "$(cat said)" "$word"; done
}

# Nobody: each source with its reason; nothing is sent.
refused "service principal: AZURE_CLIENT_SECRET is not set" acr login "$registry"
holds "$(cat said)" "Azure CLI: az: Please run az login"
holds "$(cat said)" "Please run: az login"
[ ! -e azure/requests ] || fail "a request without credentials"

# A wrong secret, half of what is needed, an endpoint without encryption.
export AZURE_CLIENT_SECRET=wrong
refused "AZURE_CLIENT_ID is not" acr login "$registry"
export AZURE_CLIENT_ID=client-1 AZURE_TENANT_ID=tenant-1
refused "AADSTS7000215" acr login "$registry"
export AZURE_CLIENT_SECRET=$secret
(AZURE_RESOURCE_MANAGER_ENDPOINT=http://192.0.2.1 refused "over https alone" acr retention "$registry")
(AZURE_AUTHORITY_HOST=http://192.0.2.1 refused "over https alone" acr login "$registry")

# Login: the registry's own token, kept as docker keeps identity tokens.
holds "$("$CORTEN" acr login "$registry")" "Login Succeeded"
holds "$(cat docker/config.json)" refresh-token-EXAMPLE
lacks "$(cat docker/config.json)" directory-token-EXAMPLE
(unset AZURE_CLIENT_SECRET && printf web.identity.token >token && AZURE_FEDERATED_TOKEN_FILE=token "$CORTEN" acr login "$registry" >said)
holds "$(cat said)" "the workload identity client-1"

# Import, waited for.
holds "$("$CORTEN" acr import alpine:3.20 "$registry/base/alpine:3.20")" "base/alpine:3.20 imported from alpine:3.20"
equal "$(cat azure/import)" '{"source": {"sourceImage": "library/alpine:3.20", "registryUri": "docker.io"}, "targetTags": ["base/alpine:3.20"], "mode": "NoForce"}' "the request"
refused "Tag taken:1 already exists" acr import ghcr.io/taken:1 "$registry/a:1"
printf 'pw\n' | "$CORTEN" acr import -u me --source-password-stdin --force ghcr.io/taken:1 "$registry/a:1" >said
holds "$(cat azure/import)" '"credentials": {"password": "pw", "username": "me"}'

# Retention: said, set, left alone.
holds "$("$CORTEN" acr retention "$registry")" "untagged manifests: off"
holds "$("$CORTEN" acr retention --days 30 "$registry" 2>said)" "30 days (was off)"
holds "$(cat said)" "corten acr untagged"
: >azure/requests
holds "$("$CORTEN" acr retention --days 30 "$registry" 2>/dev/null)" "30 days"
lacks "$(cat azure/requests)" PATCH
holds "$("$CORTEN" acr retention --off --subscription sub-1 --resource-group group "$registry")" "off (was 30 days)"
refused "0 to 365" acr retention --days 900 "$registry"

# A build elsewhere: the context through its ignore file, the log as it comes, exit code by the end.
mkdir -p ctx/src ctx/secret
echo FROM scratch >ctx/Dockerfile
echo secret >ctx/.dockerignore
echo Dockerfile >>ctx/.dockerignore
echo a >ctx/src/a
echo b >ctx/secret/b
ln -s /etc/passwd ctx/link
built=$("$CORTEN" build --on "acr:$registry" -t "$registry/app:v1" -t app:v2 --build-arg A=1 --target t --platform linux/arm64 ctx 2>log)
equal "$(echo "$built" | sed 's/@sha256:[0-9a-f]*$//')" "$registry/app:v1
$registry/app:v2" "what was made"
equal "$(sort azure/context)" ".dockerignore
Dockerfile
link
src
src/a" "the context"
holds "$(cat azure/build)" '"imageNames": ["app:v1", "app:v2"]'
holds "$(cat azure/build)" '"arguments": [{"name": "A", "value": "1", "isSecret": false}]'
holds "$(cat azure/build)" '"architecture": "arm64"'
equal "$(grep -c '^step' log)" 3 "lines of the log, each once"
lacks "$(cat log)" "$(printf '\033')"
# Two platforms: two builds, an index of both, and no tag of one left.
: >azure/requests
"$CORTEN" build -q --on "acr:$registry" -t app:v3 --platform linux/amd64,linux/arm64 ctx >built
equal "$(cat built)" "$registry/app:v3@sha256:$(sha256sum <azure/index | cut -d' ' -f1)" "the index"
equal "$(grep -o '"architecture": *"[a-z0-9]*"' azure/index | tr -d ' ' | tr '\n' ' ')" '"architecture":"amd64" "architecture":"arm64" ' "its platforms"
equal "$(grep -c 'POST .*/scheduleRun' azure/requests)" 2 "builds"
equal "$(grep -c 'DELETE /acr/v1/app/_tags/v3-linux' azure/requests)" 2 "tags that go"
refused "ended as Failed" acr build "$registry" -t broken:1 ctx
refused "--secret cannot be had" build --on "acr:$registry" --secret id=x,env=HOME -t a ctx
refused "makes images of that registry" build --on "acr:$registry" -t ghcr.io/a/b:1 ctx
refused "no such file in the context" build --on "acr:$registry" -f ../Dockerfile -t a ctx
refused "no such place" build --on aws:x -t a ctx

# Untagged manifests that nothing needs, by Azure's own list, with the login's token.
untagged=$("$CORTEN" acr untagged --older-than 30d "$registry/app")
holds "$untagged" "1 of 2 manifests"
holds "$untagged" "nothing is deleted yet"
: >azure/requests
holds "$("$CORTEN" acr untagged --older-than 30d --yes "$registry/app")" "1 manifests and 0 tags deleted"
equal "$(grep -c '^DELETE /v2/app/manifests/sha256:' azure/requests)" 1 "deletions"

exec 9>&-
wait
