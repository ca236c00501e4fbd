# What is remembered can be seen and removed: cache ls, show, rm; prune with filters; du -v.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
cat >ctx/Dockerfile <<'END'
FROM base
RUN --mount=type=cache,id=objects,target=/c,sharing=locked,uid=1000,gid=50 echo kept >/c/file
RUN echo step-two >/two
END
build ctx --build-context base=bb -t kept
list=$("$CORTEN" cache ls)
holds "$list" objects
holds "$list" locked
holds "$list" 1000:50
id=$("$CORTEN" cache ls -q)
equal "$(echo "$id" | wc -w)" 1 "one cache mount"
show=$("$CORTEN" cache show objects)
holds "$show" "exec.cachemount"
path=$(echo "$show" | sed -n 's/^Path: *//p')
equal "$(cat "$path/file")" kept "the path of a cache mount"
holds "$("$CORTEN" cache show --format json "$id")" '"Sharing":"locked"'
holds "$("$CORTEN" du -v)" "RUN /bin/sh -c echo step-two >/two"
holds "$("$CORTEN" du -v)" "Reclaimable:  "
holds "$("$CORTEN" du --filter type=exec.cachemount)" objects
lacks "$("$CORTEN" du --filter type=exec.cachemount)" step-two
holds "$("$CORTEN" du -v --format json --filter 'description~=step-two')" '"Type":"regular"'
if "$CORTEN" cache show nothing >log 2>&1; then fail "no such record"; fi
holds "$(cat log)" "no such cache record: nothing"
for wrong in until=soon size=3 shared=maybe 'id~=(' 'id~=a++++++++++++++++++++++' 'id~=((a{999}){999}){999}' 'id~=[{]a+++++++++++++++++++++++++++' 'id~=((((aaaaaaaaaaaaaaaaaaaaaaaaa){15}){15}){15}){15}' 'id~=(a*)\1'; do
  if "$CORTEN" prune --filter "$wrong" >log 2>&1; then fail "filter $wrong"; fi
  holds "$(cat log)" "invalid"
done

# In use by a running step: it stays, and says so.
printf 'FROM base\nRUN --mount=type=cache,id=objects,target=/c,uid=1000,gid=50 echo begun && sleep 60\n' >ctx/Dockerfile
: >log.running
"$CORTEN" build --progress plain --build-context base=bb ctx >log.running 2>&1 &
running=$!
n=0
until grep -q "^#[0-9]* [0-9.]* begun" log.running; do
  n=$((n + 1))
  [ $n -lt 200 ] || fail "the step does not start: $(cat log.running)"
  sleep 0.1
done
holds "$("$CORTEN" cache ls)" yes
if "$CORTEN" cache rm objects >log 2>&1; then fail "removed while it is used"; fi
holds "$(cat log)" "in use"
"$CORTEN" prune --cache --force >/dev/null
equal "$(cat "$path/file")" kept "a mount in use stays"
kill -INT $running
wait $running || true
holds "$("$CORTEN" cache rm objects)" "Deleted: $id"
equal "$("$CORTEN" cache ls -q)" "" "after its removal"

# By age and by size. Ages are set in the index: no test waits for a day.
age() { python3 -c 'import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute("UPDATE actions SET used = used - 100000 WHERE record LIKE ?", ("%" + sys.argv[2] + "%",)); db.commit()' store/index.db "$1"; }
printf 'FROM base\nRUN echo step-two >/two\n' >ctx/Dockerfile
build ctx --build-context base=bb
printf 'FROM base\nRUN echo step-three >/three\n' >ctx/Dockerfile
build ctx --build-context base=bb
age step-two
plan=$("$CORTEN" prune --filter until=24h --dry-run -v)
holds "$plan" "step-two"
lacks "$plan" "step-three"
holds "$plan" "Total reclaimable space"
holds "$("$CORTEN" du -v)" step-two
"$CORTEN" prune --filter until=24h --force >/dev/null
lacks "$("$CORTEN" du -v)" step-two
holds "$("$CORTEN" du -v)" step-three
holds "$("$CORTEN" images)" kept
"$CORTEN" prune --filter description~=step-three --reserved-space 1TB >/dev/null
holds "$("$CORTEN" du -v)" step-three
"$CORTEN" buildx prune --force >/dev/null
lacks "$("$CORTEN" du -v)" step-three
holds "$("$CORTEN" images)" kept
"$CORTEN" builder prune --force --max-used-space 1 >/dev/null
holds "$("$CORTEN" fsck)" "is whole"
build ctx --build-context base=bb
