# A build that is interrupted or killed leaves no process, no mount and a store that the next build uses.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
mark="4$(date +%N)"
printf 'FROM base\nRUN echo one >/one\nRUN --mount=type=cache,target=/c touch /c/begun && (sleep %s & sleep %s)\n' "$mark" "$mark" >ctx/Dockerfile
alive() { # whether a process of the step lives
  for f in /proc/[0-9]*/cmdline; do
    if tr '\0' ' ' <"$f" 2>/dev/null | grep -q "sleep $mark"; then return 0; fi
  done
  return 1
}
until_alive() {
  n=0
  until alive; do
    n=$((n + 1))
    [ $n -lt 200 ] || fail "the step does not start"
    sleep 0.1
  done
}
until_dead() {
  n=0
  while alive; do
    n=$((n + 1))
    [ $n -lt 100 ] || fail "a process of the step is left"
    sleep 0.1
  done
}
for signal in INT TERM KILL; do
  "$CORTEN" build --progress plain --build-context base=bb ctx >"log.$signal" 2>&1 &
  pid=$!
  until_alive
  kill -s "$signal" "$pid"
  code=0
  wait "$pid" || code=$?
  [ "$signal" = KILL ] || equal "$code" 130 "exit code after SIG$signal"
  lacks "$(cat "log.$signal")" ">>>"
  until_dead
  if grep -q "$T/store" /proc/self/mounts; then fail "a mount is left after SIG$signal"; fi
done
sed -i '3d' ctx/Dockerfile
build ctx --build-context base=bb -o out
equal "$(cat out/one)" one "the next build"
equal "$(find store/tmp -mindepth 1)" "" "rubbish in the store"
holds "$("$CORTEN" fsck)" "is whole"
