# Early cut-off: a step runs again, but what comes of it is what came before; then what stands on it is a hit.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
printf 'int main() {}\n' >ctx/main.c
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base AS sources
COPY main.c /src/
RUN grep -v '^//' /src/main.c >/stripped.c
FROM base
COPY --from=sources /stripped.c /
RUN --mount=type=cache,target=/c,id=cutoff echo run >>/c/compiled; cp /stripped.c /program; cp /c/compiled /runs
RUN --mount=type=bind,from=sources,source=/stripped.c,target=/in.c --mount=type=cache,target=/c,id=cutoff echo run >>/c/bound; cp /c/bound /bound
DOCKERFILE
build ctx --build-context base=bb -o out
first=$("$CORTEN" build -q --build-context base=bb ctx)
printf '// a comment\nint main() {}\n' >ctx/main.c
build ctx --build-context base=bb -o out
log=$(cat log)
# How the step ended whose name begins so: CACHED or DONE.
state() {
  number=$(printf '%s\n' "$log" | grep -F "[$1] " | head -1 | cut -d' ' -f1)
  printf '%s\n' "$log" | grep "^$number \(CACHED\|DONE\)"
}
holds "$(state 'sources 2/3')" DONE
holds "$(state 'sources 3/3')" DONE
holds "$(state 'stage-1 2/4')" CACHED
holds "$(state 'stage-1 3/4')" CACHED
holds "$(state 'stage-1 4/4')" CACHED
equal "$(wc -l <out/runs)$(wc -l <out/bound)" 11 "runs of steps whose inputs came out equal"
equal "$("$CORTEN" build -q --build-context base=bb ctx)" "$first" "the image"

# In one stage too: a RUN that makes the same layer above the same base.
cat >ctx/Dockerfile.linear <<'DOCKERFILE'
FROM base
RUN --mount=type=bind,source=main.c,target=/main.c grep -v '^//' /main.c >/stripped.c
RUN --mount=type=cache,target=/c,id=linear echo run >>/c/runs; cp /c/runs /runs
DOCKERFILE
build ctx -f ctx/Dockerfile.linear --build-context base=bb -o out
printf '// another comment\nint main() {}\n' >ctx/main.c
build ctx -f ctx/Dockerfile.linear --build-context base=bb -o out
equal "$(wc -l <out/runs)" 1 "runs of a step above an equal layer"
# And the counter-example: what differs is not cut off.
printf 'int main() { return 1; }\n' >ctx/main.c
build ctx -f ctx/Dockerfile.linear --build-context base=bb -o out
equal "$(wc -l <out/runs)" 2 "runs of a step above a changed layer"
