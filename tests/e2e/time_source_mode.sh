# --timestamps=source is BuildKit's behaviour: the context's times, the clock's, and no SOURCE_DATE_EPOCH of ours.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
printf 'FROM base\nCOPY f /f\nRUN echo "[$SOURCE_DATE_EPOCH]" >/epoch\n' >ctx/Dockerfile
echo f >ctx/f
touch -d '2005-05-05 05:05:05 UTC' ctx/f
build ctx --build-context base=bb --timestamps=source -o type=tar,dest=files.tar
holds "$(listing files.tar | grep ' f$')" "2005-05-05 05:05:05"
equal "$(tar -xOf files.tar epoch)" "[]" "SOURCE_DATE_EPOCH"
holds "$(listing files.tar | grep ' epoch$')" "$(TZ=UTC date +%Y-)"
