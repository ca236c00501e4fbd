# A tree that changes from build to build stands on its earlier version (delta lowers): each RUN above sees, and each image
# has, exactly what a store that never saw another version gives.
. "$(dirname "$0")/lib.sh"
base bb
# The base has some of the paths that the tree has, so that what goes away shows what lies beneath.
mkdir -p bb/src/both ctx/src/sub/deep ctx/src/both
echo below >bb/src/both/hidden
echo below >bb/src/f7
i=0
while [ $i -lt 60 ]; do
  echo "file $i" >ctx/src/f$i
  echo "deep $i" >ctx/src/sub/deep/d$i
  i=$((i + 1))
done
echo over >ctx/src/both/hidden
ln ctx/src/f1 ctx/src/f1-too
printf 'FROM base\nCOPY src /src\nRUN find /src -exec stat -c "%%n %%f %%u %%s %%h %%Y" {} + | grep -v "^/src/*[^ ]* 4" | sort >/seen; find /src -type f | sort | xargs cat | sha256sum >>/seen; rm -rf /src/sub/deep/d3 /src/f9; mkdir /src/f9; echo new >/src/f9/x\n' >ctx/Dockerfile

check() {
  build ctx --build-context base=bb -t tree
  id=$("$CORTEN" inspect --format '{{.Id}}' tree)
  CORTEN_STORE="$T/fresh" "$CORTEN" build -q --build-context base=bb ctx >fresh.id
  CORTEN_STORE="$T/fresh" "$CORTEN" prune --everything --force >/dev/null
  equal "$id" "$(cat fresh.id)" "$1"
}

check "the first version"
echo edited >ctx/src/f5
check "an edited file"
[ -n "$(find "$CORTEN_STORE/dirs" -maxdepth 2 -name '*.delta' | head -1)" ] || fail "the changed tree has a directory of its own"
rm ctx/src/f20 ctx/src/sub/deep/d20
check "files that went"
rm ctx/src/f7
check "a file that went, and lies in the base too"
rm -r ctx/src/both
check "a directory that went, and lies in the base too"
echo back >ctx/src/f7
chmod 600 ctx/src/f8
check "a file that came back, and a mode"
rm ctx/src/f1-too
check "one of two names"
ln -s f2 ctx/src/link
rm ctx/src/f30
mkdir ctx/src/f30
echo inside >ctx/src/f30/x
check "a file that became a directory"
rm -r ctx/src/f30
echo file >ctx/src/f30
check "a directory that became a file"
whole_directories() { find "$CORTEN_STORE/dirs" -path '*/src/sub/deep/d1' ! -path '*.delta/*' | wc -l; }
before=$(whole_directories)
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  echo "edit $n" >ctx/src/f40
  build ctx --build-context base=bb -t tree
done
equal "$(whole_directories)" "$before" "twenty edits made the directory anew"
echo "the last edit" >ctx/src/f40
check "the last of many edits"
