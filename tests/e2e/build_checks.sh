# --check and --call: where the answers go, exit codes, and the warnings of a build.
. "$(dirname "$0")/lib.sh"

mkdir c
printf 'FROM scratch AS x\nMAINTAINER me\nCMD x\n' >c/Dockerfile
code=0 && "$CORTEN" build --check c >out 2>err || code=$?
equal "$code" 1 "findings fail a check"
equal "$(head -n 1 out)" "Check complete, 2 warnings have been found!" "the first line"
equal "$(cat err)" "" "standard error"
holds "$(cat out)" "   2 | >>> MAINTAINER me"
"$CORTEN" build --call=check,ignorestatus c >/dev/null || fail "ignorestatus"
"$CORTEN" build --call=check,format=json c >json && fail "format=json keeps the exit code"
holds "$(cat json)" '"ruleName": "JSONArgsRecommended"'
"$CORTEN" build --call=check,format=sarif c >sarif && fail "format=sarif keeps the exit code"
holds "$(cat sarif)" '"version": "2.1.0"'

equal "$(printf 'FROM scratch\n' | "$CORTEN" build --check -)" "Check complete, no warnings found." "a good file"
code=0 && printf 'FROM scratch AS X\nRUNN x\n' | "$CORTEN" build --call=check,ignorestatus - >out 2>err || code=$?
equal "$code" 1 "an error is one whatever is ignored"
holds "$(cat out)" "1 warning has been found!"
holds "$(cat err)" "ERROR: dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"
code=0 && "$CORTEN" build --call=lnit c 2>err || code=$?
equal "$code" 2 "an unknown call is wrong usage"
holds "$(cat err)" "unsupported request frontend.lnit"

equal "$("$CORTEN" build --call=targets c | tail -n 1)" "x (default) " "targets"
holds "$("$CORTEN" build --call=outline c)" "TARGET: x"

# A build goes on, and says at its end what it found, with place and page; --quiet says nothing.
"$CORTEN" build --progress plain c 2>err
holds "$(cat err)" " 2 warnings found"
holds "$(cat err)" " - MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)"
holds "$(cat err)" "at Dockerfile:2, https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/"
"$CORTEN" build --quiet c 2>err >/dev/null
equal "$(cat err)" "" "--quiet"
sed -i '1i # check=error=true' c/Dockerfile
"$CORTEN" build --progress plain c 2>err && fail "error=true must fail the build"
holds "$(cat err)" "failed to solve: lint violation found for rules: MaintainerDeprecated, JSONArgsRecommended"
"$CORTEN" build -q --build-arg BUILDKIT_DOCKERFILE_CHECK=skip=all c >/dev/null || fail "the build argument replaces the line"

# A base that is not here hinders no check.
printf 'FROM no-such-image\nENV A=$PAHT\n' | "$CORTEN" build --check - >out && fail "a finding"
holds "$(cat out)" "Usage of undefined variable '\$PAHT' (did you mean \$PATH?)"

# In a CI system whose log can be folded, each step of a plain log is a group.
printf 'FROM scratch\nCOPY Dockerfile /\n' >c/plain
holds "$(GITHUB_ACTIONS=true "$CORTEN" build --progress plain -f c/plain c 2>&1)" "::group::#1 "
holds "$(GITLAB_CI=true "$CORTEN" build --progress plain -f c/plain c 2>&1)" "section_start:"
holds "$(TF_BUILD=True "$CORTEN" build --progress plain -f c/plain c 2>&1)" "##[endgroup]"
lacks "$("$CORTEN" build --progress plain -f c/plain c 2>&1)" "::group::"
