# Stores of older formats are brought up and keep what they have; newer ones are refused by name; a clock that went back
# (everything in the store is of tomorrow) changes nothing.
. "$(dirname "$0")/lib.sh"
sql() { python3 -c 'import sqlite3, sys; db = sqlite3.connect("store/index.db"); db.executescript(sys.argv[1]); db.commit(); db.close()' "$1"; }
back7="DROP TABLE absent;"
back6="ALTER TABLE blobs DROP COLUMN used; ALTER TABLE cache_mounts DROP COLUMN sharing; ALTER TABLE cache_mounts DROP COLUMN owner; DELETE FROM facts WHERE name='bytes';"
back5="ALTER TABLE diffs DROP COLUMN checkpoints; ALTER TABLE blobs DROP COLUMN recipe;"
back4="DROP TABLE lineages; DROP TABLE predecessors;"
back3="DROP TABLE indexes;"
back2="DROP TABLE facts;"
for version in 6 5 4 3 2 1; do
  "$CORTEN" build $build_flags -q -t old ctx >id 2>log || fail "$(cat log)"
  newest=$(python3 -c 'import sqlite3; print(sqlite3.connect("store/index.db").execute("PRAGMA user_version").fetchone()[0])')
  [ "$newest" = 7 ] || fail "the format is $newest: this test goes back from 7"
  steps=$back7
  for step in 6 5 4 3 2; do [ $step -gt $version ] && eval "steps=\"\$steps \$back$step\""; done
  sql "$steps PRAGMA user_version=$version;"
  rm -rf store/leases
  mkdir -p store/tmp/run-123-left
  "$CORTEN" build $build_flags ctx >log 2>&1 || fail "format $version: $(cat log)"
  holds "$(cat log)" "steps cached"
  lacks "$(cat log)" " 0 of "
  right_again "a store of format $version"
done
holds "$("$CORTEN" images)" old

sql "PRAGMA user_version=99;"
for words in "build $build_flags ctx" images "prune --force"; do
  if "$CORTEN" $words >log 2>&1; then fail "a newer store: $words"; fi
  holds "$(cat log)" "newer version"
  holds "$(cat log)" "CORTEN_STORE=DIR"
done
sql "PRAGMA user_version=7;"
right_again "the version is back"

sql "UPDATE actions SET used=used+90000, created=created+90000; UPDATE bodies SET used=used+90000; UPDATE cache_mounts SET used=used+90000; UPDATE facts SET value=value+90000 WHERE name='durable'; UPDATE builds SET started=started+90000000000000"
find store -exec touch -h -d tomorrow {} +
holds "$("$CORTEN" du -v)" "Last used"
"$CORTEN" prune --filter until=1h --force >/dev/null
"$CORTEN" build $build_flags ctx >log 2>&1 || fail "$(cat log)"
lacks "$(cat log)" " 0 of "
right_again "the clock went back"
sed -i 's/seq 1 2000/seq 1 2001/' ctx/Dockerfile
build ctx --build-context base=bb --max-size 4MB --min-free 0
settled "a limit when the clock went back"
