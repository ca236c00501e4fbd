# What a hostile step tries, and does not get (docs/threat-model.md has the list): kernel calls and devices by tests/escape,
# and here what takes a whole build: links at mount targets and in cache mounts, other builds' secrets, lower layers.
. "$(dirname "$0")/lib.sh"
base bb
mkdir -p bb/escape ctx outside
cp "$(dirname "$CORTEN")/escape_attempts" bb/escape/attempts
echo untouched >outside/file
python3 "$(dirname "$0")/abstract_listener.py" "corten-escape-$$" >listener.out &
listener=$!
sleep 1000 &
sleeper=$!
stop() {
  kill "$listener" "$sleeper" 2>/dev/null || true
  cleanup
}
trap stop EXIT
n=0
until [ -s listener.out ]; do
  n=$((n + 1))
  [ $n -lt 200 ] || fail "the listener does not listen"
  sleep 0.05
done

# Calls, files, devices, processes. Known and told in docs/threat-model.md: before Linux 6.12 the machine's abstract sockets are open
# to a step on its network, and root may open raw and packet sockets there, as with BuildKit.
try() {
  cat >ctx/Dockerfile <<DOCKERFILE
FROM base
RUN $1 /escape/attempts $sleeper corten-escape-$$ >/result; true
DOCKERFILE
  build ctx --no-cache --build-context base=bb -o type=tar,dest=result.tar
  tar -xOf result.tar result >result
  grep -q ' escapes$' result || fail "the attempts did not come to their end: $(tail -3 result)"
  [ "$(grep -c '^held ' result)" -gt 50 ] || fail "too few attempts: $(cat result)"
}
try ''
known=nothing
if [ "$(id -u)" = 0 ]; then
  known='(packet|raw)-socket: the call succeeded$'
else
  holds "$(cat result)" 'held packet-socket'
  holds "$(cat result)" 'held raw-socket'
fi
if "$CORTEN" doctor 2>/dev/null | grep -q "reaches the machine's abstract sockets"; then known="$known|abstract-socket: the call succeeded\$"; fi
! grep '^ESCAPED' result | grep -vE "$known" || fail "a step gets out"
try '--network=none'
! grep '^ESCAPED' result | grep -vE '(packet|raw)-socket: the call succeeded$' || fail "a step without a network gets out"
kill -0 "$sleeper" || fail "a process outside was killed"

# A mount target that is a link out of the image, or goes up, is a place in the image.
mkdir -p links/image
cp -a bb/. links/image
ln -s "$T/outside" links/image/away
ln -s ../../../../../../../../../.. links/image/up
cat >ctx/Dockerfile <<DOCKERFILE
FROM image
RUN --mount=type=tmpfs,target=/away/here --mount=type=cache,id=t,target=/up$T/outside/there --mount=type=cache,id=u,target=/../..$T/outside/too \
  touch /away/here/x /up$T/outside/there/x $T/outside/too/x; echo changed >>/away/file; ln -sf /proc/1/root /loop; true
RUN echo changed >/loop/tmp/through-proc || true
DOCKERFILE
build ctx --build-context image=links/image
equal "$(ls outside)" file "names outside"
equal "$(cat outside/file)" untouched "a file outside"
[ ! -e /tmp/through-proc ] || fail "a link through /proc led outside"

# A cache mount that holds links: a later mount of what they name stays inside, and nothing is read through them.
cat >ctx/Dockerfile <<DOCKERFILE
FROM base
RUN --mount=type=cache,id=l,target=/c rm -rf /c/out /c/etc; ln -s $T/outside /c/out; ln -s /etc /c/etc; ln -s ../../../../../../../.. /c/up
DOCKERFILE
build ctx --build-context base=bb
printf 'FROM base\nRUN --mount=type=cache,id=l,target=/c,source=out echo changed >/c/file; cat /c/file\n' >ctx/Dockerfile
"$CORTEN" build --no-cache --progress plain --build-context base=bb ctx >log 2>&1 || true
equal "$(cat outside/file)" untouched "a file outside, by a link in a cache mount"
printf 'FROM base\nRUN --mount=type=cache,id=l,target=/c ls /c/up >/seen; cat /c/out/file >>/seen 2>&1 || true\n' >ctx/Dockerfile
build ctx --no-cache --build-context base=bb -o type=tar,dest=result.tar
lacks "$(tar -xOf result.tar seen)" untouched
"$CORTEN" fsck >/dev/null || fail "fsck finds damage"

# Another build's secret, while that build runs.
secret="not-for-you-$$-$(date +%s)"
printf '%s' "$secret" >secret.txt
mkdir one two
printf 'FROM base\nRUN --mount=type=secret,id=s,env=TOKEN --mount=type=secret,id=s,target=/run/secrets/s --mount=type=cache,id=meet,target=/m touch /m/up; n=0; until [ -e /m/done ]; do n=$((n+1)); [ $n -lt 1200 ] || exit 1; sleep 0.05; done\n' >one/Dockerfile
printf 'FROM base\nRUN --mount=type=cache,id=meet,target=/m n=0; until [ -e /m/up ]; do n=$((n+1)); [ $n -lt 1200 ] || exit 1; sleep 0.05; done; cat /proc/[0-9]*/environ /proc/[0-9]*/root/run/secrets/* /run/secrets/* /dev/shm/* 2>/dev/null | tr "\\0" "\\n" >/all; find / -xdev -type f -name s >>/all; touch /m/done\n' >two/Dockerfile
"$CORTEN" build --progress plain --build-context base=bb --secret id=s,src=secret.txt one >one.log 2>&1 &
first=$!
build two --build-context base=bb -o type=tar,dest=result.tar
wait "$first" || fail "the build with the secret failed: $(cat one.log)"
lacks "$(tar -xOf result.tar all)" "$secret"
if grep -rqsF "$secret" "$CORTEN_STORE"; then fail "the secret is in the store"; fi

# What a step writes over files of lower layers stays in its own.
printf 'FROM base\nRUN echo changed >/etc/passwd; chmod 777 /etc/group; ln /bin/busybox /hard; echo changed >>/hard; rm -rf /bin/ls\n' >ctx/Dockerfile
build ctx --build-context base=bb
printf 'FROM base\nRUN cat /etc/passwd >/seen; stat -c %%a /etc/group >>/seen; ls -d /bin/ls >>/seen\n' >ctx/Dockerfile
build ctx --no-cache --build-context base=bb -o type=tar,dest=result.tar
holds "$(tar -xOf result.tar seen)" root:x:0:0
holds "$(tar -xOf result.tar seen)" 644
holds "$(tar -xOf result.tar seen)" /bin/ls
"$CORTEN" fsck >/dev/null || fail "fsck finds damage after writes to lower layers"

# A setuid program of a layer is no way for other users of this machine: they cannot reach the store.
printf 'FROM base\nRUN cp /bin/busybox /suid; chmod 4755 /suid\n' >ctx/Dockerfile
build ctx --build-context base=bb
case $(stat -c %a "$CORTEN_STORE") in *00) ;; *) fail "others can enter the store: $(stat -c %a "$CORTEN_STORE")" ;; esac
