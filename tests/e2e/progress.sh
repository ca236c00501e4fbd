# What a build shows: on a terminal of two sizes and after a resize, when it fails and when Ctrl-C is typed; in plain lines; as events.
# shellcheck disable=SC1007 # an empty CDPATH
HERE=$(CDPATH= cd "$(dirname "$0")" && pwd)
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || fail "python3 is needed"
base root
mkdir context
cp -r root context/root
terminal() { TERM=xterm-256color python3 "$HERE/in_terminal.py" "$@"; }
screen() { python3 "$HERE/screen.py" out; }

long=$(printf 'word%.0s ' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42)
{
  echo 'FROM scratch AS base'
  echo 'COPY root /'
  for i in 1 2 3 4 5 6; do echo "RUN echo step $i $long"; done
  echo 'FROM base AS left'
  for i in 1 2 3 4; do
    printf '%s\n' "RUN echo left $i; printf '\\033[2J\\033]0;title\\007\\033[32mgreen\\033[0m\\n'"
  done
  echo 'FROM base AS right'
  for i in 1 2 3 4; do echo "RUN echo right $i; sleep 0.2"; done
  echo 'FROM base'
  echo 'COPY --from=left /etc/passwd /left'
  echo 'COPY --from=right /etc/passwd /right'
} >context/Dockerfile

for size in 80x24 200x50; do
  terminal $size out "$CORTEN" build --no-cache-filter left,right -t shown context || fail "a build on a terminal of $size"
  # Nothing of a step's but its text and colours arrives, and no line is wider than the terminal.
  python3 - out $size <<'PY' || fail "on a terminal of $size"
import re, sys, unicodedata
data = open(sys.argv[1], "rb").read().decode()
columns = int(sys.argv[2].split("x")[0])
allowed = re.compile("\x1b\\[([0-9;]*m|[0-9]*[ABG]|[JK]|\\?(25|7|2026)[hl])")
rest = allowed.sub("", data)
bad = [c for c in rest if ord(c) < 32 and c not in "\r\n"]
assert not bad, bad
assert data.count("\x1b[?2026h") == data.count("\x1b[?2026l") > 1
assert data.count("\x1b[?25l") == data.count("\x1b[?25h") and data.count("\x1b[?7l") == data.count("\x1b[?7h")
frames = re.findall("\x1b\\[\\?2026h(.*?)\x1b\\[\\?2026l", data, re.S)
for frame in frames:
    for line in re.split("\r\n|\r|\x1b\\[[0-9]*[ABG]", frame):
        assert len(allowed.sub("", line)) < columns, line
PY
  picture=$(screen)
  holds "$picture" '(18/18) FINISHED'
  lacks "$picture" 'running'
  equal "$(printf '%s\n' "$picture" | grep -c Building)" 1 "heads on the screen: $picture"
done
holds "$picture" '=> CACHED 9 steps'
holds "$picture" '[right 4/4] RUN echo right 4'

# A window that becomes narrower in the middle: what follows fits it.
printf 'FROM scratch\nCOPY root /\nRUN echo begun; sleep 0.5\nRUN echo after %s; sleep 0.3\n' "$long" >context/Dockerfile.resize
terminal 200x50 --resize 'begun; sleep' 60x20 out "$CORTEN" build --no-cache -f context/Dockerfile.resize -t shown context || fail "a resize"
python3 - out <<'PY' || fail "after a resize"
import re, sys
frames = open(sys.argv[1], "rb").read().decode().split("\x1b[?2026h")
assert "begun" in frames[-1] or any("\r\x1b[J" in frame and "begun" in frame for frame in frames[2:]), "drawn anew"
position = "\r\n|\r|\x1b\\[[0-9]*[ABG]"
for part in re.split(position, frames[-1].split("\x1b[?2026l")[0]):
    assert len(re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", part)) < 60, part
PY

# A failing step, and Ctrl-C: the picture says which, the terminal is given back, the exit code stays.
printf 'FROM scratch\nCOPY root /\nRUN echo no; exit 3\n' >context/Dockerfile.fails
code=0
terminal 80x24 out "$CORTEN" build -f context/Dockerfile.fails context || code=$?
equal $code 1 "the exit code of a failure"
picture=$(screen)
holds "$picture" '(1/3) FAILED'
holds "$picture" '=> ERROR [2/2] RUN echo no; exit 3'
printf 'FROM scratch\nCOPY root /\nRUN echo ready to stop; sleep 1000\n' >context/Dockerfile.waits
code=0
terminal 80x24 --interrupt '# ready to stop' out "$CORTEN" build -f context/Dockerfile.waits context || code=$?
differ $code 0 "the exit code after Ctrl-C"
picture=$(screen)
holds "$picture" '(1/3) CANCELED'
holds "$picture" '=> CANCELED [2/2] RUN echo ready to stop'

# BUILDKIT_TTY_LOG_LINES=0: no output in the picture.
BUILDKIT_TTY_LOG_LINES=0 terminal 80x24 out "$CORTEN" build --no-cache -f context/Dockerfile.resize context || fail "without lines"
lacks "$(cat out)" '=> #'

# Plain: no control byte, and the same lines again but for their clocks.
plain() { "$CORTEN" build --progress plain --no-cache --target left context 2>&1 | sed 's/[0-9][0-9]*\.[0-9]*/T/g; s/sha256:[0-9a-f]*/D/'; }
plain >one
plain >two
cmp one two || fail "two plain logs differ"
if LC_ALL=C grep -q "$(printf '[\001-\010\013-\037]')" one; then fail "control bytes in a plain log"; fi
holds "$(cat one)" ' T green'

# Events: each vertex is planned before any starts, and the export's file is counted.
"$CORTEN" build --progress rawjson -o type=tar,dest=image.tar context 2>events || fail "rawjson"
python3 - events image.tar <<'PY' || fail "the events"
import json, os, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
vertexes = [v for line in lines for v in line.get("vertexes", [])]
first = next(i for i, v in enumerate(vertexes) if "started" in v)
planned = {v["digest"] for v in vertexes[:first]}
assert {v["digest"] for v in vertexes} == planned and len(planned) == 18, len(planned)
assert all(i in planned for v in vertexes for i in v.get("inputs", []))
assert {v["digest"] for v in vertexes if "completed" in v} == planned
export = next(v for v in vertexes if v["name"] == "exporting to image")
assert export["inputs"]
statuses = [s for line in lines for s in line.get("statuses", []) if s["vertex"] == export["digest"]]
done = [s for s in statuses if "completed" in s]
assert len(done) == 1 and done[0]["id"] == "writing image.tar", statuses
assert done[0]["total"] == done[0]["current"] == os.path.getsize(sys.argv[2]), done
PY
