# A size limit holds while a build goes on, and a build that cannot keep it is refused with the sizes.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
for n in 1 2 3 4 5 6; do
  head -c 3000000 /dev/urandom >ctx/large
  printf 'FROM base\nCOPY large /large\nRUN cp /large /copy && echo %s >/n\n' "$n" >ctx/Dockerfile
  "$CORTEN" build --max-size 20MB --min-free 0 --progress plain --build-context base=bb -o out ctx >log 2>&1 || {
    cat log >&2
    fail "build $n"
  }
  equal "$(cat out/n)" "$n" "the result"
  bytes=$("$CORTEN" du --format json | tr ',{}' '\n' | sed -n 's/^"\(contents\|layer directories\|layer manifests\|blobs\|cache mounts\|other\)"://p' | awk '{ sum += $1 } END { print sum }')
  [ "$bytes" -le 20000000 ] || fail "build $n leaves $bytes bytes"
done
holds "$(cat log)" "of the longest unused taken away"
printf 'FROM base\nRUN dd if=/dev/urandom of=/x bs=1000000 count=40 && sleep 30\n' >ctx/Dockerfile
if "$CORTEN" build --max-size 20MB --min-free 0 --progress plain --build-context base=bb -t big ctx >log 2>&1; then fail "a limit that is passed"; fi
holds "$(cat log)" "are more than its limit of 20MB"
holds "$(cat log)" "raise the limit (--max-size"
equal "$(find store/tmp -mindepth 1)" "" "rubbish in tmp"
# The configuration says the same; a flag wins; what is no size is refused.
mkdir -p config/corten
printf 'max-size: 20MB\n' >config/corten/config.yaml
if XDG_CONFIG_HOME=$T/config "$CORTEN" build --min-free 0 --progress plain --build-context base=bb -t big ctx >log 2>&1; then fail "the configuration"; fi
holds "$(cat log)" "are more than its limit of 20MB"
sed -i 's/ && sleep 30//' ctx/Dockerfile
XDG_CONFIG_HOME=$T/config build ctx --build-context base=bb --max-size 0 --min-free 0 -t big
if "$CORTEN" build --max-size much ctx >log 2>&1; then fail "much"; fi
holds "$(cat log)" "not a size"
printf 'FROM base\nRUN echo other >/x && sleep 30\n' >ctx/Dockerfile
if "$CORTEN" build --min-free 100000GB --progress plain --build-context base=bb ctx >log 2>&1; then fail "min-free"; fi
holds "$(cat log)" "are to stay free"
