"""A token server for docker-registry (distribution: docs/spec/auth): token_server.py KEY.pem CERT.pem SERVICE [LIFE]

Prints its port; speaks TLS when TLS_CERT names a file of key and certificate. /token takes GET with Basic ann:hunter2-secret (or nobody) and POST with the refresh token that
`offline_token=true` gives; the tokens are JWTs, signed by openssl, good for LIFE seconds (default 60). Everybody may pull, ann
may do all. A line for each request goes to standard error, without secrets.
"""
import base64
import http.server
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.parse

KEY, CERT, SERVICE = sys.argv[1:4]
LIFE = int(sys.argv[4]) if len(sys.argv) > 4 else 60
USER, PASSWORD, REFRESH = "ann", "hunter2-secret", "refresh-of-ann"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(user, scopes):
    with open(CERT) as file:
        chain = base64.b64encode(ssl.PEM_cert_to_DER_cert(file.read())).decode()
    now = int(time.time())
    access = []
    for scope in scopes:
        kind, rest = scope.split(":", 1)
        name, actions = rest.rsplit(":", 1)
        granted = [a for a in actions.split(",") if user == USER or a == "pull"]
        access.append({"type": kind, "name": name, "actions": granted})
    header = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
    claims = {"iss": "test", "sub": user, "aud": SERVICE, "exp": now + LIFE, "nbf": now - 5, "iat": now, "jti": str(now),
              "access": access}
    text = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", KEY], input=text.encode(), capture_output=True,
                               check=True).stdout
    return text + "." + b64(signature)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        user, basic = "", self.headers.get("Authorization")
        if basic:
            if basic != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
                return self.answer(401, {"details": "incorrect username or password"})
            user = USER
        answer = {"token": jwt(user, query.get("scope", [])), "expires_in": LIFE}
        if user and query.get("offline_token") == ["true"]:
            answer["refresh_token"] = REFRESH
        self.answer(200, answer)

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form.get("grant_type") != ["refresh_token"] or form.get("refresh_token") != [REFRESH]:
            return self.answer(401, {"error": "invalid_grant", "error_description": "who is this"})
        scopes = form.get("scope", [""])[0].split()
        self.answer(200, {"access_token": jwt(USER, scopes), "expires_in": LIFE})

    def log_message(self, form, *arguments):
        print(self.command, self.path, file=sys.stderr, flush=True)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if os.environ.get("TLS_CERT"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["TLS_CERT"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
