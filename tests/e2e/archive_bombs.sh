# Archives that unpack to far more than they are: refused at CORTEN_MAX_UNPACKED, by name, and nothing of them stays.
. "$(dirname "$0")/lib.sh"
export CORTEN_MAX_UNPACKED=8MB
mkdir ctx bomb
head -c 64M /dev/zero >bomb/zeros
printf 'FROM scratch\nADD bomb.tar.gz /x/\n' >bomb/Dockerfile
tar -C bomb -czf bomb.tar.gz .
tar -C bomb -cf - . | zstd -q -19 >bomb.tar.zst
# A hole takes no room in a tar that knows of it.
truncate -s 64M hole && tar -cSf hole.tar --format=pax hole
[ "$(wc -c <hole.tar)" -lt 100000 ] || fail "the hole takes room in its tar"

# refused WHERE: what was run last failed, and says where, what and how to raise it.
refused() {
  equal "$code" 1 "$1: exit code ($(cat err))"
  holds "$(cat err)" "$1: it unpacks to more than 8000000 bytes"
  holds "$(cat err)" "CORTEN_MAX_UNPACKED"
}
for archive in bomb.tar.gz bomb.tar.zst hole.tar; do
  cp "$archive" ctx/
  printf 'FROM scratch\nADD %s /x/\n' "$archive" >ctx/Dockerfile
  code=0
  "$CORTEN" build --progress plain ctx >out 2>err || code=$?
  refused "/$archive: archive"
  holds "$(cat err)" "Dockerfile:2"
  code=0
  "$CORTEN" build -q - <"$archive" >out 2>err || code=$?
  refused context
done
# An archive as its own file is no archive to unpack, and a larger limit lets it pass.
printf 'FROM scratch\nCOPY bomb.tar.gz /x/\n' >ctx/Dockerfile
build ctx -o copied
cmp copied/x/bomb.tar.gz bomb.tar.gz || fail "COPY unpacks nothing"
printf 'FROM scratch\nADD bomb.tar.gz hole.tar /x/\n' >ctx/Dockerfile
CORTEN_MAX_UNPACKED=100MB build ctx -o added
equal "$(wc -c <added/x/zeros)" "$((64 << 20))" "within the limit"
CORTEN_MAX_UNPACKED=100MB "$CORTEN" build -q -o piped - <bomb.tar.gz >/dev/null 2>err && fail "the archive is not in its context"
holds "$(cat err)" "bomb.tar.gz"
# What was built once is a hit: the limit is no part of a step.
build ctx -o added
code=0
CORTEN_MAX_UNPACKED=much "$CORTEN" build -q ctx >out 2>err || code=$?
equal "$code" 2 "no size"
holds "$(cat err)" 'CORTEN_MAX_UNPACKED="much": not a size'
