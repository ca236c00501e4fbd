# login where tokens rule: docker-registry with a token server. The password is asked for once; what is kept is an identity token,
# which gets tokens from then on.
. "$(dirname "$0")/lib.sh"
here=$(dirname "$0")
. "$here/login_lib.sh"

openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=tokens 2>/dev/null
mkfifo port
python3 "$here/token_server.py" key.pem cert.pem the-service >port 2>tokens.log &
PIDS="$PIDS $!"
read -r TOKENS <port
printf 'version: 0.1\nstorage: {inmemory: {}}\nhttp: {addr: "127.0.0.1:0"}\nauth: {token: {realm: "http://127.0.0.1:%s/token", %s}}\n' \
  "$TOKENS" "service: the-service, issuer: test, rootcertbundle: $T/cert.pem" >registry.yml
serve registry.log docker-registry serve registry.yml

said=$(echo wrong-secret | "$CORTEN" login -u ann --password-stdin "$HOST" 2>&1) && fail "a wrong password"
holds "$said" "registry $HOST refused: token server http://127.0.0.1:$TOKENS/token answered 401: incorrect username or password"
lacks "$said" wrong-secret

said=$(login) || fail "login: $said"
holds "$said" "Login Succeeded"
holds "$(cat tokens.log)" "GET /token?service=the-service&account=ann&offline_token=true&client_id=corten"
holds "$(cat "$CONFIG")" '"identitytoken": "refresh-of-ann"'
lacks "$(base64 -d <<EOF
$(sed -n 's/.*"auth": "\([^"]*\)".*/\1/p' "$CONFIG")
EOF
)" hunter2

: >tokens.log
said=$("$CORTEN" login "$HOST" 2>&1 </dev/null) || fail "with the identity token: $said"
holds "$said" "Login Succeeded"
holds "$(cat tokens.log)" "POST /token"
lacks "$(cat tokens.log)" "GET /token"
equal "$("$CORTEN" logout "$HOST")" "Removing login credentials for $HOST" "logout"

# with_tokens REALM FLAGS...: our own registry, which believes this server's tokens.
with_tokens() {
  realm=$1
  shift
  serve_own --auth-token-realm "$realm" --auth-token-service the-service --auth-token-issuer test --auth-token-key cert.pem "$@"
}
with_tokens "http://127.0.0.1:$TOKENS/token"
said=$(login) || fail "our own registry: $said"
holds "$said" "Login Succeeded"

# With TLS: the authority of the registry (certs.d) counts for its token server; another's does not.
for name in ours others; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $name.key -out $name.crt -days 2 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 2>/dev/null
  cat $name.key $name.crt >$name.pem
  TLS_CERT=$name.pem python3 "$here/token_server.py" key.pem cert.pem the-service >port 2>tokens.log &
  PIDS="$PIDS $!"
  read -r TOKENS <port
  with_tokens "https://127.0.0.1:$TOKENS/token" --tls-cert ours.crt --tls-key ours.key
  mkdir -p "$T/etc/docker/certs.d/$HOST"
  cp ours.crt "$T/etc/docker/certs.d/$HOST/ca.crt"
  if [ $name = ours ]; then
    said=$(login) || fail "tokens over TLS: $said"
  else
    said=$(login) && fail "a token server that nobody vouches for"
    holds "$said" "certificate is not trusted"
  fi
done
