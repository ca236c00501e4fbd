# Several platforms: one plan, an index, and what reads it.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx

# A native stage runs natively, once as long as nothing of the platform is in it.
cat >ctx/Dockerfile <<'EOF'
FROM --platform=$BUILDPLATFORM base AS build
RUN cat /proc/sys/kernel/random/uuid >/shared
ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM
RUN echo "$BUILDPLATFORM->$TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT" >/out
FROM scratch
COPY --from=build /shared /out /
CMD ["/hello"]
EOF
build ctx --platform linux/arm64/v8,linux/amd64 --platform linux/arm,linux/arm64 --build-context base=bb -t multi:1 \
  --iidfile iid --metadata-file metadata.json -o out -o type=oci,dest=multi.tar -o type=oci,tar=false,dest=layout --load
equal "$(echo out/*)" "out/linux_amd64 out/linux_arm64 out/linux_arm_v7" "directories"
equal "$(cat out/*/shared | sort -u | wc -l)" 1 "the shared step ran once"
equal "$(cat out/linux_arm_v7/out)" "linux/amd64->linux/arm/v7 linux arm v7" "arguments"
equal "$(cat out/linux_arm64/out)" "linux/amd64->linux/arm64 linux arm64 " "arguments"
equal "$(grep -c 'kernel/random/uuid' log)" 1 "lines of the shared step"
holds "$(cat log)" "[linux/amd64->arm64 build 3/3] RUN"
holds "$(cat log)" "an index of the platforms linux/arm64, linux/amd64, linux/arm/v7"
python3 - <<'EOF'
import json, os
read = lambda digest: json.load(open("layout/blobs/" + digest.replace(":", "/")))
root = json.load(open("layout/index.json"))["manifests"]
assert len(root) == 1, root
assert root[0]["mediaType"] == "application/vnd.oci.image.index.v1+json" and "platform" not in root[0], root
assert root[0]["annotations"]["io.containerd.image.name"] == "docker.io/library/multi:1"
index = read(root[0]["digest"])
platforms = [m["platform"] for m in index["manifests"]]
assert platforms == [{"architecture": "arm64", "os": "linux"}, {"architecture": "amd64", "os": "linux"},
                     {"architecture": "arm", "os": "linux", "variant": "v7"}], platforms
for member in index["manifests"]:
    config = read(read(member["digest"])["config"]["digest"])
    assert {k: config[k] for k in ("architecture", "os", "variant") if k in config} == member["platform"], config
metadata = json.load(open("metadata.json"))
assert metadata["containerimage.digest"] == root[0]["digest"]
assert metadata["containerimage.descriptor"]["digest"] == root[0]["digest"]
assert "containerimage.config.digest" not in metadata and metadata["image.name"] == "docker.io/library/multi:1"
EOF
for arch in amd64 arm64; do
  equal "$(skopeo --override-arch "$arch" inspect --format '{{.Architecture}}' oci:layout:1)" "$arch" "skopeo"
done
skopeo copy -q --all oci:layout:1 oci-archive:copied.tar || fail "skopeo copies the index"

# The store knows the index.
holds "$("$CORTEN" images multi)" "linux/arm64, linux/amd64, linux/arm/v7"
equal "$("$CORTEN" images -q --no-trunc multi)" "$(cat iid)" "the index's id"
holds "$("$CORTEN" images --format json multi)" '"Platforms":["linux/arm64","linux/amd64","linux/arm/v7"]'
equal "$("$CORTEN" images | wc -l)" 2 "members have no line of their own"
equal "$("$CORTEN" inspect --format '{{.Architecture}}' multi:1)" amd64 "inspect takes this machine's"
equal "$("$CORTEN" inspect --platform linux/arm64 --format '{{.Architecture}}' multi:1)" arm64 "inspect --platform"
holds "$("$CORTEN" history --platform linux/arm/v7 multi:1)" "COPY"
# A member that has a name of its own loses it, and stays the index's.
"$CORTEN" tag "$("$CORTEN" inspect --platform linux/arm64 --format '{{.Id}}' multi:1)" member:1
equal "$("$CORTEN" rmi member:1)" "Untagged: member:1" "rmi of a member by name"
member=$("$CORTEN" inspect --platform linux/arm64 --format '{{.Id}}' multi:1)
code=0; "$CORTEN" rmi "$member" 2>err || code=$?
[ "$code" = 1 ] || fail "rmi of a member by id"
holds "$(cat err)" "belongs to the index"
"$CORTEN" tag multi:1 multi:again
equal "$("$CORTEN" images -q multi:again)" "$("$CORTEN" images -q multi:1)" "tag"
"$CORTEN" save -o saved.tar multi:again 2>note
holds "$(cat note)" "index"
"$CORTEN" save --platform linux/arm64 --format oci-archive -o one.tar multi:1
equal "$(skopeo inspect --format '{{.Architecture}}' oci-archive:one.tar)" arm64 "save --platform"
before=$(cat iid)
"$CORTEN" rmi multi:1 >/dev/null
"$CORTEN" rmi multi:again | grep -c Deleted | grep -qx 4 || fail "an index goes with its images"
equal "$("$CORTEN" images -q)" "" "nothing is left"
holds "$("$CORTEN" load -i saved.tar)" "multi:again (an index of the platforms linux/arm64, linux/amd64, linux/arm/v7)"
equal "$("$CORTEN" images -q --no-trunc multi)" "$before" "the same index again"
"$CORTEN" prune -f >/dev/null
equal "$("$CORTEN" inspect --platform linux/arm64 --format '{{.Architecture}}' multi:again)" arm64 "prune keeps members"
"$CORTEN" fsck >/dev/null || fail "fsck"

# What an image says of itself does not steer a terminal.
python3 - <<'EOF2'
import hashlib, json, shutil
shutil.copytree("layout", "evil")
top = json.load(open("evil/index.json"))
root = top["manifests"][0]
index = json.load(open("evil/blobs/" + root["digest"].replace(":", "/")))
for member in index["manifests"]:
    member["platform"]["architecture"] += "\x1b]0;title\x07"
    member["platform"]["variant"] = "\x1b[31m"
raw = json.dumps(index).encode()
root["digest"], root["size"], root["annotations"] = "sha256:" + hashlib.sha256(raw).hexdigest(), len(raw), {}
open("evil/blobs/" + root["digest"].replace(":", "/"), "wb").write(raw)
json.dump(top, open("evil/index.json", "w"))
EOF2
tar -C evil -cf evil.tar .
holds "$("$CORTEN" load -i evil.tar)" 'linux/arm64\x1b]0;title\x07'
"$CORTEN" images >log
if LC_ALL=C grep -q "$(printf '\033')" log; then fail "images prints an escape sequence"; fi
printf 'FROM scratch\nLABEL a="%b"\n' '\033[31m' | "$CORTEN" build -q -t escape - >/dev/null
equal "$("$CORTEN" inspect --format '{{.Config.Labels.a}}' escape)" "$(printf '\033[31m')" "scripts get what there is"
holds "$(script -qec "\"$CORTEN\" inspect --format '{{.Config.Labels.a}}' escape" /dev/null </dev/null)" '\x1b[31m'
"$CORTEN" rmi escape >/dev/null
"$CORTEN" prune -f >/dev/null

# A base that is an index is chosen by platform, from the store and from a layout; what it lacks is named.
printf 'FROM multi:again\nLABEL a=b\n' >ctx/Child
build ctx -f ctx/Child --platform linux/arm64,linux/arm/v7 -o child
holds "$(cat child/linux_arm_v7/out)" "linux/arm/v7"
printf 'FROM lay\n' >ctx/Layout
build ctx -f ctx/Layout --platform linux/arm64 --build-context lay=oci-layout://layout:1 -o single
holds "$(cat single/out)" "linux/arm64 "
if "$CORTEN" build -f ctx/Child --platform linux/riscv64 ctx >log 2>&1; then fail "riscv64 is not there"; fi
holds "$(cat log)" "no match for platform linux/riscv64"
holds "$(cat log)" "it has linux/arm64, linux/amd64, linux/arm/v7"
if "$CORTEN" build -f ctx/Layout --platform linux/riscv64 --build-context lay=oci-layout://layout:1 ctx >log 2>&1; then fail "riscv64"; fi
holds "$(cat log)" "it has linux/arm64, linux/amd64, linux/arm/v7"
# A base for another platform is taken, as BuildKit does, with its warning.
build ctx -t plain -f - --build-context base=bb <<'EOF'
FROM base
LABEL only=amd64
EOF
printf 'FROM plain\nCOPY Dockerfile /\n' >ctx/Other
build ctx -f ctx/Other --platform linux/arm64 -t other
holds "$(cat log)" 'InvalidBaseImagePlatform'
equal "$("$CORTEN" inspect --format '{{.Architecture}}' other)" arm64 "what was asked for is what it says"

# run takes this machine's, or says what there is.
printf 'FROM base\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCMD ["/bin/sh", "-c", "echo runs $ARCH"]\n' >ctx/Runs
build ctx -f ctx/Runs --platform linux/arm64,linux/amd64 --build-context base=bb -t runs
equal "$("$CORTEN" run --rm runs)" "runs amd64" "run"
build ctx -f ctx/Runs --platform linux/arm64,linux/arm/v7 --build-context base=bb -t foreign
if "$CORTEN" run --rm foreign >log 2>&1; then fail "run has nothing for this machine"; fi
holds "$(cat log)" "no match for platform linux/amd64"
holds "$(cat log)" "it has linux/arm64, linux/arm/v7"

# Foreign RUNs are refused before any step starts, with stage, line and the line that helps.
printf 'FROM base AS first\nRUN echo started\nFROM --platform=linux/arm64 base AS second\nCOPY --from=first /etc /e\nRUN echo foreign\n' >ctx/Refused
if CORTEN_FORBID=emulation "$CORTEN" build --progress plain -f ctx/Refused --build-context base=bb ctx >log 2>&1; then fail "refused"; fi
holds "$(cat log)" "Refused:5"
holds "$(cat log)" "stage second, RUN for linux/arm64 on a machine that is linux/amd64"
holds "$(cat log)" "apt-get install qemu-user-static binfmt-support"
holds "$(cat log)" 'FROM --platform=$BUILDPLATFORM'
lacks "$(cat log)" "started"
lacks "$(cat log)" "#1"
for refused in "--platform linux/arm64,linux/amd64 -o type=docker,dest=x.tar" "--platform no/such/platform/here" \
  "--platform linux/amd64 --annotation index:a=b"; do
  # shellcheck disable=SC2086 # words on purpose
  if "$CORTEN" build --progress plain $refused --build-context base=bb ctx >log 2>&1; then fail "$refused"; fi
  lacks "$(cat log)" "#1"
done

# Emulated where there is an emulator: a program for arm64 that says so.
if command -v qemu-aarch64-static >/dev/null && "$CORTEN" doctor | grep 'other platforms' | grep -q 'RUN works for.*arm64'; then
  mkdir -p arm/etc
  printf '\177ELF\002\001\001\0\0\0\0\0\0\0\0\0\002\0\267\0\001\0\0\0\170\0\100\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\070\0\001\0\100\0\0\0\0\0' >arm/hello
  printf '\001\0\0\0\005\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\100\0\0\0\0\0\236\0\0\0\0\0\0\0\236\0\0\0\0\0\0\0\0\0\001\0\0\0\0\0' >>arm/hello
  # mov x0, 1; adr x1, text; mov x2, 6; mov x8, write; svc; mov x0, 0; mov x8, exit; svc
  printf '\040\0\200\322\341\0\0\020\302\0\200\322\010\010\200\322\001\0\0\324\0\0\200\322\250\013\200\322\001\0\0\324arm64\n' >>arm/hello
  chmod 755 arm/hello
  printf 'FROM arm\nRUN ["/hello"]\n' >ctx/Emulated
  build ctx -f ctx/Emulated --platform linux/arm64 --build-context arm=arm
  grep -q '^#[0-9]* [0-9.]* arm64$' log || { cat log >&2; fail "the program for arm64 says so"; }
  [ ! -e /proc/sys/fs/binfmt_misc/corten-aarch64 ] || fail "an emulator was registered for the whole machine"
elif [ "${CORTEN_MUST_RUN:-}" = 1 ]; then
  "$CORTEN" doctor >&2
  fail "emulation is not tested here"
else
  echo "skipped: no emulator for arm64 (qemu-user-static, Linux 6.7)"
fi
