# Twenty builds at once in one store: all are right, and no step ran twice.
. "$(dirname "$0")/lib.sh"
n=0
pids=
while [ $n -lt 20 ]; do
  n=$((n + 1))
  "$CORTEN" build $build_flags -q -t "image$n" ctx >"id.$n" 2>"log.$n" &
  pids="$pids $!"
done
n=0
for pid in $pids; do
  n=$((n + 1))
  wait "$pid" || fail "build $n: $(cat "log.$n")"
  equal "$(cat "id.$n")" "$expected" "build $n"
done
mount=$("$CORTEN" cache show --format json "$("$CORTEN" cache ls -q)" | sed 's/.*"Path":"\([^"]*\)".*/\1/')
equal "$(wc -l <"$mount/all")" 8 "lines of a step that ran once"
right_again "twenty builds"
