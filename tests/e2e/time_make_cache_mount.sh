# make over a cache mount rebuilds what changed and nothing else: an edit, a same-size edit with the old stamp, a revert, an edit
# after a failed step, a second step with another profile over the same mount.
. "$(dirname "$0")/lib.sh"
base bb make
mkdir ctx
cat >ctx/Makefile <<'MAKE'
all: $(OUT)/a $(OUT)/b
$(OUT)/a: a.src ; @echo rebuilt a; cp a.src $@; touch $@; $(AFTER)
$(OUT)/b: b.src ; @echo rebuilt b; cp b.src $@; touch $@
MAKE
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
WORKDIR /src
COPY . .
ARG AFTER=true
RUN --mount=type=cache,target=/out mkdir -p /out/debug && make OUT=/out/debug AFTER="$AFTER" && cp /out/debug/a /out/debug/b /
DOCKERFILE
echo one >ctx/a.src
echo bee >ctx/b.src
old=$(date -d '2015-01-01' +%Y%m%d%H%M.%S)
touch -t "$old" ctx/a.src ctx/b.src
rebuilt() { # what the last build's log says was rebuilt
  grep -o 'rebuilt [ab]' "$T/log" | sort | tr '\n' ' '
}
go() { build ctx --build-context base=bb -o out "$@"; }

go
equal "$(rebuilt)" "rebuilt a rebuilt b " "first build"
echo x >ctx/unrelated
go
equal "$(rebuilt)" "" "an unrelated file"
equal "$(cat out/a)" one "the object is still right"

echo two >ctx/a.src
go
equal "$(rebuilt)" "rebuilt a " "an edit"
equal "$(cat out/a)" two "after an edit"

printf 'TWO\n' >ctx/a.src
touch -t "$old" ctx/a.src
go
equal "$(rebuilt)" "rebuilt a " "an edit of equal size with an old stamp"
equal "$(cat out/a)" TWO "after it"

echo two >ctx/a.src
touch -t "$old" ctx/a.src
go --no-cache
equal "$(rebuilt)" "rebuilt a " "a revert"
equal "$(cat out/a)" two "after a revert"

# A step that fails has still seen its sources.
echo three >ctx/a.src
"$CORTEN" build --progress plain --build-context base=bb --build-arg AFTER=false ctx >log.failed 2>&1 && fail "the step should fail"
holds "$(cat log.failed)" "rebuilt a"
echo four4 >ctx/b.src
go
equal "$(cat out/a)" three "after a failed step"
equal "$(cat out/b)" four4 "an edit after a failed step"

# Another profile over the same mount, in a second step of the same build, and an edit between.
sed -i 's/^RUN.*/&\nRUN --mount=type=cache,target=\/out mkdir -p \/out\/release \&\& make OUT=\/out\/release \&\& cp \/out\/release\/a \/release-a/' ctx/Dockerfile
go
equal "$(cat out/release-a)" three "a second profile"
echo five5 >ctx/a.src
go
equal "$(cat out/a)" five5 "first profile after an edit"
equal "$(cat out/release-a)" five5 "second profile after an edit"
