# corten registry clean on the embedded registry: nothing that is needed goes; dry until --yes.
. "$(dirname "$0")/lib.sh"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY || true
export HOME="$T/home" DOCKER_CONFIG="$T/docker"
mkdir -p "$HOME" "$DOCKER_CONFIG"
mkfifo out
"$CORTEN" serve registry --listen 127.0.0.1:0 --root "$T/registry" >out 2>served &
server=$!
trap 'code=$?; kill $server 2>/dev/null; wait $server 2>/dev/null; (exit $code); cleanup' EXIT
read -r line <out
url=${line#listening on }
repository=${url#http://}/team/app
python3 "$(dirname "$0")/push_graph.py" "$url" team/app >graph
digest_of() { sed -n "s/^$1=//p" graph; }
there() { python3 -c 'import sys,urllib.request
try: urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"))
except urllib.error.HTTPError as e: sys.exit(e.code != 404 and 2 or 1)' "$url/v2/team/app/manifests/$1"; }
stays() { for name; do there "$(digest_of "$name")" || fail "$name is gone"; done; }
gone() { for name; do ! there "$(digest_of "$name")" || fail "$name is there"; done; }
cat >deployment.yaml <<YAML
spec: {containers: [{image: "$repository@$(digest_of deployed)"}]}
YAML

# Without a rule, and with rules that cannot be: refused.
"$CORTEN" registry clean "$repository" >said 2>&1 && fail "no rule"
holds "$(cat said)" "no rule says what may go"
"$CORTEN" registry clean --untagged "$repository" >said 2>&1 && fail "--untagged"
holds "$(cat said)" "has no list of untagged manifests"
: >empty
"$CORTEN" registry clean --tags 'pr-*' --in-use-file empty "$repository" >said 2>&1 && fail "an empty list"
holds "$(cat said)" "names no image"

# Shown, nothing done.
clean() { "$CORTEN" registry clean --tags 'pr-*' --in-use-file deployment.yaml "$@" "$repository"; }
dry=$(clean --all)
holds "$dry" "nothing is deleted yet: --yes does it"
holds "$dry" "$(digest_of amd64)"
holds "$dry" "what it is for stays"
holds "$dry" "the tag alone: its manifest stays"
stays app amd64 arm64 attestation sbom signature old_index own list own_signature two_tags deployed
json=$(clean --format json)
holds "$json" '"dryRun":true'

# Done: what only pr-1 reached is gone, with its signature; what anything else reaches is there.
done_=$(clean --yes)
holds "$done_" "4 manifests and 1 tags deleted"
gone old_index own list own_signature
stays app amd64 arm64 attestation sbom signature two_tags deployed old young
there v2 && there latest || fail "tags that stay"
! there pr-1 || fail "pr-1"
! there pr-2 || fail "pr-2, the tag alone"
holds "$done_" "deleted pr-2"
there pr-3 || fail "pr-3 is in use"
holds "$(clean --yes)" "0 of"

# By age, and by number.
holds "$("$CORTEN" registry clean --tags 'build-*' --older-than 365d --keep-last 1 --yes "$repository")" "1 manifests and 0 tags deleted"
gone old
stays young app

# A package of GitHub: its API lists untagged versions and deletes them; what a tag reaches is untagged there, too.
python3 "$(dirname "$0")/push_graph.py" "$url" owner/pkg >graph
mkfifo github.in github.out
python3 "$(dirname "$0")/github_server.py" "$url" owner pkg graph "$T/github" <github.in >github.out &
exec 8>github.in
read -r port <github.out
export GITHUB_API_URL="http://127.0.0.1:$port"
unset GH_TOKEN GITHUB_TOKEN || true
github() { "$CORTEN" registry clean --api github "$@" "${url#http://}/owner/pkg"; }
github --untagged >said 2>&1 && fail "without a token"
holds "$(cat said)" "set GITHUB_TOKEN"
GH_TOKEN=wrong-token-EXAMPLE github --untagged >said 2>&1 && fail "a wrong token"
holds "$(cat said)" "Bad credentials"
lacks "$(cat said)" wrong-token
export GITHUB_TOKEN=github-token-EXAMPLE
holds "$(github --untagged)" "0 of 14 manifests"
done_=$(github --tags 'pr-1' --untagged --yes)
holds "$done_" "4 manifests and 0 tags deleted"
holds "$done_" "to bring it back within 30 days: POST $GITHUB_API_URL/users/owner/packages/container/pkg/versions/"
equal "$(grep -c ^DELETE github)" 4 "deletions"
there() { python3 -c 'import sys,urllib.request
try: urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"))
except urllib.error.HTTPError as e: sys.exit(e.code != 404 and 2 or 1)' "$url/v2/owner/pkg/manifests/$1"; }
gone old_index own list own_signature
stays app amd64 arm64 attestation sbom signature two_tags deployed
exec 8>&-
