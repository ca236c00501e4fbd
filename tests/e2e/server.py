#!/usr/bin/env python3
"""server.py ROOT LOG: an http server on the loopback for tests. Prints its port, then serves until standard input ends.

  /files/...      files below ROOT/files, with ETag and Last-Modified, obeying If-None-Match
  /git/...        repositories below ROOT/git, by `git http-backend`; below /git/private/ with "x-access-token:t0ken" only
  /dumb/...       the same files as they lie (dumb http)
(over TLS, with the certificate and key in the file $TLS_CERT)
  /moved/...      redirected to /git/... here          /away/...   to the same on localhost, which is another host;
                  an Authorization that arrives there gets a line "leaked" in LOG
  /redirect/N     N redirects, then /files/one
  /endless        a body that does not end        /lies    a length that is not kept
  /meet/...       answered when two such requests are there at once
  /stall          a body that begins and does not go on
  /notime         a file without ETag and Last-Modified
LOG gets a line for each request: method, path, status.
"""
import base64
import email.utils
import hashlib
import os
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT, LOG = sys.argv[1], sys.argv[2]
MEETING = threading.Barrier(2)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send_response(self, code, message=None):
        with open(LOG, "a") as log:
            log.write(f"{self.command} {self.path} {code}\n")
        super().send_response(code, message)

    def answer(self, code, body=b"", **fields):
        self.send_response(code)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        if self.headers.get("Host", "").startswith("localhost") and self.headers.get("Authorization"):
            with open(LOG, "a") as log:
                log.write("leaked\n")
        if path.startswith("/git/"):
            return self.git(path)
        if path.startswith(("/moved/", "/away/")):
            self.body()
            host = "127.0.0.1" if path.startswith("/moved/") else "localhost"
            place = self.path.split("/", 2)[2]
            return self.answer(302, Location=f"http://{host}:{server.server_address[1]}/git/{place}")
        if path.startswith("/redirect/"):
            left = int(path[10:])
            return self.answer(302, Location=f"/redirect/{left - 1}" if left > 1 else "/files/one")
        if path == "/endless":
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        if path.startswith("/meet/"):
            try:
                MEETING.wait(20)
            except threading.BrokenBarrierError:
                return self.answer(404)
            return self.answer(200, b"met\n")
        if path == "/stall":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"begun")
            self.wfile.flush()
            self.close_connection = True
            self.connection.recv(1)
            return None
        if path == "/lies":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"too little")
            self.close_connection = True
            return
        if path == "/notime":
            return self.answer(200, b"no time\n")
        if path.startswith(("/files/", "/dumb/")):
            return self.file(path)
        return self.answer(404)

    def file(self, path):
        name = os.path.join(ROOT, path[1:].replace("dumb/", "git/", 1))
        if ".." in path or not os.path.isfile(name):
            return self.answer(404)
        with open(name, "rb") as file:
            body = file.read()
        fields = {"Last_Modified": email.utils.formatdate(os.stat(name).st_mtime, usegmt=True),
                  "ETag": '"' + hashlib.sha256(body).hexdigest()[:16] + '"'}
        if self.headers.get("If-None-Match") == fields["ETag"]:
            self.send_response(304)
            self.send_header("ETag", fields["ETag"])
            self.end_headers()
            return None
        return self.answer(200, body, **fields)

    def git(self, path):
        expected = "basic " + base64.b64encode(b"x-access-token:t0ken").decode()
        if path.startswith("/git/private/") and self.headers.get("Authorization") != expected:
            return self.answer(401, WWW_Authenticate='Basic realm="tests"')
        environment = dict(os.environ, GIT_PROJECT_ROOT=ROOT + "/git", GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path[4:],
                           REQUEST_METHOD=self.command, QUERY_STRING=self.path.partition("?")[2], REMOTE_ADDR="127.0.0.1",
                           CONTENT_TYPE=self.headers.get("Content-Type", ""),
                           HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
                           GIT_PROTOCOL=self.headers.get("Git-Protocol", "") if not path.startswith("/git/old/") else "",
                           GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
        body = self.body()
        result = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, rest = result.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        code = int(fields.pop("Status", "200").split()[0])
        return self.answer(code, rest, **{name.replace("-", "_"): value for name, value in fields.items()})

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if os.environ.get("TLS_CERT"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["TLS_CERT"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
