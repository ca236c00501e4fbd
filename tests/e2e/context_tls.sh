# https: the certificate authorities that SSL_CERT_FILE names vouch for files and for repositories; others do not.
. "$(dirname "$0")/lib.sh"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=127.0.0.1 \
  -addext subjectAltName=IP:127.0.0.1 2>/dev/null
cat key.pem cert.pem >both.pem
TLS_CERT="$T/both.pem"
export TLS_CERT
. "$(dirname "$0")/serve.sh"
unset SSL_CERT_FILE SSL_CERT_DIR || true
mkdir work
git_in . init -q -b main work
echo one >work/one
git_in work add -A
git_in work commit -qm one
git_in . clone -q --bare work "$T/www/git/repo.git"
echo file >"$T/www/files/one"
printf 'FROM scratch\nADD %s/git/repo.git /git/\nADD %s/files/one /file\n' "$URL" "$URL" >Dockerfile
said=$("$CORTEN" build --progress plain - <Dockerfile 2>&1) && fail "a certificate that nobody vouches for"
holds "$said" "certificate"
SSL_CERT_FILE="$T/cert.pem" "$CORTEN" build -q -o out - <Dockerfile >/dev/null || fail "SSL_CERT_FILE"
equal "$(cat out/git/one out/file | tr '\n' ' ')" "one file " "what came over TLS"
