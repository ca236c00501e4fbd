# What every fault test has: a build to be disturbed, and what must be true afterwards.
. "$(dirname "$0")/../e2e/lib.sh"
base bb
mark="6$(date +%N)" # how a process of a step is known
tree() {            # DIRECTORY: the context; always the same bytes
  mkdir -p "$1/src/sub"
  for n in 1 2 3 4 5 6 7 8; do echo "file $n" >"$1/src/sub/$n"; done
  seq 1 60000 >"$1/src/large"
  cat >"$1/Dockerfile" <<END
FROM base AS one
COPY src /src
RUN --mount=type=cache,target=/cache : $mark; cat /src/sub/* >>/cache/all && cp /src/large /large && cat /src/sub/* >/made
FROM base AS two
RUN : $mark; mkdir -p /d && seq 1 2000 >/d/seq && ln /d/seq /d/again
FROM one
COPY --from=two /d /d
RUN cat /made /d/seq >/result
END
}
build_flags="--progress plain --build-context base=bb"
tree ctx
# The digest, from a store that nobody disturbed.
expected=$(CORTEN_STORE=$T/calm "$CORTEN" build $build_flags -q ctx 2>log) || fail "the calm build: $(cat log)"
CORTEN_STORE=$T/calm "$CORTEN" prune --everything --force >/dev/null

step_lives() {
  for f in /proc/[0-9]*/cmdline; do
    if tr '\0' ' ' <"$f" 2>/dev/null | grep -q "[:] $mark"; then return 0; fi
  done 2>/dev/null
  return 1
}
# No process, no mount, nothing half made; fsck finds nothing; the next build gives the same image.
settled() { # WHAT
  waited=0
  while step_lives; do
    waited=$((waited + 1))
    [ $waited -lt 100 ] || fail "$1: a process of a step is left"
    sleep 0.05
  done
  if grep -q "$CORTEN_STORE" /proc/self/mounts; then fail "$1: a mount is left"; fi
  told=$("$CORTEN" fsck 2>&1) || fail "$1: fsck says: $told"
  holds "$told" "is whole"
  equal "$(find "$CORTEN_STORE/tmp" -mindepth 1)" "" "$1: rubbish in tmp"
}
right_again() { # WHAT
  settled "$1"
  id=$("$CORTEN" build $build_flags -q -t again ctx 2>log) || fail "$1: the next build: $(cat log)"
  equal "$id" "$expected" "$1: the next build"
  settled "$1, after the next build"
  equal "$(find "$CORTEN_STORE/leases" -type f ! -name gate ! -name collector)" "" "$1: leases"
}
# An error says what, never dies of a signal of its own.
told_well() { # CODE WHAT LOG
  case "$1" in
    0 | 1 | 2 | 125 | 126 | 127 | 130) ;;
    *) fail "$2: exit code $1: $(cat "$3")" ;;
  esac
  [ "$1" = 0 ] || grep -q "ERROR: " "$3" || fail "$2: no message: $(cat "$3")"
}
