# corten lint: no store, no build; hadolint's comments, settings, exit codes; the forms that programs read.
. "$(dirname "$0")/lib.sh"

printf 'FROM debian:latest\nARG API_TOKEN\nRUN apt-get update && apt-get install -y curl\nCOPY . /app\nCMD run\n' >Dockerfile
code=0 && "$CORTEN" lint >out 2>err || code=$?
equal "$code" 1 "findings fail"
[ ! -e "$CORTEN_STORE" ] || fail "a lint makes no store"
for rule in DL3007 SecretsUsedInArgOrEnv DL3008 DL3009 DL3015 CT1003 CT1001 DL3057 JSONArgsRecommended; do
  holds "$(cat out)" "$rule"
done
holds "$(cat out)" "Dockerfile:1 DL3007 warning: Using latest is prone to errors"

"$CORTEN" lint --no-fail >/dev/null || fail "--no-fail"
"$CORTEN" lint --failure-threshold error >/dev/null || fail "there are no errors"
code=0 && "$CORTEN" lint --failure-threshold much 2>err >/dev/null || code=$?
equal "$code" 2 "an unknown threshold is wrong usage"

for format in tty gnu json checkstyle codeclimate gitlab_codeclimate sarif github; do
  "$CORTEN" lint --no-fail --format $format >out || fail "$format"
  holds "$(tr -d '\0' <out)" DL3007
done
"$CORTEN" lint --no-fail -f json | python3 -c 'import json,sys; assert json.load(sys.stdin)[0]["code"] == "DL3007"' || fail "json"
"$CORTEN" lint --no-fail -f sarif | python3 -c 'import json,sys; r=json.load(sys.stdin)["runs"][0]; assert r["results"][0]["ruleId"] == r["tool"]["driver"]["rules"][0]["id"]' || fail "sarif"
"$CORTEN" lint --no-fail -f checkstyle | python3 -c 'import sys,xml.dom.minidom as m; m.parseString(sys.stdin.read())' || fail "checkstyle"

# Settings: what is ignored, what is how bad, where bases may come from; the command line adds to them.
printf 'ignored: [DL3007, SecretsUsedInArgOrEnv]\nfailure-threshold: error\noverride:\n  error: [DL3015]\ntrustedRegistries: [example.com]\n' >.hadolint.yaml
code=0 && "$CORTEN" lint >out || code=$?
equal "$code" 1 "the overridden rule is an error"
lacks "$(cat out)" DL3007
holds "$(cat out)" "DL3015 error"
holds "$(cat out)" "Dockerfile:1 DL3026 error: Use only an allowed registry in the FROM image"
"$CORTEN" lint --trusted-registry docker.io --ignore DL3015 >out || fail "nothing of the settings' level is left: $(cat out)"
printf 'ignored: {' >.hadolint.yaml
code=0 && "$CORTEN" lint 2>err >/dev/null || code=$?
equal "$code" 1 "broken settings"
holds "$(cat err)" ".hadolint.yaml:1"
rm .hadolint.yaml

printf 'override: {warning: [CT1002]}\n' >strict.yaml
lacks "$(printf 'FROM debian:12\n' | "$CORTEN" lint --no-fail -)" CT1002
holds "$(printf 'FROM debian:12\n' | "$CORTEN" lint --no-fail -c strict.yaml -)" "CT1002 warning"

# Comments; standard input; a file that cannot be built; several files.
equal "$(printf '# hadolint ignore=DL3006\nFROM debian\nUSER app\nHEALTHCHECK NONE\n' | "$CORTEN" lint -)" "" "an ignore comment"
holds "$(printf 'FROM scratch\nRUNN x\n' | "$CORTEN" lint - || true)" "DL1000 error: dockerfile parse error on line 2: unknown instruction: RUNN"
"$CORTEN" lint --no-fail Dockerfile Dockerfile | grep -c DL3007 >out
equal "$(cat out)" 2 "two files"
code=0 && "$CORTEN" lint nowhere 2>err || code=$?
equal "$code" 1 "a missing file"

# Their good example is silent.
mkdir good
: >good/.dockerignore
cat >good/Dockerfile <<'D'
# syntax=docker/dockerfile:1
FROM debian:12@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef AS build
RUN --mount=type=cache,target=/var/lib/apt --mount=type=secret,id=token \
    apt-get update && apt-get install -y --no-install-recommends gcc=4:12.2.0-3
COPY . /src

FROM debian:12@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
COPY --from=build /src/app /app
USER 1000:1000
HEALTHCHECK --interval=30s CMD ["/app", "health"]
CMD ["/app"]
D
equal "$("$CORTEN" lint good/Dockerfile)" "" "the good example"
