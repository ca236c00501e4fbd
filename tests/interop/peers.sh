#!/bin/sh
# peers.sh DIRECTORY: crane, regctl and oras, which lie in DIRECTORY, with `corten serve registry`, and corten with what they
# push. They are Go programs that no Debian package has, so this is run by hand (docs/conformance-registry.md says how they are
# made); what they have in common with skopeo and podman is in tests/e2e/interop.sh.
#   CORTEN=BINARY tests/interop/peers.sh DIRECTORY
# shellcheck disable=SC1091 # both stand beside the other tests
peers=$(cd "${1:?the directory of crane, regctl and oras}" && pwd)
here=$(cd "$(dirname "$0")/../e2e" && pwd)
. "$here/lib.sh"
. "$here/registry_lib.sh"
export HOME="$T" DOCKER_CONFIG="$T/docker"
mkdir -p "$DOCKER_CONFIG"

has() { [ -x "$peers/$1" ] || { echo "skipped: no $1 in $peers" && return 1; }; }
digest_of() { "$CORTEN" manifest inspect --raw "$1" | sha256sum | cut -d' ' -f1; }

mkdir app
printf 'FROM scratch\nCOPY page /page\nCMD ["/page"]\n' >app/Dockerfile
head -c 700000 /dev/urandom >app/page
build app -t local:page
build app --platform linux/amd64,linux/arm64 -t local:both
serve_registry
"$CORTEN" push -q local:page "$HOST/corten/page:1" >/dev/null
"$CORTEN" push -q local:both "$HOST/corten/page:both" >/dev/null
page=sha256:$(digest_of "$HOST/corten/page:1")
both=sha256:$(digest_of "$HOST/corten/page:both")
id=$(image_id local:page)
comes_back() { # NAME: pulled by us it is the same image
  CORTEN_STORE="$T/other" "$CORTEN" pull -q "$1" >pulled
  equal "$(cat pulled)" "$id" "$1"
}

if has crane; then
  crane() { "$peers/crane" --insecure "$@"; }
  equal "$(crane digest "$HOST/corten/page:1")" "$page" "crane digest"
  holds "$(crane validate --remote "$HOST/corten/page:1")" "PASS"
  holds "$(crane validate --remote "$HOST/corten/page:both")" "PASS"
  crane pull --format oci "$HOST/corten/page:both" crane-layout
  crane push --index crane-layout "$HOST/crane/page:both" >/dev/null
  crane copy "$HOST/corten/page:1" "$HOST/crane/page:1" 2>crane.log || fail "crane copy: $(cat crane.log)"
  equal "$(crane ls "$HOST/crane/page" | sort | tr '\n' ' ')" "1 both " "crane ls"
  holds "$(crane catalog "$HOST")" "crane/page"
  comes_back "$HOST/crane/page:1"
  holds "$(crane export "$HOST/corten/page:1" - | tar -t)" page
  crane delete "$HOST/crane/page@$page"
  crane digest "$HOST/crane/page:1" >none 2>&1 && fail "crane delete"
  echo "crane: passed"
fi

if has regctl; then
  "$peers/regctl" registry set --tls disabled "$HOST"
  regctl() { "$peers/regctl" "$@"; }
  equal "$(regctl image digest "$HOST/corten/page:both")" "$both" "regctl image digest"
  regctl image copy "$HOST/corten/page:both" "$HOST/regctl/page:both" 2>regctl.log || fail "regctl image copy: $(cat regctl.log)"
  regctl image copy "$HOST/corten/page:1" "$HOST/regctl/page:1" 2>regctl.log || fail "regctl image copy: $(cat regctl.log)"
  equal "sha256:$(digest_of "$HOST/regctl/page:both")" "$both" "regctl's copy"
  comes_back "$HOST/regctl/page:1"
  # What refers to an image, by the API: put by regctl, seen by both.
  echo signed | regctl artifact put --subject "$HOST/corten/page:1" --artifact-type application/x-test -m application/x-words >/dev/null
  holds "$(regctl artifact list "$HOST/corten/page:1" --format '{{json .}}')" application/x-test
  equal "$("$CORTEN" referrers "$HOST/corten/page:1" | grep -c application/x-test)" 1 "regctl's artifact, seen by us"
  equal "$(regctl tag ls "$HOST/regctl/page" | tr '\n' ' ')" "1 both " "regctl tag ls"
  regctl tag rm "$HOST/regctl/page:both"
  equal "$("$CORTEN" tags "$HOST/regctl/page" | tr '\n' ' ')" "1 " "after regctl tag rm"
  echo "regctl: passed"
fi

if has oras; then
  oras() { "$peers/oras" "$@"; }
  echo words >words.txt
  oras push --plain-http "$HOST/oras/artifact:1" --artifact-type application/x-test words.txt:text/plain >oras.log 2>&1 || fail "oras push: $(cat oras.log)"
  equal "$("$CORTEN" manifest inspect "$HOST/oras/artifact:1" | jq -r .artifactType)" application/x-test "oras' artifact"
  oras attach --plain-http "$HOST/corten/page:both" --artifact-type application/x-note words.txt:text/plain >oras.log 2>&1 || fail "oras attach: $(cat oras.log)"
  holds "$(oras discover --plain-http "$HOST/corten/page:both")" application/x-note
  equal "$("$CORTEN" referrers "$HOST/corten/page:both" | grep -c application/x-note)" 1 "oras' artifact, seen by us"
  "$CORTEN" copy -q --with-referrers "$HOST/corten/page:both" "$HOST/moved/page:both" >/dev/null
  holds "$(oras discover --plain-http "$HOST/moved/page:both")" application/x-note
  oras cp --from-plain-http --to-plain-http "$HOST/corten/page:1" "$HOST/oras/page:1" >oras.log 2>&1 || fail "oras cp: $(cat oras.log)"
  comes_back "$HOST/oras/page:1"
  mkdir pulled-by-oras
  oras pull --plain-http -o pulled-by-oras "$HOST/oras/artifact:1" >/dev/null
  equal "$(cat pulled-by-oras/words.txt)" words "oras pull"
  echo "oras: passed"
fi
stop_registry
[ ! -d "$T/other" ] || CORTEN_STORE="$T/other" "$CORTEN" prune --everything --force >/dev/null
