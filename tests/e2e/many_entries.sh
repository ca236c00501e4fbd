# An archive of very many members, made as a stream: it is taken in within memory that grows with their number alone, or refused for it, by name.
# CORTEN_ENTRIES: how many (300,000; the long form has ten million, which is more than an archive may have).
. "$(dirname "$0")/lib.sh"
entries=${CORTEN_ENTRIES:-300000}
cat >many.py <<'EOF'
# many.py ENTRIES KIND COMMAND...: gives the command a tar of so many empty members on its standard input; prints exit code and peak memory in MB.
import os, subprocess, sys
entries, kind, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
def block(name, flag=b"0", size=0, link=b""):
    b = bytearray(512)
    def put(at, text): b[at:at + len(text)] = text
    put(0, name); put(100, b"0000644"); put(124, b"%011o" % size); put(157, link); put(257, b"ustar\x0000"); b[156:157] = flag
    put(148, b"        "); put(148, b"%06o\0 " % sum(b))
    return bytes(b)
child = subprocess.Popen(command, stdin=subprocess.PIPE)
try:
    dockerfile = b"FROM scratch\nCOPY Dockerfile /\n"
    child.stdin.write(block(b"Dockerfile", size=len(dockerfile)) + dockerfile.ljust(512, b"\0"))
    if kind == "link": child.stdin.write(block(b"first"))
    flag, link = (b"1", b"first") if kind == "link" else (b"0", b"")
    plain = bytearray(block(b"d0000/f0000", flag, 0, link))
    base = sum(plain[:148]) + sum(plain[156:]) + 8 * 32 - sum(b"00000000")
    if kind == "large":
        child.stdin.write(block(b"large", size=300 << 20))
        for _ in range(300): child.stdin.write(bytes(1 << 20))
    for high in range((entries + 9999) // 10000):
        many = bytearray()
        for low in range(min(10000, entries - high * 10000)):
            digits = b"%04d%04d" % (high, low)
            plain[1:5], plain[7:11] = digits[:4], digits[4:]
            plain[148:154] = b"%06o" % (base + sum(digits))
            many += plain
        child.stdin.write(many)
    child.stdin.write(bytes(1024))
    child.stdin.close()
except BrokenPipeError: pass
_, status, used = os.wait4(child.pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss // 1024)
EOF
# Two thirds of a kilobyte a member, and what any build takes: nothing of the stream is kept.
most=$((150 + (entries < 4000000 ? entries : 4300000) / 1500))
for kind in file link; do
  python3 many.py "$entries" "$kind" "$CORTEN" build --progress plain - >out 2>err || fail "$kind: $(tail -3 err)"
  code=$(tail -1 out | cut -d' ' -f1) peak=$(tail -1 out | cut -d' ' -f2)
  echo "$entries members ($kind): exit code $code, $peak MB"
  [ -n "${CORTEN_SANITIZED-}" ] || [ "$peak" -le "$most" ] || fail "$kind: $peak MB for $entries members, more than $most"
  if [ "$entries" -lt 4000000 ]; then
    equal "$code" 0 "$kind ($(tail -3 err))"
  else
    equal "$code" 1 "$kind"
    holds "$(cat err)" "context: it holds too many files, or too long names"
  fi
done

# One large member, in a stream that is not kept either.
python3 many.py 0 large "$CORTEN" build --progress plain - >out 2>err || fail "large: $(tail -3 err)"
equal "$(tail -1 out | cut -d' ' -f1)" 0 "large ($(tail -3 err))"
peak=$(tail -1 out | cut -d' ' -f2)
[ -n "${CORTEN_SANITIZED-}" ] || [ "$peak" -le 150 ] || fail "large: $peak MB"
