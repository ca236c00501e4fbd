# A context that changes while it is read: a named error, or one whole version of every file.
. "$(dirname "$0")/lib.sh"
printf 'FROM base\nCOPY src /src\n' >ctx/Dockerfile
version() { awk -v v="$1" 'BEGIN { for (i = 0; i < 150000; i++) print v }'; }
version 0 >ctx/src/large
(
  v=0
  while [ ! -e stop ]; do
    v=$((v + 1))
    version $v >next
    if [ $((v % 2)) = 0 ]; then mv next ctx/src/large; else cat next >ctx/src/large; fi
    rm -rf ctx/src/sub && mkdir ctx/src/sub && echo $v >ctx/src/sub/now
  done
) 2>/dev/null &
writer=$!
good=0 bad=0
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
  rm -rf out
  code=0
  "$CORTEN" build --progress plain --build-context base=bb -o out ctx >log 2>&1 || code=$?
  told_well $code "build $n" log
  if [ $code = 0 ]; then
    good=$((good + 1))
    # What was written in place may be met half-written, as it lay on the disk; never a mixture that never lay there.
    kinds=$(sort -u out/src/large | wc -l)
    [ "$kinds" -le 2 ] || fail "build $n: lines of $kinds versions"
  else
    bad=$((bad + 1))
    grep -q "changed while it was read\|became shorter while it was copied\|not found" log || {
      touch stop
      fail "build $n: $(cat log)"
    }
  fi
done
touch stop
wait $writer || true
rm -rf ctx
tree ctx
right_again "a context that changed ($good builds, $bad refused)"
