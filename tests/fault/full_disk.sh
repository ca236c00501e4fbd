# A store on a file system that is too small, in bytes and in inodes: the error names it with its sizes; with more room the same
# store gives the right image.
if [ "$(id -u)" != 0 ]; then
  echo "only root may mount a small file system"
  exit 0
fi
[ "${1-}" = inside ] || exec unshare -m --propagation private sh "$0" inside
. "$(dirname "$0")/lib.sh"
mkdir small
refused=0
with_room() { # OPTIONS THAT ARE TOO LITTLE
  mount -t tmpfs -o "$1" tmpfs small
  export CORTEN_STORE="$T/small/store"
  code=0
  "$CORTEN" build --min-free 0 $build_flags -q -t small ctx >id 2>log || code=$?
  told_well $code "$1" log
  if [ $code = 0 ]; then
    equal "$(cat id)" "$expected" "$1"
  else
    refused=$((refused + 1))
    case "$(cat log)" in
      *"database or disk is full"* | *"o space left on device"* | *"disk I/O error"*) ;;
      *) fail "$1: $(cat log)" ;;
    esac
    case "$(cat log)" in
      *"solve"*) holds "$(cat log)" "(tmpfs): " ;;
    esac
    mount -o remount,size=200m,nr_inodes=100000 small
    right_again "$1"
  fi
  umount small
}
for size in 100k 500k 1m 2m 3m 4m 5m 6m 8m 60m; do with_room "size=$size"; done
[ $refused -gt 4 ] || fail "the disks were not too small"
refused=0
for inodes in 10 25 40 60 90 130 200 5000; do with_room "size=60m,nr_inodes=$inodes"; done
[ $refused -gt 3 ] || fail "there were enough inodes"
# Some room is kept free, before anything fails.
mount -t tmpfs -o size=60m tmpfs small
if "$CORTEN" build --min-free 70MB $build_flags -t small ctx >log 2>&1; then fail "nothing stays free"; fi
holds "$(cat log)" "are to stay free"
holds "$(cat log)" "(tmpfs): "
right_again "min-free"
umount small
export CORTEN_STORE="$T/store"
