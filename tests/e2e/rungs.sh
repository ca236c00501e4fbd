# Every rung of the ladders builds the same image, to the last owner, or says what it cannot do.
. "$(dirname "$0")/lib.sh"
base bb
mkdir bb/data bb/var bb/var/old
echo mine >bb/data/mine
echo gone >bb/var/old/gone
echo kept >bb/var/old/kept
mkdir ctx
echo hi >ctx/f
echo secret >token
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base AS main
COPY --chown=1000:50 f /owned
RUN mkdir /d && echo x >/d/r && chown 33:34 /d /d/r && ln -s r /d/l && chown -h 7:8 /d/l && mkfifo /d/p && chown 9:9 /d/p \
 && chmod 4755 /d/r && chown 5 /d/r && stat -c '%n %a %u:%g' /d/r /owned >/seen && echo more >>/owned \
 && rm -r /var/old && mkdir /var/old && echo new >/var/old/new && rm /data/mine
RUN --mount=type=cache,target=/cache,uid=12 --mount=type=bind,target=/bound --mount=type=secret,id=token,uid=1000,mode=0440 \
    --mount=type=tmpfs,target=/tmpfs \
    stat -c '%u:%g %a' /cache /run/secrets/token /d /d/l /d/p >>/seen && mv /d /e && cp -a /e /f && chgrp 77 /f/r; \
    find /e /f -exec stat -c '%n %F %a %u:%g' {} + | sort >>/seen && touch /tmpfs/x && cp /bound/f /from-bind && ln /from-bind /linked
USER app
WORKDIR /place/deep
RUN id -u >/tmp/id && id -g >>/tmp/id && mkdir /tmp/w && echo a >/tmp/w/a && ! chown 0 /tmp/w 2>/dev/null && stat -c %u:%g /owned /bin/sh >>/tmp/id
FROM main AS last
COPY --from=main --chown=3:4 /tmp/w /w
DOCKERFILE
# on FORBIDDEN NAME: builds there, from nothing, and keeps what came out.
on() {
  CORTEN_STORE="$T/store-$2" CORTEN_FORBID=$1 "$CORTEN" build --progress plain --build-context base=bb --secret id=token,src=token \
    -t rung --iidfile "$T/$2.id" -o "type=tar,dest=$T/$2.tar" ctx >"$T/$2.log" 2>&1 || {
    cat "$T/$2.log" >&2
    fail "a build with $1 forbidden"
  }
  CORTEN_STORE="$T/store-$2" CORTEN_FORBID=$1 "$CORTEN" prune --everything --force >/dev/null
  [ ! -e "$T/store-$2" ] || fail "$2: the store is still there"
}
same() {
  [ "$(cat "$T/best.id")" = "$(cat "$T/$1.id")" ] || {
    listing best.tar >best.list
    listing "$1.tar" >"$1.list"
    diff best.list "$1.list" >&2 || true
    fail "$1 built another image"
  }
}
on "" best
lacks "$(cat best.log)" "owners are recorded"
tar -xOf best.tar seen >seen
holds "$(cat seen)" "/d/r 755 5:34"
holds "$(cat seen)" "/owned 644 1000:50"
equal "$(tar -xOf best.tar tmp/id | tr '\n' ' ')" "1000 1000 1000:50 0:0 " "who the user app is"

on privileged-mounts range
same range
[ "$(id -u)" != 0 ] || holds "$(head -1 range.log)" "building as user namespace with a range of ids"

on privileged-mounts,id-range one
same one
holds "$(head -1 one.log)" "building as user namespace with one id: owners are recorded for the layers, changes of user and device nodes are pretended"

# Calls of newer kernels, one by one.
for call in lowerdir+ overlay-fd landlock-scope fresh-proc fresh-sysfs emulation wait-killable; do
  on "$call" "without-$call"
  same "without-$call"
  on "privileged-mounts,id-range,$call" "one-without-$call"
  same "one-without-$call"
done

# Where uppers cannot be beside their layers: in memory, and as copies of the whole tree.
for privilege in "" privileged-mounts privileged-mounts,id-range; do
  on "$privilege,upper-on-store" memory
  same memory
  holds "$(head -1 memory.log)" "with overlays in memory"
  on "$privilege,overlay" copied
  same copied
  holds "$(head -1 copied.log)" "with copied directories"
done

# A store that was filled with more privileges: what cannot be read is named, with what to do; and it is written anew.
mkdir foreign
printf 'FROM base\nRUN head -c 400000 /dev/zero >/own && echo s >/small && chmod 600 /own /small && chown 33:33 /own /small\n' >foreign/Dockerfile
(
  export CORTEN_STORE="$T/store-foreign"
  build foreign --build-context base=bb -t foreign
  cp foreign/Dockerfile foreign/more
  echo 'RUN wc -c /own' >>foreign/more
  export CORTEN_FORBID=privileged-mounts,id-range
  ! "$CORTEN" build --build-context base=bb -f foreign/more foreign >foreign.log 2>&1 || fail "contents of another id were read"
  holds "$(cat foreign.log)" "permission denied"
  holds "$(cat foreign.log)" "filled with more privileges"
  ! "$CORTEN" fsck >foreign.log 2>&1 || fail "contents of another id were read"
  holds "$(cat foreign.log)" "filled with more privileges"
  build foreign --no-cache --build-context base=bb -f foreign/more -o type=tar,dest=foreign.tar
  "$CORTEN" save foreign -o foreign.oci
  unset CORTEN_FORBID
  "$CORTEN" fsck >/dev/null || fail "fsck of a store of two rungs"
  "$CORTEN" prune --everything --force >/dev/null
)
equal "$(tar --numeric-owner -tvf foreign.tar own small | cut -d' ' -f2 | tr '\n' ' ')" "33/33 33/33 " "owners after a change of rungs"

# The attribute in which owners are recorded is not the step's to see, set or copy.
mkdir owner
cp -a bb owner/image
path=$(command -v cp)
base owner/image "$path"
cp "$(dirname "$CORTEN")/escape_attempts" owner/image/attempts
rm owner/image/bin/cp && mv "owner/image$(readlink -f "$path")" owner/image/bin/cp-of-gnu
cat >owner/Dockerfile <<'DOCKERFILE'
FROM image
RUN echo x >/x && chown 33:34 /x && cp-of-gnu --preserve=xattr /x /copied && stat -c %u:%g /copied >/seen && mkdir /own && chmod 777 /own
USER app
RUN cp-of-gnu -a /x /own/mine && stat -c %u:%g /own/mine >/own/seen
DOCKERFILE
printf 'FROM image\nRUN echo x >/x && chown 33:34 /x && /attempts owner /x >/seen\n' >owner/attempts
CORTEN_FORBID=privileged-mounts,id-range build owner --build-context image=owner/image -o type=tar,dest=owner.tar
equal "$(tar -xOf owner.tar seen)" 0:0 "the owner of a copy with attributes"
equal "$(tar -xOf owner.tar own/seen)" 1000:1000 "the owner of a user's copy"
equal "$(tar --numeric-owner -tvf owner.tar own/mine | cut -d' ' -f2)" 1000/1000 "the owner of a user's copy in the layer"
CORTEN_FORBID=privileged-mounts,id-range build owner -f owner/attempts --build-context image=owner/image -o type=tar,dest=owner.tar
equal "$(tar -xOf owner.tar seen | grep -c '^held')" 8 "attempts at a recorded owner: $(tar -xOf owner.tar seen)"
lacks "$(tar -xOf owner.tar seen)" ESCAPED
equal "$(tar --numeric-owner -tvf owner.tar x | cut -d' ' -f2)" 33/34 "an owner that a step tried to change"

# Root without namespaces: in a chroot.
if [ "$(id -u)" = 0 ]; then
  on privileged-mounts,user-namespace chroot
  same chroot
  holds "$(head -1 chroot.log)" "building as chroot only: steps are not isolated"
  holds "$(head -1 chroot.log)" "with copied directories"
fi

# Everything at once: no RUN, and it says so before anything starts; the rest is built.
all=privileged-mounts,user-namespace,id-range,chroot,overlay,upper-on-store,upper-in-memory,seccomp-notify,wait-killable,lowerdir+
all=$all,overlay-fd,landlock-scope,landlock-tree,fresh-proc,fresh-sysfs,mknod,emulation
said=$(CORTEN_FORBID=$all "$CORTEN" build --progress plain --build-context base=bb --secret id=token,src=token ctx 2>&1) && fail "a RUN with nothing"
holds "$said" "RUN cannot be executed here"
lacks "$said" "DONE"
mkdir plain
printf 'FROM base\nCOPY --chown=1000:50 f /owned\nENV A=b\n' >plain/Dockerfile
echo hi >plain/f
expected=$("$CORTEN" build -q --build-context base=bb plain)
equal "$(CORTEN_FORBID=$all "$CORTEN" build -q --build-context base=bb plain)" "$expected" "an image without RUN, with everything forbidden"
# Each of the calls is known to doctor or harmless; the ladders are shown with what keeps from the next rung.
said=$(CORTEN_FORBID=privileged-mounts,id-range,upper-on-store "$CORTEN" doctor || true)
holds "$said" "user namespace with one id; owners are recorded"
holds "$said" "not user namespace with a range of ids: forbidden by CORTEN_FORBID"
holds "$said" "steps write to overlays in memory"
# Containers where no upper can be on the store: a copy of the image, which they may write to.
mkdir removed
printf 'FROM base\nRUN rm /data/mine && rm -r /var/old && mkdir /var/old && ln /bin/busybox /linked\n' >removed/Dockerfile
build removed --build-context base=bb -t removed
for places in upper-on-store overlay; do
  for privilege in "" privileged-mounts privileged-mounts,id-range; do
    export CORTEN_FORBID="$privilege,$places"
    said=$("$CORTEN" run --rm removed sh -c 'ls /data /var/old; echo x >/new && cat /new; stat -c %h /linked') || fail "run with $CORTEN_FORBID forbidden"
    equal "$said" "$(printf '/data:\n\n/var/old:\nx\n2')" "what a container sees with $CORTEN_FORBID forbidden"
    ! "$CORTEN" run --rm --read-only removed touch /new 2>/dev/null || fail "a read-only container was written to"
  done
done
unset CORTEN_FORBID
said=$("$CORTEN" run --rm removed ls /new 2>&1) && fail "a container wrote to the image"
"$CORTEN" fsck >/dev/null || fail "fsck after containers in copies"

# Where only one id exists a container sees the owners of its image, and those that it gives.
# shellcheck disable=SC2016 # the Dockerfile's
printf 'FROM base\nRUN echo x >/theirs && chown 33:34 /theirs && ln -s theirs /link && chown -h 7:8 /link\n' >removed/owned
build removed -f removed/owned --build-context base=bb -t owned
for detach in "" -d; do
  said=$(CORTEN_FORBID=privileged-mounts,id-range "$CORTEN" run $detach --name owned owned sh -c \
    'touch /own && chown 5:6 /own && cp -a /theirs /copied && stat -c "%n %u:%g" /theirs /link /own /copied') || fail "run $detach with one id: $said"
  [ -z "$detach" ] || { "$CORTEN" wait owned >/dev/null; said=$("$CORTEN" logs owned); }
  "$CORTEN" rm owned >/dev/null
  equal "$said" "$(printf '/theirs 33:34\n/link 7:8\n/own 5:6\n/copied 33:34')" "owners in a container with one id"
done

# And on a real one, as in a container of CI.
if [ "$(id -u)" = 0 ]; then
  mkdir -p on/memory on/lower on/merged
  # shellcheck disable=SC2016 # the inner shell's
  said=$(unshare -m sh -ec 'mount -t tmpfs none on/memory; mkdir on/memory/upper on/memory/work
    mount -t overlay -o lowerdir=on/lower,upperdir=on/memory/upper,workdir=on/memory/work none on/merged
    export CORTEN_STORE="$PWD/on/merged/store"
    "$CORTEN" build -q --build-context base=bb -t removed removed >/dev/null
    "$CORTEN" run --rm removed sh -c "ls /var/old; echo x >/new && cat /new"' 2>&1) || fail "run on an overlay: $said"
  equal "$said" x "what a container on an overlay sees"
fi

# Containers need namespaces.
build plain --build-context base=bb -t kept
said=$(CORTEN_FORBID=$all "$CORTEN" run --rm kept true 2>&1) && fail "a container with nothing"
holds "$said" "containers: namespaces are not to be had here"
