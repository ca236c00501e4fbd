# dpkg installs a package whose files and scripts change owners, where one id exists as where all do.
. "$(dirname "$0")/lib.sh"
base bb dpkg dpkg-deb dpkg-split tar
mkdir -p bb/var/lib/dpkg/info bb/var/lib/dpkg/updates bb/var/lib/dpkg/triggers bb/sbin
touch bb/var/lib/dpkg/status bb/var/lib/dpkg/available
printf 'www-data:x:33:33::/var/www:/bin/sh\n' >>bb/etc/passwd
printf 'www-data:x:33:\n' >>bb/etc/group
mkdir -p thing/DEBIAN thing/var/lib/thing/data thing/usr/bin ctx
printf 'Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: test\n' >thing/DEBIAN/control
cat >thing/DEBIAN/postinst <<'SCRIPT'
#!/bin/sh
set -e
chown -R www-data:www-data /var/lib/thing
chown root:app /usr/bin/thing
chmod 2755 /usr/bin/thing
[ "$(stat -c %U /var/lib/thing/data)" = www-data ]
SCRIPT
chmod 755 thing/DEBIAN/postinst
echo '#!/bin/sh' >thing/usr/bin/thing
chmod 755 thing/usr/bin/thing
dpkg-deb --root-owner-group -Zgzip --build thing ctx/thing.deb >/dev/null
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
RUN --mount=type=bind,target=/context /usr/bin/dpkg --force-bad-path --log=/dev/null -i /context/thing.deb
# A user of the image makes a file, and sees who owns the rest.
USER www-data
RUN echo mine >/var/lib/thing/data/mine && stat -c '%U:%G %a %n' /usr/bin/thing /var/lib/thing/data/mine >/tmp/seen
DOCKERFILE
build ctx --build-context base=bb -t all --iidfile all.id -o type=tar,dest=all.tar
CORTEN_FORBID=privileged-mounts,id-range CORTEN_STORE="$T/one" "$CORTEN" build --progress plain --build-context base=bb --iidfile one.id -o type=tar,dest=one.tar ctx >one.log 2>&1 || {
  cat one.log >&2
  fail "dpkg where one id exists"
}
CORTEN_STORE="$T/one" "$CORTEN" prune --everything --force >/dev/null
holds "$(head -1 one.log)" "user namespace with one id"
listing all.tar >all.list
listing one.tar >one.list
diff all.list one.list >&2 || fail "owners differ"
equal "$(cat one.id)" "$(cat all.id)" "the image"
equal "$(tar -xOf one.tar tmp/seen | tr '\n' ' ')" "root:app 2755 /usr/bin/thing www-data:www-data 644 /var/lib/thing/data/mine " "owners in the image"
