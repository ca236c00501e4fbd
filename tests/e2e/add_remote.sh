# ADD of http files, contexts by address, and servers that lie.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/serve.sh"
base bb
files="$T/www/files"
echo one >"$files/one"
touch -d '2001-02-03 04:05:06 UTC' "$files/one"
mkdir ctx && echo local >ctx/local
tar -C ctx -czf "$files/archive.tar.gz" local
sum=$(sha256sum "$files/one" | cut -d' ' -f1)
cat >ctx/Dockerfile <<DOCKERFILE
FROM base
ADD $URL/files/one /dir/
ADD --chmod=755 --chown=1000:1000 $URL/files/one /named
ADD --checksum=sha256:$sum $URL/files/one /checked
ADD $URL/files/archive.tar.gz /packed/
ADD --unpack=true $URL/files/archive.tar.gz /unpacked/
ADD $URL/redirect/3 local $URL/notime /many/
DOCKERFILE
build ctx --build-context base=bb -o type=tar,dest=out.tar -t added
holds "$(listing out.tar | grep ' dir/one')" "-rw------- 0/0"
holds "$(listing out.tar | grep ' dir/one')" "2001-02-03 04:05:06"
holds "$(listing out.tar | grep ' named')" "-rwxr-xr-x 1000/1000"
equal "$(tar -xOf out.tar checked)" one "--checksum"
lacks "$(listing out.tar | grep ' checked')" "2001-02-03 04:05:06"
tar -tf out.tar | grep -qx packed/archive.tar.gz || fail "an archive is not unpacked"
equal "$(tar -xOf out.tar unpacked/local)" local "--unpack"
equal "$(tar -xOf out.tar many/3)" one "redirects, and the name of the address as written"
equal "$(tar -xOf out.tar many/local)" local "beside a file of the context"
equal "$(tar -xOf out.tar many/notime)" "no time" "a server without times"
holds "$("$CORTEN" history --no-trunc added 2>/dev/null || "$CORTEN" history added)" "ADD"

# Nothing changed: asked once for each address, nothing is sent again; a changed file is a new layer.
before=$(requests)
build ctx --build-context base=bb
holds "$(tail -n 1 log)" "7 of 7 steps cached"
again=$(sed "1,${before}d" requests)
equal "$(echo "$again" | grep -c '/files/one 304')" 2 "revalidations of two addresses"
lacks "$again" "/files/one 200"
equal "$(echo "$again" | grep -c archive)" 1 "one address, one question"
echo two >"$files/one"
"$CORTEN" build -q --build-context base=bb -o type=tar,dest=out.tar ctx >/dev/null
equal "$(tar -xOf out.tar dir/one)" two "a changed file"
equal "$(tar -xOf out.tar checked)" one "a checksum that the store has needs no network"
(CORTEN_STORE="$T/other" "$CORTEN" build --progress plain --build-context base=bb ctx >log 2>&1) && fail "a changed file with a checksum"
holds "$(cat log)" "digest mismatch for $URL/files/one: sha256:$(sha256sum "$files/one" | cut -d' ' -f1) (expected: sha256:$sum)"
CORTEN_STORE="$T/other" "$CORTEN" prune --everything --force >/dev/null

refused() { # LINE...: a Dockerfile that must fail
  printf 'FROM base\n%s\n' "$@" >Dockerfile
  said=$(timeout 100 "$CORTEN" build --progress plain --build-context base=bb - <Dockerfile 2>&1) && fail "$* should fail"
  lacks "$said" "$(printf '\033')"
  return 0
}
refused "ADD $URL/files/missing /x"
holds "$said" "invalid response status 404"
holds "$said" "Dockerfile:2"
refused "ADD $URL/redirect/50 /x"
holds "$said" "more than 10 redirects"
refused "ADD $URL/lies /x"
holds "$said" "cut short"
CORTEN_MAX_DOWNLOAD=8MB
export CORTEN_MAX_DOWNLOAD
refused "ADD $URL/endless /x"
holds "$said" "more than 8000000 bytes"
holds "$said" "CORTEN_MAX_DOWNLOAD"
unset CORTEN_MAX_DOWNLOAD
refused "ADD http://127.0.0.1:1/x /x"
holds "$said" "127.0.0.1:1"
refused "ADD --checksum=sha256:abc $URL/files/one /x"
holds "$said" "invalid checksum digest length"
refused "ADD --checksum=md5:abc $URL/files/one /x"
holds "$said" "unsupported digest algorithm"
refused "ADD --checksum=sha256:$sum $URL/files/one $URL/notime /x/"
holds "$said" "checksum can't be specified for multiple sources"
refused "ADD --checksum=sha256:$sum local /x"
holds "$said" "checksum requires HTTP(S) or Git sources"
refused "COPY $URL/files/one /x"
holds "$said" "source can't be a URL for COPY"
# What later steps need is fetched from the start on.
printf 'FROM base\nADD %s/meet/a /a\nADD %s/meet/b /b\n' "$URL" "$URL" >Dockerfile
"$CORTEN" build -q --build-context base=bb -o met - <Dockerfile >/dev/null || fail "one address after the other"
equal "$(cat met/a met/b | tr '\n' ' ')" "met met " "two addresses at once"

# Ctrl-C while a server stalls: over at once, here in ADD and in a context.
printf 'FROM base\nADD %s/stall /x\n' "$URL" >Dockerfile
for how in - "$URL/stall"; do
  before=$(requests)
  "$CORTEN" build --progress plain --build-context base=bb "$how" <Dockerfile >log 2>&1 &
  build=$!
  while [ "$(requests)" = "$before" ]; do sleep 0.1; done
  kill -INT $build
  code=0
  wait $build || code=$?
  equal "$code" 130 "exit code after Ctrl-C with $how"
done

# A name with a line end or an escape is none.
printf 'FROM base\nADD %s/files/x%%0Ay%%1b%%5b31m /dir/\n' "$URL" >Dockerfile
mkdir -p "$files" && printf odd >"$files/x%0Ay%1b%5b31m"
"$CORTEN" build -q --build-context base=bb -o odd - <Dockerfile >/dev/null
equal "$(cat odd/dir/download)" odd "a name with control characters"

# Contexts by address: an archive, a Dockerfile, a Dockerfile beside a context; named ones are a file "context".
printf 'FROM base\nCOPY local /\n' >ctx/Dockerfile
printf 'local\n' >ctx/.dockerignore
tar -C ctx -cJf "$files/ctx.tar.xz" .
"$CORTEN" build -q --build-context base=bb -o byurl "$URL/files/ctx.tar.xz" >/dev/null
equal "$(cat byurl/local)" local "an archive as context"
printf 'FROM base\nCOPY context /itself\n' >"$files/Dockerfile.txt"
"$CORTEN" build -q --build-context base=bb -o single "$URL/files/Dockerfile.txt" >/dev/null
cmp single/itself "$files/Dockerfile.txt" || fail "a Dockerfile as context"
"$CORTEN" build -q --build-context base=bb -f "$URL/files/Dockerfile.txt" ctx >/dev/null 2>&1 && fail "context is no file of ctx"
printf 'FROM base\nCOPY Dockerfile /d\n' >"$files/df"
"$CORTEN" build -q --build-context base=bb -f "$URL/files/df" -o byfile ctx >/dev/null
cmp byfile/d ctx/Dockerfile || fail "-f URL"
printf 'FROM base\nCOPY --from=page context /page\n' >Dockerfile
"$CORTEN" build -q --build-context base=bb --build-context "page=$URL/files/one" -o named - <Dockerfile >/dev/null
equal "$(cat named/page)" two "a named context"
# Named contexts that nobody uses are not fetched.
printf 'FROM base\n' >Dockerfile
"$CORTEN" build -q --build-context base=bb --build-context "page=http://127.0.0.1:1/x" - <Dockerfile >/dev/null || fail "an unused context"
# One name in all its spellings; not scratch, not context; no name that cannot be an image's.
printf 'FROM page:latest AS x\nCOPY --from=docker.io/library/page local /again\n' >Dockerfile
"$CORTEN" build -q --build-context page=ctx -o spelled - <Dockerfile >/dev/null 2>log && fail "the ignore file hides it: $(cat log)"
"$CORTEN" build -q --build-context docker.io/library/page:latest=ctx -o spelled - >/dev/null <<DOCKERFILE
FROM page AS x
COPY --from=page:latest Dockerfile /again
DOCKERFILE
cmp spelled/again ctx/Dockerfile || fail "spellings of a context's name"
printf 'FROM scratch\nCOPY Dockerfile /d\n' >ctx/Dockerfile
"$CORTEN" build -q --build-context scratch=ctx -o scratched ctx >/dev/null
equal "$(ls scratched)" d "scratch is scratch"
code=0
"$CORTEN" build -q --build-context 'Bad Name=ctx' ctx >/dev/null 2>log || code=$?
equal "$code" 2 "a name that cannot be"
holds "$(cat log)" "invalid context name Bad Name"
printf 'FROM base\nCOPY local /\n' >ctx/Dockerfile

# On standard input -f counts, the archive's ignore file does not (nor does it with buildx).
printf 'FROM base\nCOPY . /all/\n' >ctx/other.Dockerfile
tar -C ctx -cf - . | "$CORTEN" build -q --build-context base=bb -f other.Dockerfile -o bytar - >/dev/null
[ -e bytar/all/local ] || fail "the ignore file of a tar"
# A directory named as a context obeys its own ignore file.
printf 'FROM base\nCOPY --from=here . /here/\n' >Dockerfile
"$CORTEN" build -q --build-context base=bb --build-context here=ctx -o bydir - <Dockerfile >/dev/null
[ -e bydir/here/Dockerfile ] && [ ! -e bydir/here/local ] || fail "the ignore file of a named context"
