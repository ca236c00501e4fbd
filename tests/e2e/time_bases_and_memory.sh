# What a cache mount remembers changes no layer; it sees edits in an image that Corten built and another build stands on; and a
# stage without a RUN between hides no entry of the base from the time of the layers above.
. "$(dirname "$0")/lib.sh"
base bb
mkdir -p ctx/src
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
COPY src /src
RUN --mount=type=cache,target=/c touch /c/x; chmod 700 /src/a; cp -p /src/a /copy
DOCKERFILE
echo one >ctx/src/a
build ctx --build-context base=bb
echo two >ctx/src/a
remembered=$("$CORTEN" build -q --build-context base=bb ctx)
fresh=$(CORTEN_STORE="$T/other" "$CORTEN" build -q --build-context base=bb ctx)
CORTEN_STORE="$T/other" "$CORTEN" prune --everything --force >/dev/null
equal "$remembered" "$fresh" "the image over a mount that remembers, and over an empty one"

printf 'FROM base\nCOPY src /src\nRUN true\n' >ctx/Dockerfile
printf 'FROM lower\nRUN --mount=type=cache,target=/o [ /o/a -nt /src/a ] || cp /src/a /o/a; cp /o/a /a\n' >upper.Dockerfile
for content in three four; do
  echo $content >ctx/src/a
  build ctx --build-context base=bb -t lower
  build ctx -f upper.Dockerfile -o out
  equal "$(cat out/a)" $content "an object made from a file of the image below"
done

printf 'FROM base\nRUN touch -d "2024-06-01 00:00:00" /x\n' >ctx/Dockerfile
SOURCE_DATE_EPOCH=1500000000 "$CORTEN" build -q --build-context base=bb -t early ctx >/dev/null
printf 'FROM early AS named\nENV a=b\nFROM named\nRUN touch /y; [ /y -nt /x ]; echo $? >/newer; touch /z\nRUN [ /z -nt /x ]\n' >ctx/Dockerfile
build ctx
