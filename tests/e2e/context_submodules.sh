# Submodules: fetched, nested, relative, kept with their .git; hostile ones are refused before git sees them.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/serve.sh"
base bb
www="$T/www/git"
publish() { # DIRECTORY: commit and push
  git_in "$1" add -A
  git_in "$1" commit -qm "$1"
  [ -d "$www/$1.git" ] || git_in . init -q --bare -b main "$www/$1.git"
  git_in "$1" push -q "$www/$1.git" HEAD:main
}
for name in inner outer main; do git_in . init -q -b main $name; done
echo inner >inner/file
publish inner
echo outer >outer/file
git_in outer submodule --quiet add "$www/inner.git" deep/inner
git_in outer config -f .gitmodules submodule.deep/inner.url ../inner.git
publish outer
printf 'FROM base\nCOPY . /src/\n' >main/Dockerfile
git_in main submodule --quiet add "$www/outer.git" outer
git_in main config -f .gitmodules submodule.outer.url "$URL/git/outer.git"
publish main
"$CORTEN" build -q --build-context base=bb -o out "$URL/git/main.git" >/dev/null
equal "$(cat out/src/outer/file)" outer "a submodule"
equal "$(cat out/src/outer/deep/inner/file)" inner "a submodule's submodule, relative"
[ -z "$(find out/src -name .git)" ] || fail ".git is there"
"$CORTEN" build -q --build-context base=bb -o without "$URL/git/main.git?submodules=false" >/dev/null
equal "$(ls without/src/outer)" "" "without submodules"
"$CORTEN" build -q --build-context base=bb --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=true -o kept "$URL/git/main.git" >/dev/null
equal "$(git_in kept/src -c safe.directory='*' status --porcelain)" "" "status with submodules"
holds "$(git_in kept/src -c safe.directory='*' submodule status)" " $(git_in outer rev-parse HEAD) outer"

# A repository that is its own submodule, and two that are each other's: an end, and no waiting for oneself.
git_in . init -q -b main loop
echo l >loop/f
publish loop
git_in loop config -f .gitmodules submodule.self.path self
git_in loop config -f .gitmodules submodule.self.url ../loop.git
# The commit cannot name itself; a link to the one before, which has the same submodule, leads down all the same.
depth=0
while [ $depth -lt 12 ]; do
  git_in loop add .gitmodules
  git_in loop update-index --add --cacheinfo "160000,$(git_in loop rev-parse HEAD),self"
  git_in loop commit -qm "loop $depth"
  depth=$((depth + 1))
done
git_in loop push -q "$www/loop.git" HEAD:main
printf 'FROM base\nADD %s/git/loop.git /x\n' "$URL" >Dockerfile
said=$(timeout 60 "$CORTEN" build --progress plain --build-context base=bb - <Dockerfile 2>&1) && fail "a loop of submodules"
holds "$said" "nest deeper than 10"

# Hostile addresses: nothing is executed, the submodule is named.
evil() { # URL
  git_in main config -f .gitmodules submodule.outer.url "$1"
  git_in main commit -qam evil
  git_in main push -qf "$www/main.git" HEAD:main
  said=$("$CORTEN" build --progress plain --build-context base=bb "$URL/git/main.git" 2>&1) && fail "$1 was taken"
  holds "$said" 'submodule "outer"'
  [ ! -e "$T/pwned" ] || fail "$1 was executed"
}
evil "--upload-pack=touch $T/pwned"
holds "$said" "begins with a dash"
evil "-u./payload"
evil "ext::sh -c touch% $T/pwned"
evil "$www/inner.git"
holds "$said" "none of https, http, ssh and git"
evil "file://$www/inner.git"
evil "ssh://-oProxyCommand=touch%20$T/pwned/x"
evil "../../../../x.git"
git_in main config -f .gitmodules submodule.outer.update "!touch $T/pwned"
git_in main config -f .gitmodules submodule.outer.url "$URL/git/outer.git"
git_in main commit -qam update
git_in main push -qf "$www/main.git" HEAD:main
"$CORTEN" build -q --build-context base=bb -o out "$URL/git/main.git" >/dev/null || fail "a build with update=!command"
[ ! -e "$T/pwned" ] || fail "update=!command was executed"
git_in main config -f .gitmodules --unset submodule.outer.url
git_in main commit -qam none
git_in main push -qf "$www/main.git" HEAD:main
said=$("$CORTEN" build --progress plain --build-context base=bb "$URL/git/main.git" 2>&1) && fail "a submodule without an address"
holds "$said" "no url found for submodule path"
