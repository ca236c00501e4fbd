# The objects of a base that was made elsewhere are not rebuilt when the sources are stamped older than they are.
. "$(dirname "$0")/lib.sh"
base bb make
mkdir first second
printf 'all: /out/a\n/out/a: a.src ; @echo rebuilt a; cp a.src $@; touch $@\n' >first/Makefile
echo dependency >first/a.src
printf 'FROM base\nWORKDIR /src\nCOPY . .\nRUN mkdir /out && make\n' >first/Dockerfile
build first --build-context base=bb -t base:1 -o type=oci,dest=base.tar
"$CORTEN" prune --everything --force >/dev/null
"$CORTEN" load -i base.tar >/dev/null
cp first/Makefile first/a.src second/
printf 'FROM base:1\nCOPY . .\nRUN find . -type f -exec touch -d "1999-12-31" {} + && make\n' >second/Dockerfile
build second -t colony
lacks "$(cat "$T/log")" "rebuilt a"
