#!/usr/bin/env python3
"""GitHub's API for the versions of one package of a user, on the loopback: github_server.py REGISTRY_URL OWNER PACKAGE GRAPH REQUESTS

The versions are the NAME=DIGEST lines of GRAPH, tagged as the registry says. Prints its port, ends with its standard input, writes a line a
request to REQUESTS. Refuses what GitHub refuses: no token, another Accept, a version that is not there.
"""
import http.server
import json
import sys
import threading
import urllib.parse
import urllib.request

REGISTRY, OWNER, PACKAGE, GRAPH, REQUESTS = sys.argv[1:]
digests = [line.partition("=")[2].strip() for line in open(GRAPH, encoding="utf-8")]
versions = dict(enumerate(digests, 100))


def ask(path):
    request = urllib.request.Request(f"{REGISTRY}/v2/{OWNER}/{PACKAGE}{path}")
    request.add_header("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
    with urllib.request.urlopen(request) as answer:
        return answer.headers, answer.read()


def tags_of(digest):
    names = json.loads(ask("/tags/list")[1])["tags"] or []
    return [name for name in names if ask(f"/manifests/{name}")[0]["Docker-Content-Digest"] == digest]


def shown(number):
    return {"id": number, "name": versions[number], "created_at": "2023-01-01T00:00:00Z", "updated_at": "2023-01-01T00:00:00Z",
            "metadata": {"package_type": "container", "container": {"tags": tags_of(versions[number])}}}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def answer(self, status, value=None):
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        with open(REQUESTS, "a", encoding="utf-8") as out:
            out.write(f"{self.command} {self.path}\n")
        if self.headers.get("Authorization") != "Bearer github-token-EXAMPLE":
            return self.answer(401, {"message": "Bad credentials"})
        if self.headers.get("Accept") != "application/vnd.github+json" or self.headers.get("X-GitHub-Api-Version") != "2022-11-28":
            return self.answer(400, {"message": "Accept or version"})
        base = f"/users/{OWNER}/packages/container/{urllib.parse.quote(PACKAGE, safe='')}"
        path, _, query = self.path.partition("?")
        if path == base:
            return self.answer(200, {"name": PACKAGE})
        if path == base + "/versions" and "page=1" in query.split("&"):
            return self.answer(200, [shown(number) for number in versions])
        number = int(path.rpartition("/")[2]) if path.startswith(base + "/versions/") and path.rpartition("/")[2].isdigit() else None
        if number not in versions:
            return self.answer(404, {"message": "Not Found"})
        if self.command == "GET":
            return self.answer(200, shown(number))
        urllib.request.urlopen(urllib.request.Request(f"{REGISTRY}/v2/{OWNER}/{PACKAGE}/manifests/{versions.pop(number)}", method="DELETE"))
        return self.answer(204)

    do_DELETE = do_GET


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
