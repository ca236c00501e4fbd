# login and logout: the registry is asked first, what is kept is closed to others and read by other tools, helpers keep it better,
# nothing secret is said; certificates from certs.d.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/login_lib.sh"
mkdir -p "$T/bin"
storage="version: 0.1
storage: {inmemory: {}}"

# ann's password, as bcrypt of four rounds.
# shellcheck disable=SC2016
echo 'ann:$2b$04$L3CsrPOmFAGy6ufot5OB0unNSTeSGzuUSGIWYienlBIIBQzJm1Z.G' >htpasswd
printf '%s\nhttp: {addr: "127.0.0.1:0"}\nauth: {htpasswd: {realm: test, path: %s/htpasswd}}\n' "$storage" "$T" >plain.yml
serve plain.log docker-registry serve plain.yml

# What is wrong is not kept.
said=$(echo wrong-secret | "$CORTEN" login -u ann --password-stdin "$HOST" 2>&1) && fail "a wrong password"
holds "$said" "registry $HOST refused (401): UNAUTHORIZED: authentication required"
holds "$said" "as user \"ann\" from the command line"
lacks "$said" wrong-secret
[ ! -e "$CONFIG" ] || fail "a refused password was kept"

said=$(printf '%s\r\n' "$SECRET" | "$CORTEN" login -u ann --password-stdin "$HOST" 2>&1) || fail "login: $said"
holds "$said" "Login Succeeded"
holds "$said" "stored unencrypted"
lacks "$said" "$SECRET"
equal "$(stat -c %a "$CONFIG" "$HOME/.docker" | tr '\n' ' ')" "600 700 " "modes"
equal "$(skopeo login --get-login --authfile "$CONFIG" "$HOST")" ann "what skopeo reads"
holds "$("$CORTEN" login -u ann -p "$SECRET" "http://$HOST/v2/" 2>&1)" "using --password via the CLI is insecure"
grep -q "\"$HOST\"" "$CONFIG" || fail "an address is kept by its host"

said=$("$CORTEN" login "$HOST" 2>&1 </dev/null) || fail "with what is there: $said"
holds "$said" "existing credentials from $CONFIG... [Username: ann]"
holds "$said" "Login Succeeded"

# Docker's rules of flags.
said=$("$CORTEN" login --password-stdin "$HOST" 2>&1 </dev/null) && fail "no user"
holds "$said" "must provide --username with --password-stdin"
said=$("$CORTEN" login -u ann -p x --password-stdin "$HOST" 2>&1 </dev/null) && fail "two passwords"
holds "$said" "mutually exclusive"
said=$("$CORTEN" login 127.0.0.1:1 2>&1 </dev/null) && fail "no terminal"
holds "$said" "cannot perform an interactive login from a non TTY device"

equal "$("$CORTEN" logout "$HOST")" "Removing login credentials for $HOST" "logout"
equal "$("$CORTEN" logout "$HOST")" "Not logged in to $HOST" "logout again"
lacks "$(cat "$CONFIG")" "$HOST"

# On a terminal what is typed is not shown.
cat >terminal.py <<'EOF'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "login", "--authfile", "asked.json", sys.argv[2]])
shown = b""
def until(prompt):
    global shown
    while prompt not in shown:
        shown += os.read(fd, 1000)
until(b"Username: ")
os.write(fd, b"ann\n")
until(b"Password: ")
os.write(fd, sys.argv[3].encode() + b"\n")
try:
    while True:
        more = os.read(fd, 1000)
        if not more:
            break
        shown += more
except OSError:
    pass
sys.stdout.write(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
EOF
said=$(timeout 60 python3 terminal.py "$CORTEN" "$HOST" "$SECRET") || fail "on a terminal: $said"
holds "$said" "Login Succeeded"
lacks "$said" "$SECRET"
equal "$(skopeo login --get-login --authfile asked.json "$HOST")" ann "--authfile"

# A helper keeps it, and Docker's file tells of the host alone.
cat >bin/docker-credential-drawer <<'EOF'
#!/bin/sh
case $1 in
  store) cat >"$HOME/drawer" ;;
  get) read -r server; grep -q "\"ServerURL\":\"$server\"" "$HOME/drawer" 2>/dev/null && cat "$HOME/drawer" ||
    { echo "credentials not found in native keychain"; exit 1; } ;;
  erase) rm "$HOME/drawer" ;;
esac
EOF
chmod +x bin/docker-credential-drawer
PATH="$T/bin:$PATH"
printf '{"credsStore": "drawer", "proxies": {"default": {"noProxy": "*"}}}' >"$CONFIG"
said=$(echo "$SECRET" | "$CORTEN" login -u ann --password-stdin "$HOST" 2>&1) || fail "with a helper: $said"
lacks "$said" unencrypted
holds "$(cat "$HOME/drawer")" "\"Secret\":\"$SECRET\""
lacks "$(cat "$CONFIG")" '"auth"'
holds "$(cat "$CONFIG")" '"noProxy"'
equal "$("$CORTEN" logout "$HOST")" "Removing login credentials for $HOST" "logout with a helper"
[ ! -e "$HOME/drawer" ] || fail "the helper was not told"
rm "$CONFIG"

# TLS with an authority of one's own and client certificates: certs.d.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.crt" -days 2 \
    -subj "/CN=$1" 2>/dev/null
}
# signed NAME ISSUER
signed() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
  printf 'subjectAltName=IP:127.0.0.1\n' >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.cert" 2>/dev/null
}
authority ours
authority others
signed server ours
signed client ours
printf '%s\nhttp: {addr: "127.0.0.1:0", tls: {certificate: %s/server.cert, key: %s/server.key, clientcas: [%s/ours.crt]}}\n' \
  "$storage" "$T" "$T" "$T" >tls.yml
serve tls.log docker-registry serve tls.yml
certificates="$T/etc/docker/certs.d/$HOST"
mkdir -p "$certificates"
cp client.cert client.key "$certificates/"
cp others.crt "$certificates/others.crt"
said=$(login) && fail "an authority that does not vouch for it"
holds "$said" "certificate is not trusted"
holds "$said" "/etc/docker/certs.d/$HOST/ca.crt"
rm "$certificates/others.crt"
cp ours.crt "$certificates/ours.crt"
said=$(login) || fail "with authority and certificate: $said"
rm "$certificates/client.key"
said=$(login) && fail "half a client certificate"
holds "$said" "its key client.key is missing"
rm "$certificates/client.cert"
said=$(login) && fail "without a client certificate"

# Our own registry, with users, on a port that speaks TLS alone: found out, as its own host is this machine.
serve_own --tls-cert server.cert --tls-key server.key --htpasswd htpasswd
said=$(echo wrong-secret | "$CORTEN" login -u ann --password-stdin "$HOST" 2>&1) && fail "a wrong password for our own"
holds "$said" "registry $HOST refused (401): UNAUTHORIZED"
said=$(login) || fail "our own registry: $said"
holds "$said" "Login Succeeded"

# What other tools' files say wrongly is named with its place.
mkdir -p "$T/etc/containers"
printf '[[registry]]\nlocation = "a b"\n' >"$T/etc/containers/registries.conf"
said=$(login) && fail "a malformed registries.conf"
holds "$said" "$T/etc/containers/registries.conf:2: location \"a b\" is no HOST[:PORT][/PATH]"
