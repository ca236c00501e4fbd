# SIGKILL at random instants: the store that is left is whole, and the next build is right. 50 times, or CORTEN_KILLS.
. "$(dirname "$0")/lib.sh"
kills=${CORTEN_KILLS:-50}
seed=${CORTEN_SEED:-$(date +%N)}
echo "seed $seed" # CORTEN_SEED=... makes the same instants
delays=$(awk -v seed="$seed" -v n="$kills" 'BEGIN { srand(seed); for (i = 0; i < n; i++) printf "%.3f\n", rand() * rand() * 0.9 }')
n=0
for delay in $delays; do
  n=$((n + 1))
  "$CORTEN" build $build_flags -t killed ctx >log 2>&1 &
  pid=$!
  sleep "$delay"
  kill -KILL $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  # Who takes away is killed as well.
  if [ $((n % 4)) = 0 ]; then
    "$CORTEN" prune --all --cache --force >log 2>&1 &
    pid=$!
    sleep "$(awk -v d="$delay" 'BEGIN { print d / 9 }')"
    kill -KILL $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    settled "a killed prune after $n (seed $seed)" 2>/dev/null || fail "a killed prune after $n (seed $seed)"
  fi
  if [ $((n % 5)) = 0 ]; then
    right_again "kill $n after $delay s (seed $seed)"
    # From the start, or from the middle, in turns.
    if [ $((n % 10)) = 0 ]; then "$CORTEN" prune --all --cache --force >/dev/null; else "$CORTEN" prune --all --cache --filter 'description~=result|^image' --force >/dev/null; fi
  fi
done
right_again "after $n kills (seed $seed)"
