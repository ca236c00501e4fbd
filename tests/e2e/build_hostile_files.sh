# Dockerfiles that ask for too much: each gets an answer, within a gigabyte of memory and a few seconds of the processor (limits
# against hanging, not measures of speed), and the terminal never sees a control byte of theirs.
. "$(dirname "$0")/lib.sh"

mkdir c
: >c/a
# refused FILE TEXT: check and build both fail with the text, within the limits.
refused() {
  for what in --check --quiet; do
    code=0
    (
      limit_memory 1000000
      ulimit -t 60
      exec "$CORTEN" build "$what" -f "c/$1" c
    ) >out 2>err || code=$?
    equal "$code" 1 "$1 $what: exit code ($(head -c 500 err))"
    holds "$(head -c 3000 err)" "$2"
    [ "$(wc -c <err)" -lt 20000 ] || fail "$1 $what: an error of $(wc -c <err) bytes"
    # tabs and line ends only
    equal "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <err | wc -c)" 0 "$1 $what: control bytes in the error"
  done
}
# accepted FILE: the same limits, and it is a Dockerfile like any other.
accepted() {
  for what in --call=check,ignorestatus --quiet; do
    (
      limit_memory 1000000
      ulimit -t 60
      exec "$CORTEN" build "$what" -f "c/$1" c
    ) >out 2>err || fail "$1 $what: $(head -c 500 err)"
  done
}

truncate -s 1G c/huge
refused huge "longer than"
{ echo FROM scratch && printf 'ENV a=' && head -c 65536 /dev/zero | tr '\0' x && echo; } >c/line
refused line "dockerfile line greater than max allowed size of 65535"
awk 'BEGIN { print "FROM scratch AS s0"; for (i = 0; i < 10000; i++) print "FROM s" i " AS s" i + 1 }' >c/stages
refused stages "the Dockerfile has more than 10000 instructions"
awk 'BEGIN { print "FROM scratch AS s0"; for (i = 0; i < 1001; i++) print "FROM s" i " AS s" i + 1 }' >c/stages2
refused stages2 "the Dockerfile has more than 1000 stages"
awk 'BEGIN { print "FROM scratch"; for (i = 0; i < 100000; i++) print "LABEL a=b" }' >c/instructions
refused instructions "the Dockerfile has more than 10000 instructions"

# Expansion: each line doubles.
awk 'BEGIN { print "FROM scratch\nARG a=0123456789"; for (i = 0; i < 60; i++) print "ARG a=$a$a" }' >c/arg
refused arg "failed to process \"\$a\$a\": the result is longer than"
awk 'BEGIN { print "ARG a0=0123456789"; for (i = 0; i < 60; i++) print "ARG a" i + 1 "=$a" i "$a" i; print "FROM $a60" }' >c/global
refused global "the result is longer than"
awk 'BEGIN { print "FROM scratch\nENV a=aaaaaaaaaa"; for (i = 0; i < 60; i++) print "ENV a=${a//a/$a}" }' >c/replace
refused replace "the result is longer than"
awk 'BEGIN { print "FROM scratch\nENV a=\"0123456789\""; for (i = 0; i < 16; i++) print "ENV a=\"$a$a\""
  for (i = 0; i < 2000; i++) print "ENV b" i "=$a" }' >c/many
refused many "variables and history of this file take more than 64 MiB"
awk 'BEGIN { print "FROM scratch AS s0\nENV a=0123456789"; for (i = 0; i < 16; i++) print "ENV a=$a$a"
  for (i = 0; i < 300; i++) print "FROM s" i " AS s" i + 1 }' >c/inherited
refused inherited "variables and history of this file take more than 64 MiB"
awk 'BEGIN { printf "FROM scratch\nENV a="; for (i = 0; i < 5000; i++) printf "${x:-"; printf "y"; for (i = 0; i < 5000; i++) printf "}"; print "" }' >c/nested
refused nested "substitutions are nested more than 200 deep"

# Large, and nothing wrong with it.
awk 'BEGIN { print "FROM scratch AS s0\nCOPY a /"; for (i = 0; i < 400; i++) print "FROM s" i " AS s" i + 1 "\nENV a" i "=b" }' >c/deep
accepted deep
awk 'BEGIN { print "FROM scratch"; for (i = 0; i < 2000; i++) print "ENV a" i "=b" }' >c/wide
accepted wide

# Names with escape sequences and line ends.
esc=$(printf '\033')
printf 'FROM scratch AS x\nCOPY --from="%s[31mred%s]0;title\a" a /\n' "$esc" "$esc" >c/name
refused name '\x1b[31mred'
printf 'FROM scratch\nRUN%s[2J x\n' "$esc" >c/keyword
refused keyword 'unknown instruction: RUN\x1b[2J'
printf 'FROM scratch\nWORKDIR ${x:?%s[2Jgone}\n' "$esc" >c/message
refused message 'x: \x1b[2Jgone'
printf 'FROM scratch\nCOPY nope%s[5m /\n' "$esc" >c/path
code=0 && "$CORTEN" build -f c/path c 2>err || code=$?
equal "$code" 1 "a path that is not there"
equal "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <err | wc -c)" 0 "control bytes of a path"
printf 'FROM scratch\nMAINTAINER %s[2J\nENV K%s[1mEY_TOKEN=1\n' "$esc" "$esc" >c/warned
for format in text sarif; do
  "$CORTEN" build --call=check,ignorestatus,format=$format -f c/warned c >out 2>&1 || fail "a check with escape sequences"
  equal "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <out | wc -c)" 0 "control bytes in a check's $format"
done
