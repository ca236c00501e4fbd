#!/usr/bin/env python3
"""A bucket of Amazon S3 on the loopback: s3_server.py DIRECTORY

Prints its port, ends with its standard input; objects lie in DIRECTORY/objects, a line a request in DIRECTORY/requests. Each request has to be signed (made anew
here, from "Signature Calculations for the Authorization Header"), and a digest that is signed has to be the body's. Path style, uploads in parts, Range, HEAD.
"""
import calendar
import hashlib
import hmac
import http.server
import re
import sys
import threading
import time
import urllib.parse
from pathlib import Path

HERE = Path(sys.argv[1])
KEYS = {"AKIAIOSFODNN7EXAMPLE": ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None),
        "ASIAIOSFODNN7EXAMPLE": ("session-secret-EXAMPLE", "session-token-EXAMPLE")}
lock = threading.Lock()
uploads = {}


class Refusal(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def escaped(text, kept=""):
    return urllib.parse.quote(text, safe=kept + "-_.~")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def check_signature(self, path, query, body):
        match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
                             self.headers.get("Authorization", ""))
        if not match:
            raise Refusal(403, "AccessDenied", "Access Denied")
        key_id, day, region, names, signature = match.groups()
        if key_id not in KEYS:
            raise Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
        secret, token = KEYS[key_id]
        if self.headers.get("x-amz-security-token") != token:
            raise Refusal(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        date = self.headers.get("x-amz-date", "")
        if not date.startswith(day) or abs(calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.time()) > 900:
            raise Refusal(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
        signed = names.split(";")
        needed = {"host"} | {name.lower() for name in self.headers if name.lower().startswith("x-amz-")}
        if signed != sorted(signed) or not needed <= set(signed) or region != "eu-west-1":
            raise Refusal(403, "AccessDenied", f"There were headers present in the request which were not signed: {names}")
        payload = self.headers["x-amz-content-sha256"]
        if payload != "UNSIGNED-PAYLOAD" and payload != hashlib.sha256(body).hexdigest():
            raise Refusal(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
        fields = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in signed)
        text = "&".join(sorted(f"{escaped(name)}={escaped(value)}" for name, value in query))
        canonical = "\n".join([self.command, escaped(path, "/"), text, fields, names, payload])
        to_sign = f"AWS4-HMAC-SHA256\n{date}\n{day}/{region}/s3/aws4_request\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = mac(mac(mac(mac(("AWS4" + secret).encode(), day), region), "s3"), "aws4_request")
        if not hmac.compare_digest(mac(key, to_sign).hex(), signature):
            raise Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match \x1b[31m")

    def answer(self, status, body=b"", fields=()):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        if "Content-Length" not in dict(fields):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        raw_path, _, raw_query = self.path.partition("?")
        path = urllib.parse.unquote(raw_path)
        query = [(urllib.parse.unquote(name), urllib.parse.unquote(value))
                 for name, _, value in (pair.partition("=") for pair in raw_query.split("&") if pair)]
        with lock, open(HERE / "requests", "a", encoding="utf-8") as log:
            log.write(f"{self.command} {self.path}\n")
        try:
            self.check_signature(path, query, body)
            self.serve(path, dict(query), body)
        except Refusal as refusal:
            text = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>".encode()
            self.answer(refusal.status, text)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def serve(self, path, query, body):
        if not path.startswith("/bucket/"):
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        file = HERE / "objects" / escaped(path[len("/bucket/"):])
        if "uploads" in query:
            with lock:
                upload = str(len(uploads))
                uploads[upload] = {}
            return self.answer(200, f"<R><UploadId>{upload}</UploadId></R>".encode())
        if "uploadId" in query:
            parts = uploads[query["uploadId"]]
            if self.command == "PUT":
                parts[int(query["partNumber"])] = body
                return self.answer(200, fields=[("ETag", '"part"')])
            if self.command == "POST":
                file.write_bytes(b"".join(parts[number] for number in sorted(parts)))
            return self.answer(200)
        if self.command == "PUT":
            file.write_bytes(body)
            return self.answer(200, fields=[("ETag", '"whole"')])
        if self.command == "DELETE":
            file.unlink(missing_ok=True)
            return self.answer(204)
        if not file.exists():
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        content = file.read_bytes()
        if self.command == "HEAD":
            return self.answer(200, fields=[("Content-Length", str(len(content)))])
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match:
            begin = int(match.group(1))
            return self.answer(206, content[begin:], [("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")])
        return self.answer(200, content)


(HERE / "objects").mkdir(parents=True, exist_ok=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
