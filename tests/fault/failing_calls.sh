# The N-th call of a kind fails, for every N until none does (strace injects it, into a static program too, and follows forks;
# it counts in each thread by itself). A message says what, the store is whole, the next build is right.
# CORTEN_EVERY=1 tries every N; else N grows by a half each time, so that CI has time.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || {
  echo "only root's helpers keep their privileges while they are traced"
  exit 0
}
command -v strace >/dev/null || fail "strace is needed"
every=${CORTEN_EVERY:-0}
kinds=${CORTEN_KINDS:-"write:ENOSPC pwrite64:EIO rename,renameat,renameat2:EIO fsync,fdatasync,syncfs:EIO link,linkat,symlink,symlinkat:ENOSPC mkdir,mkdirat:ENOSPC
openat,openat2:EMFILE mount,move_mount,fsmount,fsconfig,open_tree:EPERM clone,clone3,fork,vfork:EAGAIN flock:ENOLCK ftruncate,fallocate:ENOSPC copy_file_range,ioctl:EIO"}
tried=0 refused=0
for kind in $kinds; do
  calls=${kind%:*} error=${kind#*:}
  n=1
  while :; do
    rm -rf trace
    "$CORTEN" prune --all --cache --force >/dev/null
    code=0
    timeout 120 strace -f --seccomp-bpf -qq -o trace -e "trace=$calls" -e "inject=$calls:error=$error:when=$n" "$CORTEN" build $build_flags -q -t disturbed ctx >id 2>log || code=$?
    grep -q INJECTED trace || break
    tried=$((tried + 1))
    what="$calls number $n fails with $error"
    # The message itself may be what cannot be written.
    grep -q 'write([12],.*INJECTED' trace || told_well $code "$what" log
    [ $code = 0 ] && equal "$(cat id)" "$expected" "$what, and the build goes on"
    [ $code = 0 ] || { refused=$((refused + 1)); grep -h "^ERROR\|^hint" log | sed "s/^/  /" ; }
    right_again "$what"
    if [ "$every" = 1 ]; then n=$((n + 1)); else n=$((n + n / 2 + 1)); fi
  done
  [ $n -gt 1 ] || echo "no call of $calls"
done
echo "$tried failures, $refused refused builds"
[ $tried -gt 0 ] || fail "nothing was disturbed"
