# Mounts of RUN: secrets stay out of everything, caches stay, binds are read-only.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
echo data >ctx/data
secret="very-secret-$$"
printf '%s' "$secret" >token
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
RUN --mount=type=secret,id=token [ -s /run/secrets/token ] && stat -c %a /run/secrets/token >/mode
RUN --mount=type=secret,id=token,env=TOKEN [ -n "$TOKEN" ] && [ ! -e /run/secrets/token ]
RUN --mount=type=bind,target=/ctx cat /ctx/data >/bound && ! touch /ctx/data 2>/dev/null
RUN --mount=type=bind,target=/ctx,rw echo changed >/ctx/data
RUN --mount=type=tmpfs,target=/t,size=1m touch /t/x && ! dd if=/dev/zero of=/t/big bs=1M count=2 2>/dev/null
RUN --mount=type=cache,target=/cache echo $(($(cat /cache/n 2>/dev/null || echo 0) + 1)) >/cache/n && cp /cache/n /count
RUN ls -A /run >/left; ls / >/rootlist
DOCKERFILE
build ctx --build-context base=bb --secret id=token,src=token -t m -o type=tar,dest=files.tar -o type=oci,dest=image.tar
equal "$(tar -xOf files.tar mode)" 400 "mode of a secret"
equal "$(tar -xOf files.tar bound)" data "a bind"
equal "$(cat ctx/data)" data "the context is never written to"
equal "$(tar -xOf files.tar count)" 1 "a cache"
equal "$(tar -xOf files.tar left)" "" "what a mount leaves behind"
lacks "$(tar -xOf files.tar rootlist)" cache
build ctx --build-context base=bb --secret id=token,src=token --no-cache -o type=tar,dest=files.tar
equal "$(tar -xOf files.tar count)" 2 "a cache the next time"
if grep -rqF "$secret" "$CORTEN_STORE" image.tar "$T/log"; then fail "the secret is somewhere"; fi
"$CORTEN" history --no-trunc m >history
if grep -qF "$secret" history; then fail "the secret is in the history"; fi

# A sandbox that cannot be made is an error, not a wait; a small limit of open files is the step's, not ours.
printf 'FROM base\nRUN --mount=type=tmpfs,target=/bin/busybox/x true\n' >ctx/Dockerfile
if timeout 60 "$CORTEN" build -q --build-context base=bb ctx >log 2>&1; then fail "a mount below a file"; else [ $? = 1 ] || fail "a mount below a file: $(cat log)"; fi
printf 'FROM base\nRUN ulimit -n >/n\n' >ctx/Dockerfile
timeout 60 "$CORTEN" build -q --build-context base=bb --ulimit nofile=32 -o type=tar,dest=files.tar ctx >log 2>&1 || { cat log >&2; fail "32 open files"; }
equal "$(tar -xOf files.tar n)" 32 "the limit of open files"
