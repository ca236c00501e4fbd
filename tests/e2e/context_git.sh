# Git repositories as context, as named context and in ADD.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/serve.sh"
base bb
www="$T/www/git"
mkdir tree
git_in . init -q -b main tree
printf 'FROM base\nCOPY . /src/\nRUN ls -A /src >/list\n' >tree/Dockerfile
echo 'secret.txt' >tree/.dockerignore
echo s >tree/secret.txt
mkdir -p tree/svc
printf 'FROM base\nCOPY a.txt /\n' >tree/svc/Dockerfile
echo a1 >tree/svc/a.txt
chmod 775 tree/svc
git_in tree add -A
git_in tree commit -qm one
one=$(git_in tree rev-parse HEAD)
git_in tree tag -a -m v1 v1
echo a2 >tree/svc/a.txt
git_in tree commit -qam two
two=$(git_in tree rev-parse HEAD)
git_in . clone -q --bare tree "$www/repo.git"
git_in . clone -q --bare tree "$www/private.tmp" && mkdir "$www/private" && mv "$www/private.tmp" "$www/private/repo.git"
mkdir "$www/old" && cp -a "$www/repo.git" "$www/old/repo.git"
git_in "$www/repo.git" update-server-info

context() { # CONTEXT FILE FLAGS...: the image's file
  from=$1 name=$2
  shift 2
  "$CORTEN" build --progress plain --build-context base=bb -o type=tar,dest=out.tar "$@" "$from" >log 2>&1 || {
    cat log >&2
    fail "build $from"
  }
  tar -xOf out.tar "$name"
}
refused() {
  said=$("$CORTEN" build --progress plain --build-context base=bb "$@" 2>&1) && fail "build $* should fail"
  return 0
}

# The ignore file of a repository does not count, as with BuildKit; .git is not there.
equal "$(context "$URL/git/repo.git" list | tr '\n' ' ')" ".dockerignore Dockerfile secret.txt svc " "files of the default branch"
equal "$(context "$URL/git/repo.git#v1:svc" a.txt)" a1 "a tag and a directory"
equal "$(context "$URL/git/repo.git?branch=main&subdir=svc" a.txt)" a2 "the query form"
equal "$(context "$URL/git/repo.git#$one:svc" a.txt)" a1 "a commit"
equal "$(context "$URL/git/repo.git#main:svc" a.txt)" a2 "a branch"
equal "$(context "file://$T/tree#main:svc" a.txt)" a2 "file://"
holds "$(context "$URL/git/repo.git?ref=main&checksum=$two" list -f Dockerfile)" secret.txt
refused "$URL/git/repo.git" -f svc/Dockerfile
holds "$said" '"/a.txt": not found'
cp tree/svc/Dockerfile here.Dockerfile
equal "$(context "$URL/git/repo.git#v1:svc" a.txt -f "$T/here.Dockerfile")" a1 "an absolute -f is a file of this machine"
equal "$(context "$URL/git/repo.git#v1:svc" a.txt -f - <here.Dockerfile)" a1 "-f -"
equal "$(context "$URL/dumb/repo.git#v1:svc" a.txt)" a1 "a dumb server"
equal "$(context "$URL/git/old/repo.git#$one:svc" a.txt)" a1 "a server that speaks version 0 and gives no ids"

# A second build of a commit that is known asks nobody; of a branch once.
before=$(requests)
context "$URL/git/repo.git#$one:svc" a.txt >/dev/null
equal "$(requests)" "$before" "requests for a known commit"
context "$URL/git/repo.git#main:svc" a.txt >/dev/null
holds "$(tail -n 1 log)" "2 of 2 steps cached"
lacks "$(sed "1,${before}d" requests)" "git-receive"
[ "$(sed "1,${before}d" requests | grep -c 'POST')" -le 1 ] || fail "a known branch is fetched again"

# The same image wherever it is fetched, whatever our umask and whoever fetched before.
"$CORTEN" build -q --build-context base=bb "$URL/git/repo.git#v1" >id1
(umask 077; CORTEN_STORE="$T/other" "$CORTEN" build -q --build-context base=bb "$URL/git/repo.git?ref=v1" >id2)
equal "$(cat id2)" "$(cat id1)" "an empty store, another umask"
CORTEN_STORE="$T/other" "$CORTEN" prune --everything --force >/dev/null

# .git on request.
printf 'FROM base\nCOPY . /src/\n' >tree/keep.Dockerfile
git_in tree add -A && git_in tree commit -qm three && git_in tree push -q "$www/repo.git" main
equal "$(context "$URL/git/repo.git" src/.git/HEAD -f keep.Dockerfile --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1)" \
  "$(git_in tree rev-parse HEAD)" "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
mkdir unpacked && tar -C unpacked -xf out.tar src
equal "$(git_in unpacked/src -c safe.directory='*' status --porcelain)" "" "the kept repository is clean"
equal "$(git_in unpacked/src -c safe.directory='*' log --oneline | wc -l)" 1 "its depth"
if tar -tf out.tar | grep -qE '\.git/(hooks|logs|FETCH_HEAD)'; then fail "hooks or logs are in the image"; fi

# Named contexts and ADD; a Dockerfile on standard input.
cat >Dockerfile <<DOCKERFILE
FROM base
COPY --from=repo svc/a.txt /named
ADD $URL/git/repo.git#v1:svc /added/
ADD --keep-git-dir=true --checksum=$one $URL/git/repo.git#v1 /kept
ADD --chown=1000:1000 --chmod=700 --exclude=secret.txt $URL/git/repo.git?tag=v1 /owned/
DOCKERFILE
"$CORTEN" build --progress plain --build-context base=bb --build-context "repo=$URL/git/repo.git#v1" -o type=tar,dest=out.tar - <Dockerfile >log 2>&1 || { cat log; fail "ADD of git"; }
equal "$(tar -xOf out.tar named)" a1 "a named context"
equal "$(tar -xOf out.tar added/a.txt)" a1 "ADD"
equal "$(tar -xOf out.tar kept/.git/HEAD)" "$one" "--keep-git-dir"
holds "$(listing out.tar | grep owned/svc/a.txt)" "-rwx------ 1000/1000"
lacks "$(tar -tf out.tar)" owned/secret.txt
lacks "$(tar -tf out.tar)" added/.git

# Credentials: by secret only, and nowhere to be seen.
refused "$URL/git/private/repo.git"
holds "$said" "GIT_AUTH_TOKEN"
printf t0ken >token
equal "$(context "$URL/git/private/repo.git#v1:svc" a.txt --secret id=GIT_AUTH_TOKEN,src=token)" a1 "GIT_AUTH_TOKEN"
refused "$URL/git/private/repo.git#main:svc" --secret id=GIT_AUTH_TOKEN.other.invalid,src=token
HEADER="basic $(printf x-access-token:t0ken | base64)"
export HEADER
equal "$(context "$URL/git/private/repo.git#main:svc" a.txt --secret "id=GIT_AUTH_HEADER.127.0.0.1:$port,env=HEADER")" a2 "GIT_AUTH_HEADER of a host"
private="http://x-access-token:t0ken@127.0.0.1:$port/git/private/repo.git"
equal "$(context "$private#main:svc" a.txt)" a2 "a password in the address"
lacks "$(cat log)" t0ken
# A secret follows a redirect on its host, and to no other.
equal "$(context "$URL/moved/private/repo.git#main:svc" a.txt --secret id=GIT_AUTH_TOKEN,src=token)" a2 "a repository that moved"
for away in "$URL/away/repo.git" "http://x-access-token:t0ken@127.0.0.1:$port/away/repo.git"; do
  refused "$away#main:svc" --secret id=GIT_AUTH_TOKEN,src=token
  holds "$said" "redirected to http://localhost:$port/git/repo.git"
  holds "$said" "GIT_AUTH_TOKEN.HOST"
done
equal "$(context "$URL/away/repo.git#main:svc" a.txt)" a2 "another host, without a secret"
grep -q leaked requests && fail "a secret went to another host"
# Nor is a password in an excerpt, or in an error about the address itself.
printf 'FROM base\nADD http://x:t0ken@127.0.0.1:%s/git/none.git /x\n' "$port" >Dockerfile
refused - <Dockerfile
holds "$said" "ADD http://*******@127.0.0.1"
lacks "$said" t0ken
printf 'FROM base\nADD http://x:t0ken@[::1/f /x\n' >Dockerfile
refused - <Dockerfile
lacks "$said" t0ken
printf 'FROM base\nADD %s /x\n' "$private" | sed 's/^FROM/from/;s/^ADD/ADD/' >Dockerfile
lacks "$("$CORTEN" build --check - <Dockerfile 2>&1 || true)" t0ken
printf 'FROM base\nADD %s /x\n' "$private" | "$CORTEN" build -t private --progress plain --build-context base=bb - >log 2>&1 || { cat log; fail "ADD with a password"; }
lacks "$(cat log) $("$CORTEN" history --no-trunc private 2>/dev/null || "$CORTEN" history private)" t0ken
if grep -rlq t0ken "$CORTEN_STORE"; then fail "the token lies in the store"; fi

# Pruning the cache takes the copies away.
[ -n "$(ls "$CORTEN_STORE/git")" ] || fail "no copy of a repository"
"$CORTEN" prune --cache --force >/dev/null
equal "$(ls "$CORTEN_STORE/git")" "" "copies after prune --cache"
"$CORTEN" fsck >/dev/null || fail "fsck"

# What cannot be.
refused "$URL/git/repo.git#mian"
holds "$said" "does not contain ref mian"
holds "$said" "did you mean main?"
refused "$URL/git/none.git"
holds "$said" "failed to fetch remote $URL/git/none.git"
refused "$URL/git/repo.git#main:nowhere"
holds "$said" "invalid subdir nowhere"
refused "$URL/git/repo.git?checksum=abcdef"
holds "$said" "expected checksum to match abcdef"
refused "$URL/git/repo.git#--upload-pack=touch\${IFS}$T/pwned"
holds "$said" "invalid git ref"
refused "ssh://-oProxyCommand=touch$T/pwned/x"
holds "$said" "invalid git host"
refused "$URL/git/repo.git?frob=1"
holds "$said" 'unexpected query "frob"'
for line in 'COPY https://e.invalid/x.git /' 'COPY git@e.invalid:x /'; do
  printf 'FROM base\n%s\n' "$line" >Dockerfile
  refused - <Dockerfile
  holds "$said" "source can't be a git ref for COPY"
done
printf 'FROM base\nADD --keep-git-dir=true %s/git/repo.git?keep-git-dir=false /x\n' "$URL" >Dockerfile
refused - <Dockerfile
holds "$said" "inconsistent keep-git-dir configuration"
printf 'FROM base\nADD file://%s/tree/.git /x\n' "$T" >Dockerfile
refused - <Dockerfile
holds "$said" "not found"
[ ! -e "$T/pwned" ] || fail "something was executed"
