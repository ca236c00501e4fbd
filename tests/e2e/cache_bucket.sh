# Caches in a bucket: signed as Amazon wants it (the server makes each signature anew), cache mounts by chunk, and nothing of a key in any text.
. "$(dirname "$0")/lib.sh"
for variable in $(env | sed -n 's/^\(AWS_[A-Z_]*\)=.*/\1/p') http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; do unset "$variable"; done
export HOME="$T/home" AWS_EC2_METADATA_DISABLED=true
mkdir -p "$HOME" s3
mkfifo in out
python3 "$(dirname "$0")/s3_server.py" "$T/s3" <in >out &
exec 9>in
read -r port <out
bucket="type=s3,bucket=bucket,region=eu-west-1,endpoint_url=http://127.0.0.1:$port,use_path_style=true,prefix=team a/"
requests() { cat s3/requests 2>/dev/null || true; }

base bb
mkdir -p app
cat >app/Dockerfile <<'EOD'
FROM base AS build
RUN head -c 3000000 /dev/urandom >/tools
COPY src .
RUN --mount=type=cache,target=/m if [ -e /m/big ]; then echo warm; else head -c 6000000 /dev/urandom >/m/big; echo cold; fi >/out; cat src >>/m/seen; cp /m/seen /out2
FROM base
COPY --from=build /out /out2 /
CMD ["cat", "/out", "/out2"]
EOD
echo one >app/src
travel() { # STORE ARGUMENTS...
  store=$1
  shift
  CORTEN_STORE="$T/$store" build app --build-context base=bb -t app "$@"
}

# Keys of the environment; a second store takes all of it, and nothing is sent.
export AWS_ACCESS_KEY_ID=ASIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=session-secret-EXAMPLE AWS_SESSION_TOKEN=session-token-EXAMPLE
travel one --cache-to "$bucket,mode=max,mounts=true"
holds "$(ls s3/objects)" "team%20a%2Fmanifests%2Fbuildkit"
holds "$(requests)" "PUT /bucket/team%20a/blobs/sha256%3A"
: >s3/requests
travel two --cache-from "$bucket"
lacks "$(cat log)" "warning"
lacks "$(requests)" "PUT"
CORTEN_STORE="$T/two" "$CORTEN" run --rm app >ran
equal "$(cat ran)" "cold
one" "what the cache had"

# A changed source in an empty store: the mount is warm, and only what changed of it is sent.
echo two >app/src
: >s3/requests
travel three --cache-from "$bucket" --cache-to "$bucket,mode=max,mounts=true"
CORTEN_STORE="$T/three" "$CORTEN" run --rm app >ran
equal "$(cat ran)" "warm
one
two" "the mount travelled"
[ "$(requests | grep -c PUT)" -lt 20 ] || fail "too much was sent: $(requests)"

# Wrong keys: reading is a miss with a warning, writing fails unless errors are ignored; no key is shown, nor what the server says of it.
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
wrong="$bucket,access_key_id=AKIAIOSFODNN7EXAMPLE,secret_access_key=hidden-and-wrong"
travel four --cache-from "$wrong"
holds "$(cat log)" "SignatureDoesNotMatch"
travel four --cache-to "$wrong,ignore-error=true"
code=0
CORTEN_STORE="$T/four" "$CORTEN" build app --build-context base=bb --cache-to "$wrong" >>log 2>&1 || code=$?
[ "$code" -ne 0 ] || fail "a cache that cannot be written did not fail the build"
lacks "$(cat log)" "hidden-and-wrong"
lacks "$(cat log)" "$(printf '\033')"
