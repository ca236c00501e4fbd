# Two checkouts with other times, umasks and directories, by two stores, give one digest.
. "$(dirname "$0")/lib.sh"
base bb
checkout() { # DIR UMASK TIME
  (
    umask "$2"
    mkdir -p "$1/src"
    cd "$1"
    git init -q
    printf 'FROM base\nCOPY src /app\nRUN cp /app/a.txt /copied && mkdir /made\nCOPY run.sh /\nWORKDIR /w\n' >Dockerfile
    echo hello >src/a.txt
    printf '#!/bin/sh\n' >run.sh
    chmod u+x run.sh
    git add -A
    touch -d "$3" src/a.txt run.sh src
  )
}
checkout one 022 2001-01-01
checkout deeper/two 077 2020-05-05
build one --build-context base=bb -t x -o type=oci,dest=one.tar --iidfile one.id
"$CORTEN" prune --everything --force >/dev/null
build deeper/two --build-context base=bb -t x -o type=oci,dest=two.tar --iidfile two.id
equal "$(cat two.id)" "$(cat one.id)" "image id"
cmp one.tar two.tar || fail "the archives differ"
# A commit that touches no input changes nothing; a touched file neither; a changed mode does.
echo note >one/README
printf 'README\n' >one/.dockerignore
touch one/src/a.txt
build one --build-context base=bb --iidfile again.id
equal "$(cat again.id)" "$(cat one.id)" "image id after a commit that touches no input"
chmod u+x one/src/a.txt
build one --build-context base=bb --iidfile mode.id
differ "$(cat mode.id)" "$(cat one.id)" "image id after a mode change"
