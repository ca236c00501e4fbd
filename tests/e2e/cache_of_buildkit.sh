# A cache that BuildKit wrote (tests/buildkit/built, by BuildKit 0.32.2) gives hits for every kind of step, and its layers as they are.
# Its tool writes random bytes into ./made, so whoever runs it has others than the cache.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/registry_lib.sh"

data=$(cd "$(dirname "$0")/../buildkit" && pwd)
cp -r "$data/built/context" context
cp -r "$data/built/cache" cache
find context cache -type d -exec chmod 755 {} +
find context cache -type f -exec chmod 644 {} +
chmod 755 context/tool
echo hush >secret

travel() { # STORE CONTEXT ARGUMENTS...: a build in that store
  store=store-$1
  context=$2
  shift 2
  CORTEN_STORE="$T/$store" build "$context" --platform linux/amd64 --secret id=s,src=secret "$@"
}

# From a directory: no step is executed.
travel one context --cache-from type=local,src=cache --output type=local,dest=out --output type=oci,dest=one.tar,tar=true
holds "$(cat log)" "9 of 9 steps cached"
equal "$(stat -c %a out/text/more.txt)" 705 "the mode of a copied file"
made=$(cat out/v/made)
case $made in ????????????????) ;; *) fail "the tool's bytes are $made" ;; esac
# The image's layers are the very blobs of the cache.
mkdir one
tar -xf one.tar -C one
for blob in $(cd cache/blobs/sha256 && ls); do
  cmp -s "cache/blobs/sha256/$blob" "one/blobs/sha256/$blob" && echo "$blob"
done >same
equal "$(wc -l <same)" 5 "layers that are as BuildKit wrote them"

# From a registry, in its older form: an index. What this build gives to a cache of ours holds what came from BuildKit's.
serve_registry
cp "$data/inline-config.json" "cache/blobs/sha256/$(sha256sum "$data/inline-config.json" | cut -d' ' -f1)"
for blob in cache/blobs/sha256/*; do
  to=$(curl -sf -X POST -D - -o /dev/null "http://$HOST/v2/bk/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  case $to in /*) to=http://$HOST$to ;; esac
  case $to in *\?*) to=$to\& ;; *) to=$to\? ;; esac
  curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @"$blob" "${to}digest=sha256:$(basename "$blob")"
done
curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @"$data/index.json" "http://$HOST/v2/bk/manifests/index"
curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @"$data/inline-manifest.json" \
  "http://$HOST/v2/bk/manifests/inline"
travel two context --cache-from "type=registry,ref=$HOST/bk:index" --cache-to type=local,dest=ours,mode=max --output type=local,dest=out2
holds "$(cat log)" "9 of 9 steps cached"
equal "$(cat out2/v/made)" "$made" "what the tool wrote, by way of a registry"
travel three context --cache-from type=local,src=ours --output type=local,dest=out3
holds "$(cat log)" "9 of 9 steps cached"
equal "$(cat out3/v/made)" "$made" "what the tool wrote, by way of a cache of ours"

# From an image, which has only its own layers: the stage that it takes files from is not needed, and not executed. With a cache of
# ours to be written, that cache has what was found.
travel inline context --cache-from "$HOST/bk:inline" --cache-to type=local,dest=ours-too --output type=local,dest=out-inline
holds "$(cat log)" "9 of 9 steps cached"
equal "$(cat out-inline/v/made)" "$made" "what the tool wrote, by way of an image"
# When it has to be executed after all, because one layer is gone, all is that stands on it: not a link.
gone=$(jq -r '.layers[1].digest' "$data/inline-manifest.json")
curl -sf -X DELETE "http://$HOST/v2/bk/blobs/$gone"
travel gone context --cache-from "$HOST/bk:inline" --output type=local,dest=out-gone
holds "$(cat log)" "building without it"
holds "$(cat log)" "2 of 9 steps cached"
differ "$(cat out-gone/v/made)" "$made" "what the tool wrote when a layer was gone"

# A changed file is a miss for those that read it; what runs above it runs.
cp -r context changed
echo other >changed/files/one.txt
travel four changed --cache-from type=local,src=cache --output type=local,dest=out4
holds "$(cat log)" "6 of 9 steps cached"
equal "$(cat out4/text/one.txt)" other "the changed file"
differ "$(cat out4/v/made)" "$made" "what the tool wrote"
equal "$(cat out4/made)" "$(cat out/made)" "what the unchanged stage gave"

# --no-cache asks nobody. A damaged layer, or a cache that is no JSON, is one warning and a build.
travel five context --no-cache --cache-from type=local,src=cache --output type=local,dest=out5
holds "$(cat log)" "0 of 9 steps cached"
differ "$(cat out5/v/made)" "$made" "what the tool wrote without caches"
cp -r cache damaged
for blob in $(cat same); do echo damaged >"damaged/blobs/sha256/$blob"; done
travel six context --cache-from type=local,src=damaged --output type=local,dest=out6
holds "$(cat log)" "building without it"
equal "$(grep -c 'building without it' log)" 1 "warnings"
differ "$(cat out6/v/made)" "$made" "what the tool wrote over damaged layers"

# Bodies with owners of their own can only go with their stores.
for store in store-*; do CORTEN_STORE=$T/$store "$CORTEN" prune --everything --force >/dev/null; done
