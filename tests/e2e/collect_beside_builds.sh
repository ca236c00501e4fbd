# Builds go on while others take away all that may go: every build is right, and the store is whole.
. "$(dirname "$0")/lib.sh"
base bb
limit=14MB
context() { # DIRECTORY NUMBER: what changes and what stays the same in every round
  mkdir -p "$1/src"
  printf 'shared\n' >"$1/src/same"
  echo "$2" >"$1/src/changed"
  head -c 300000 /dev/zero | tr '\0' "$(printf '%s' "$2" | tail -c 1)" >"$1/src/large"
  cat >"$1/Dockerfile" <<'END'
FROM base AS one
COPY src/same /same
RUN --mount=type=cache,target=/c cat /same >>/c/log && cp /same /made
FROM one AS two
COPY src /src
RUN cat /src/changed /made >/result && cp /src/large /large
FROM base
COPY --from=two /result /large /out/
COPY --from=one /made /out/
RUN cat /out/result >/again
END
}
builder() { # NAME ROUNDS FLAGS...
  name=$1 rounds=$2
  shift 2
  n=0
  while [ $n -lt "$rounds" ]; do
    n=$((n + 1))
    context "ctx.$name" "$name$((n % 3))"
    rm -rf "out.$name"
    "$CORTEN" build --progress plain --build-context base=bb "$@" -o "out.$name" "ctx.$name" >"log.$name" 2>&1 || {
      echo "build $n of $name" >"failed.$name"
      return
    }
    [ "$(cat "out.$name/again")" = "$name$((n % 3))
shared" ] && cmp -s "out.$name/out/large" "ctx.$name/src/large" || {
      echo "result $n of $name" >"failed.$name"
      return
    }
  done
}
build_all() {
  builder a 8 --max-size "$limit" --min-free 0 &
  one=$!
  builder b 8 --max-size "$limit" --min-free 0 &
  two=$!
  builder c 8 -t name:c &
  three=$!
  while kill -0 $one 2>/dev/null || kill -0 $two 2>/dev/null || kill -0 $three 2>/dev/null; do
    "$CORTEN" prune --cache --force >prune.log 2>&1 || {
      cat prune.log >failed.prune
      break
    }
  done
  wait $one $two $three
}
build_all
for f in failed.*; do
  [ -e "$f" ] || continue
  cat "$f" "log.${f#failed.}" >&2 || true
  fail "$(cat "$f")"
done
holds "$("$CORTEN" fsck)" "is whole"
equal "$(find store/tmp -mindepth 1)" "" "rubbish in tmp"
equal "$(find store/leases -type f ! -name gate ! -name collector)" "" "leases of commands that are done"
"$CORTEN" prune --all --cache --force >/dev/null
equal "$(find store/contents store/layers store/dirs store/blobs -type f)" "" "what is left when all may go"
