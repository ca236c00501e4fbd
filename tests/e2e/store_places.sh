# Where things lie: the store, and nothing elsewhere; deleting the store deletes everything, files of other ids included.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx home data
printf 'FROM base\nRUN mkdir -p /owned/deep && echo x >/owned/deep/f && chown -R 1000:50 /owned && chmod 700 /owned\nRUN --mount=type=cache,target=/c echo x >/c/f && chown 1000 /c/f\n' >ctx/Dockerfile
unset CORTEN_STORE
export HOME="$T/home" XDG_DATA_HOME="$T/data" XDG_CONFIG_HOME="$T/home/.config"
if [ "$(id -u)" = 0 ]; then export CORTEN_STORE="$T/data/corten"; fi
build ctx --build-context base=bb -t x
[ -e "$T/data/corten/index.db" ] || fail "the store is not where it should be"
equal "$(find home -mindepth 1)" "" "files in HOME"
mkdir -p home/.config/corten
echo "store: $T/elsewhere" >home/.config/corten/config.yaml
(unset CORTEN_STORE; "$CORTEN" images >/dev/null)
[ -e "$T/elsewhere/index.db" ] || fail "the configured store"
(unset CORTEN_STORE; "$CORTEN" prune --everything --force >/dev/null)
echo 'stoer: x' >home/.config/corten/config.yaml
said=$("$CORTEN" images 2>&1) && fail "a wrong setting"
holds "$said" "did you mean store?"
rm home/.config/corten/config.yaml
"$CORTEN" prune --everything --force >/dev/null
[ ! -e "$T/data/corten" ] || fail "the store is still there: $(find "$T/data" | head -3)"
export CORTEN_STORE="$T/store"
