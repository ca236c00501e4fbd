# Contexts, Dockerfiles and outputs in all their forms.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
printf 'FROM base\nCOPY a.txt /\n' >ctx/Dockerfile
echo a >ctx/a.txt
build ctx --build-context base=bb --iidfile one.id -t name:1 -t other/name:2
equal "$("$CORTEN" images -q --no-trunc name:1)" "$(cat one.id)" "-t"
equal "$("$CORTEN" images -q --no-trunc other/name:2)" "$(cat one.id)" "a second -t"
tar -C ctx -cf - . | "$CORTEN" build -q --build-context base=bb - >two.id
equal "$(cat two.id)" "$(cat one.id)" "a tar on standard input"
tar -C ctx -czf - . | "$CORTEN" build -q --build-context base=bb - >two.id
equal "$(cat two.id)" "$(cat one.id)" "a compressed tar on standard input"
"$CORTEN" build -q --build-context base=bb -f - ctx <ctx/Dockerfile >three.id
equal "$(cat three.id)" "$(cat one.id)" "a Dockerfile on standard input"
printf 'FROM base\nRUN echo x >/x\n' | "$CORTEN" build -q --build-context base=bb - >four.id
"$CORTEN" buildx build -q --build-context base=bb ctx >five.id
equal "$(cat five.id)" "$(cat one.id)" "buildx build"
equal "$("$CORTEN" buildx create --use --name mine 2>/dev/null)" mine "buildx create"
"$CORTEN" buildx inspect --bootstrap >/dev/null 2>&1 || fail "buildx inspect"
"$CORTEN" build -q --build-context base=bb -o dir ctx >/dev/null
equal "$(cat dir/a.txt)" a "-o DIR"
"$CORTEN" build -q --build-context base=bb -o - ctx 2>/dev/null | tar -tf - >names
grep -qx 'a.txt' names || fail "-o -"
build ctx --build-context base=bb -t name:1 --metadata-file meta.json --output type=docker,dest=docker.tar --label k=v
holds "$(cat meta.json)" '"containerimage.config.digest"'
holds "$("$CORTEN" inspect name:1)" '"k": "v"'
"$CORTEN" build --progress rawjson --build-context base=bb --no-cache ctx 2>raw >/dev/null
grep -q '"vertexes"' raw || fail "rawjson"
BUILDKIT_PROGRESS=plain "$CORTEN" build --build-context base=bb ctx 2>plain
grep -q '^#1 \[1/2\] FROM base' plain || fail "BUILDKIT_PROGRESS"

# `--flag=$UNSET` in scripts is the default, as with buildx.
build ctx --target= --platform= --output= --network= --progress= --file= --iidfile= --metadata-file= --cache-from= --cache-to= --ssh= \
  --call= --no-cache-filter= --build-context base=bb -t name:1 --label k=v
lacks "$(cat log)" WARNING
"$CORTEN" build -q --target nowhere -f none --target "" -f ctx/Dockerfile --build-context base=bb ctx >/dev/null || fail "of two the last counts"
"$CORTEN" build -q --build-context base=bb ctx ctx >log 2>&1 && fail "two contexts"
equal "$("$CORTEN" run --rm name:1 echo --user=)" "--user=" "words of a program stay"
# A host's name and address are words, the address is one.
code=0
for host in a a:no "a b:10.0.0.1" "a:10.0.0.1
10.0.0.2 b" "a
10.0.0.2 b:10.0.0.1" :10.0.0.1; do
  "$CORTEN" build -q --build-context base=bb --add-host "$host" ctx >log 2>&1 || code=$?
  equal "$code" 2 "--add-host $host"
  holds "$(cat log)" "invalid host"
  code=0
done
"$CORTEN" build -q --build-context base=bb --add-host 'six:[::1]' --add-host six=::1 --add-host g:host-gateway ctx >/dev/null
"$CORTEN" build -q --build-context base=bb --secret type=vault,id=a.txt ctx >log 2>&1 && fail "an unknown type of secret"
holds "$(cat log)" "unsupported secret type"

# What is saved is loaded again as the same image; layouts and images of the store are bases.
"$CORTEN" save -o saved.tar name:1
id=$("$CORTEN" images -q --no-trunc name:1)
"$CORTEN" rmi -f name:1 other/name:2 >/dev/null
"$CORTEN" load -i saved.tar >/dev/null
equal "$("$CORTEN" images -q --no-trunc name:1)" "$id" "save and load"
"$CORTEN" save --format oci-dir -o layout name:1
printf 'FROM name:1\nRUN cat /a.txt >/copy\n' | "$CORTEN" build -q - >from-store.id
printf 'FROM elsewhere\nRUN cat /a.txt >/copy\n' | "$CORTEN" build -q --build-context elsewhere=oci-layout://layout:1 - >from-layout.id
equal "$(cat from-layout.id)" "$(cat from-store.id)" "a layout and the store give the same"
printf 'FROM elsewhere\nRUN cat /a.txt >/copy\n' | "$CORTEN" build -q --build-context elsewhere=docker-image://name:1 - >from-name.id
equal "$(cat from-name.id)" "$(cat from-store.id)" "docker-image://"
holds "$("$CORTEN" history name:1)" "COPY a.txt /"
"$CORTEN" tag name:1 third && "$CORTEN" rmi third >/dev/null
"$CORTEN" prune >/dev/null
"$CORTEN" du >/dev/null

# Entitlements are asked for; flags that are not executed are refused by name, never ignored.
printf 'FROM base\nRUN --security=insecure grep ^Seccomp: /proc/self/status >/s\n' >insecure
if "$CORTEN" build -q --build-context base=bb -f insecure ctx >log 2>&1; then fail "insecure without --allow"; fi
holds "$(cat log)" "security.insecure is not allowed"
"$CORTEN" build -q --build-context base=bb -f insecure --allow security.insecure -o insecure.out ctx >/dev/null
equal "$(tr -d '\t' <insecure.out/s)" "Seccomp:0" "--allow security.insecure"
for flag in --sbom=true --provenance=true --attest=type=sbom --policy=x; do
  if "$CORTEN" build -q --build-context base=bb "$flag" ctx >log 2>&1; then fail "$flag was taken"; fi
  holds "$(cat log)" "is not executed yet"
done
for flag in --squash --isolation=x --security-opt=x; do
  "$CORTEN" build -q --build-context base=bb "$flag" ctx >/dev/null 2>log || fail "$flag"
  holds "$(cat log)" "not used"
done
if "$CORTEN" build -q --build-context base=bb --allow device ctx >log 2>&1; then fail "--allow device"; fi
"$CORTEN" build -q --build-context base=bb --rm --force-rm --compress -D --provenance=false --sbom=false ctx >/dev/null || fail "flags that mean nothing"

# --parents copies the directories on the way: their modes are part of the key.
mkdir -p parents/a/b
echo x >parents/a/b/f
chmod 755 parents/a
printf '# syntax=docker/dockerfile:1\nFROM scratch\nCOPY --parents a/b/f /\n' >parents/Dockerfile
build parents -t parents
first=$("$CORTEN" inspect --format '{{.Id}}' parents)
chmod 700 parents/a
build parents -t parents -o type=tar,dest=parents.tar
differ "$("$CORTEN" inspect --format '{{.Id}}' parents)" "$first" "the mode of a directory on the way"
holds "$(tar -tvf parents.tar)" "drwx------"

# A content that the store has lost is made anew by --no-cache, however many files there are.
mkdir -p many/src
i=0
while [ $i -lt 1200 ]; do echo "$i" >many/src/f$i; i=$((i + 1)); done
printf 'FROM scratch\nCOPY src /src\n' >many/Dockerfile
build many -t many
lost=$CORTEN_STORE/contents/$(sha256sum <many/src/f77 | cut -c1-2)/$(sha256sum <many/src/f77 | cut -d' ' -f1)
[ -e "$lost" ] || fail "there is no $lost"
rm "$lost"
if "$CORTEN" save -o many.tar many 2>log; then fail "a lost content was saved"; fi
holds "$(cat log)" "fsck --repair"
build many --no-cache -t many -o type=oci,dest=many.tar

# A file tree links names of one layer, and not equal contents of two.
mkdir -p equal
echo same >equal/same
printf 'FROM scratch\nCOPY d /d\nCOPY --chmod=600 same /d/a\n' >equal/Dockerfile
mkdir equal/d
echo same >equal/d/a
ln equal/d/a equal/d/b
build equal -o type=tar,dest=equal.tar
holds "$(tar -tvf equal.tar d/a)" "-rw-------"
holds "$(tar -tvf equal.tar d/b)" "-rw-r--r--"
