# A service is built, run, asked, looked at, stopped and removed, with the words that scripts use for Docker.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
RUN mkdir /www && echo page >/www/health
USER app
EXPOSE 8000
HEALTHCHECK --interval=100ms CMD wget -q -O /dev/null http://localhost:8000/health
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
DOCKERFILE
build ctx --build-context base=bb -t web

equal "$("$CORTEN" run --rm web id)" "uid=1000(app) gid=1000(app) groups=50(staff),1000(app)" "who it is"
equal "$("$CORTEN" run --rm -e A=1 -w /tmp web sh -c 'echo $A $PWD -p "$@"' sh --rm)" "1 /tmp -p --rm" "flags behind the image are the program's"
code=0; "$CORTEN" run --rm web sh -c 'exit 3' || code=$?
equal "$code" 3 "the program's exit code"
code=0; "$CORTEN" run --rm web nosuch 2>err || code=$?
equal "$code" 127 "no such program"
holds "$(cat err)" 'exec: "nosuch": executable file not found in $PATH'
code=0; "$CORTEN" run --rm nosuch 2>err || code=$?
equal "$code" 125 "no such image"
code=0; "$CORTEN" run --nosuch web 2>err || code=$?
equal "$code" 125 "no such flag"
holds "$(cat err)" "unknown flag: --nosuch"

id=$("$CORTEN" run -d --name one -p 127.0.0.1::8000 web)
equal "$("$CORTEN" wait --condition healthy --timeout 30 one)" one "healthy"
address=$("$CORTEN" port one 8000)
equal "$(/bin/busybox wget -q -O - "http://$address/health")" page "what a forwarded port answers"
equal "$("$CORTEN" exec one wget -q -O - http://localhost:8000/health)" page "what it answers inside"
equal "$(echo hi | "$CORTEN" exec -i one cat)" hi "exec with standard input"
equal "$("$CORTEN" inspect -f '{{.State.Status}} {{.State.Health.Status}} {{.Id}}' one)" "running healthy $id" "inspect"
equal "$("$CORTEN" ps --format '{{.Names}} {{.Ports}}')" "one $address->8000/tcp" "ps by template"
holds "$("$CORTEN" ps)" "(healthy)"
code=0; "$CORTEN" run -d -p "$address:80" web 2>err || code=$?
equal "$code" 125 "a port in use"
holds "$(cat err)" "port $address: already in use by container one"
code=0; "$CORTEN" rmi web 2>err || code=$?
equal "$code" 1 "an image in use"
"$CORTEN" prune -a -f >/dev/null
equal "$("$CORTEN" exec one cat /www/health)" page "prune leaves what a container stands on"
equal "$("$CORTEN" stop -t 0 one)" one "stop"
holds "$("$CORTEN" ps -a)" "Exited (137)"
"$CORTEN" rm one >/dev/null
equal "$("$CORTEN" ps -aq)" "" "nothing is left"
equal "$(ls "$CORTEN_STORE/containers")" "" "no file is left"
