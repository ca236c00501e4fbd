# The time of a layer: one second after the newest entry beneath it; times that are set stay; what a RUN sees is what is exported.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base AS made
RUN echo x >/run-file && touch -d '2003-03-03 03:03:03' /set-time && stat -c %Y /run-file >/seen; echo $SOURCE_DATE_EPOCH >/epoch
RUN stat -c %Y /run-file >/seen-later
ADD old.tar /added
COPY --from=made /set-time /kept
COPY --link page /link/page
COPY page /page
DOCKERFILE
echo page >ctx/page
mkdir arch
echo old >arch/old.txt
touch -d '2002-02-02 02:02:02 UTC' arch/old.txt
tar -C arch -cf ctx/old.tar old.txt
sed -i 's/--from=made \/set-time \/kept/--from=helper \/set-time \/kept/; 1s/^/FROM base AS helper\nRUN touch -d "2004-04-04 04:04:04" \/set-time\n/' ctx/Dockerfile
build ctx --build-context base=bb -o type=oci,dest=image.tar -o type=tar,dest=files.tar
files=$(listing files.tar)
run_time=$(tar -xOf files.tar epoch)
equal "$(tar -xOf files.tar seen-later)" "$run_time" "what a later step sees"
stamp() { echo "$files" | awk -v name="$1" '$NF == name {print $4 " " $5}'; }
equal "$(stamp run-file)" "$(TZ=UTC date -d "@$run_time" '+%Y-%m-%d %H:%M:%S')" "what is exported"
holds "$(stamp set-time)" "2003-03-03 03:03:03"
holds "$(stamp added/old.txt)" "2002-02-02 02:02:02"
holds "$(stamp kept)" "2004-04-04 04:04:04"
holds "$(stamp link/page)" "2000-01-01 00:00:00"

# A changed page of equal size has another time in the image, above the last RUN.
before=$(stamp page)
echo PAGE >ctx/page
build ctx --build-context base=bb -o type=tar,dest=files.tar
files=$(listing files.tar)
differ "$(stamp page)" "$before" "time of a changed page"

# SOURCE_DATE_EPOCH is the image's time; rewrite-timestamp brings all down to it.
SOURCE_DATE_EPOCH=1000000000 "$CORTEN" build -q --build-context base=bb -t epoch -o type=oci,dest=epoch.tar,rewrite-timestamp=true ctx >/dev/null
holds "$("$CORTEN" inspect epoch)" '"Created": "2001-09-09T01:46:40Z"'
