# A store that cannot be written says so, and what to do.
if [ "$(id -u)" != 0 ]; then
  echo "only root may mount a store read-only"
  exit 0
fi
[ "${1-}" = inside ] || exec unshare -m --propagation private sh "$0" inside
. "$(dirname "$0")/lib.sh"
"$CORTEN" build $build_flags -q -t kept ctx >id 2>log || fail "$(cat log)"
mount --bind store store
mount -o remount,ro,bind store
for words in "build $build_flags ctx" "images" "prune --cache --force" "fsck"; do
  code=0
  "$CORTEN" $words >log 2>&1 || code=$?
  told_well $code "$words" log
  [ "$words" = images ] || [ $code != 0 ] || fail "$words: $(cat log)"
  [ $code = 0 ] || holds "$(cat log)" "CORTEN_STORE=DIR"
done
umount store
right_again "read-only"
