# The .pyc files that a step compiles are valid in the image: nothing is compiled again, and nothing depends on the clock.
. "$(dirname "$0")/lib.sh"
python=$(readlink -f "$(command -v /usr/bin/python3)")
stdlib=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
base bb "$python"
mkdir -p "bb$(dirname "$stdlib")"
cp -r "$stdlib" "bb$stdlib"
rm -rf "bb$stdlib/test" "bb$stdlib/idlelib" "bb$stdlib/ensurepip"
find "bb$stdlib" -name __pycache__ -prune -exec rm -rf {} +
mkdir ctx
cat >ctx/Dockerfile <<DOCKERFILE
FROM base
ENV PATH=/bin:/usr/bin
COPY pkg /app/pkg
RUN $python -m compileall -q /app/pkg
RUN cd /app && $python -v -c 'import pkg.module' 2>/imports
DOCKERFILE
mkdir -p ctx/pkg
: >ctx/pkg/__init__.py
echo 'answer = 42' >ctx/pkg/module.py
build ctx --build-context base=bb -o type=tar,dest=files.tar --iidfile first.id
holds "$(tar -xOf files.tar imports)" "/app/pkg/__pycache__/module."
holds "$(tar -xOf files.tar imports)" "matches /app/pkg/module.py"
lacks "$(tar -xOf files.tar imports)" "wrote '/app/pkg"
build ctx --build-context base=bb --no-cache --iidfile second.id -o type=tar,dest=again.tar
for file in $(tar -tf files.tar | grep 'app/pkg/.*pyc$'); do
  [ "$(tar -xOf files.tar "$file" | sha256sum)" = "$(tar -xOf again.tar "$file" | sha256sum)" ] || fail "$file differs between two builds"
done
