# Every family of errors in a table: exit code 1, buildx's prefix, BuildKit's words, and the place with its lines.
. "$(dirname "$0")/lib.sh"

mkdir c
: >c/f
count=0
# family PLACE TEXT DOCKERFILE [FLAG...]: PLACE is the line that is marked, or - for an error that has none.
family() {
  place=$1 text=$2
  printf '%b' "$3" >c/Dockerfile
  shift 3
  code=0 && "$CORTEN" build --progress plain "$@" c >out 2>err || code=$?
  equal "$code" 1 "exit code for '$text'"
  equal "$(cat out)" "" "standard output for '$text'"
  holds "$(grep '^ERROR: ' err)" "ERROR: failed to build: failed to solve: "
  holds "$(cat err)" "$text"
  if [ "$place" != - ]; then
    holds "$(cat err)" "Dockerfile:$place"
    grep -q "^ *$place | >>> " err || fail "no excerpt for '$text': $(cat err)"
  fi
  count=$((count + 1))
}

# reading and parsing
family 1 'file with no instructions' '# x\n'
family 2 'dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)' 'FROM scratch\nRUNN x\n'
family 2 'unknown flag: --mont (did you mean mount?)' 'FROM scratch\nRUN --mont=x true\n'
family 2 'duplicate flag specified: --from' 'FROM scratch\nCOPY --from=a --from=b f /\n'
family 2 'missing a value on flag: --chown' 'FROM scratch\nCOPY --chown f /\n'
family 2 'expecting boolean value for flag --link, not: x' 'FROM scratch\nCOPY --link=x f /\n'
family 2 'EXPOSE requires at least one argument' 'FROM scratch\nEXPOSE\n'
family 2 'USER requires exactly one argument' 'FROM scratch\nUSER\n'
family 1 'FROM requires either one or three arguments' 'FROM a b\n'
family 2 'COPY requires at least two arguments, but only one was provided. Destination could not be determined' 'FROM scratch\nCOPY f\n'
family 2 "Syntax error - can't find = in \"b\". Must be of the form: name=value" 'FROM scratch\nENV a=1 b\n'
family 2 'ENV must have two arguments' 'FROM scratch\nENV a\n'
family 2 'SHELL requires the arguments to be in JSON form' 'FROM scratch\nSHELL x\n'
family 2 'unterminated heredoc' 'FROM scratch\nRUN <<E\nx\n'
family 2 'COPY cannot accept a heredoc as a destination' 'FROM scratch\nCOPY f <<E\nE\n'
family 1 "invalid escape token '.' does not match" '# escape=.\nFROM scratch\n'
family 2 'only one escape parser directive can be used' '# escape=\\\n# escape=\\\nFROM scratch\n'
family 1 'no build stage in current context' 'RUN x\n'
family 1 'invalid name for build stage: "1x"' 'FROM scratch AS 1x\n'
# stages
family 1 'dockerfile contains no stages to build' 'ARG x\n'
family - 'target stage "bild" could not be found (did you mean build?)' 'FROM scratch AS build\n' --target bild
family 2 'invalid stage index 9' 'FROM scratch\nCOPY --from=9 f /\n'
family 2 'circular dependency detected on stage: a' 'FROM scratch AS a\nCOPY --from=a f /\n'
family 2 'cannot copy from stage "b", it needs to be defined before current stage "a"' 'FROM scratch AS a\nCOPY --from=b f /\nFROM scratch AS b\n' --target a
family 2 'base name ($x) should not be blank' 'ARG x\nFROM $x\n'
family 1 'failed to parse platform' 'FROM --platform=a/b/c/d scratch\n'
# expansion
family 2 'unexpected end of statement while looking for matching double-quote' 'FROM scratch\nENV a="b\n'
family 2 'syntax error: bad substitution' 'FROM scratch\nWORKDIR ${}\n'
family 2 'unsupported modifier (:=) in substitution' 'FROM scratch\nWORKDIR ${a:=b}\n'
family 2 'x: wanted' 'FROM scratch\nWORKDIR ${x:?wanted}\n'
# copying
family 2 '"/gone": not found' 'FROM scratch\nCOPY gone /\n'
family 2 "invalid chmod parameter: '64a'" 'FROM scratch\nCOPY --chmod=64a f /\n'
family 2 "source can't be a URL for COPY" 'FROM scratch\nCOPY http://127.0.0.1/x /\n'
# running
family 2 'unsupported mount type "tmp"' 'FROM scratch\nRUN --mount=type=tmp,target=/x x\n'
family 2 'security.insecure is not allowed' 'FROM scratch\nRUN --security=insecure x\n'
# checks
family - 'lint violation found for rules: MaintainerDeprecated' '# check=error=true\nFROM scratch\nMAINTAINER x\n'
family 1 'invalid check option "foo"' '# check=foo=1\nFROM scratch\n'

[ "$count" -ge 35 ] || fail "only $count families"
