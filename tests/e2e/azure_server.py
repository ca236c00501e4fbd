#!/usr/bin/env python3
"""Azure on the loopback: directory, resource manager, a registry and its storage, as strict as they are: azure_server.py DIRECTORY

Prints its port, ends with its standard input, writes a line a request to DIRECTORY/requests. Each part takes its own credential only: a
secret or assertion gets a token of the directory, that a refresh token of the registry or the resource manager's obedience; the storage takes
the signature in its address and refuses a bearer token.
"""
import hashlib
import http.server
import io
import json
import re
import sys
import tarfile
import threading
import urllib.parse
from pathlib import Path

HERE = Path(sys.argv[1])
TENANT, CLIENT, SECRET = "tenant-1", "client-1", "azure-secret-EXAMPLE"
TOKEN, REFRESH, SIGNATURE = "directory-token-EXAMPLE", "refresh-token-EXAMPLE", "signature-EXAMPLE"
RESOURCE = "/subscriptions/sub-1/resourceGroups/group/providers/Microsoft.ContainerRegistry/registries/127"
state = {"retention": {"days": 7, "status": "disabled"}, "polls": 0, "log": b"", "context": b"", "status": "Queued", "upload": False}
lock = threading.Lock()


class Refusal(Exception):
    def __init__(self, status, code, message=""):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


def manifest(architecture):
    return json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "0" * 64, "size": 2},
                       "layers": [], "annotations": {"architecture": architecture}}).encode()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def need(condition, what, status=400):
    if not condition:
        raise Refusal(status, "BadRequest", what)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", **fields):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        with lock:
            try:
                with open(HERE / "requests", "a", encoding="utf-8") as out:
                    out.write(f"{self.command} {path}\n")
                self.route(path, dict(urllib.parse.parse_qsl(query)), body)
            except Refusal as refusal:
                self.answer(refusal.status, {"error": {"code": refusal.code, "message": refusal.message}})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

    def form(self, body):
        need(self.headers["Content-Type"] == "application/x-www-form-urlencoded", "content type")
        return dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))

    def route(self, path, query, body):
        base = f"http://127.0.0.1:{server.server_port}"
        if path == f"/{TENANT}/oauth2/v2.0/token":
            return self.directory(self.form(body))
        if path == "/oauth2/exchange":
            members = self.form(body)
            need(members.get("grant_type") == "access_token" and members.get("service") == self.headers["Host"], "exchange")
            need(members.get("access_token") == TOKEN and members.get("tenant") == TENANT, "token", 401)
            return self.answer(200, {"refresh_token": REFRESH})
        if path == "/oauth2/token":
            members = self.form(body)
            need(members.get("grant_type") == "refresh_token" and members.get("refresh_token") == REFRESH, "refresh token", 401)
            return self.answer(200, {"access_token": "registry-token-EXAMPLE"})
        if path.startswith(("/v2/", "/acr/v1/")):
            return self.registry(path, query, body, base)
        if path.startswith("/storage/"):
            return self.storage(path, query, body)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, "AuthenticationFailed", "Authentication failed.")
        if path == "/subscriptions":
            need(query.get("api-version") == "2020-01-01", "api-version")
            return self.answer(200, {"value": [{"subscriptionId": "sub-0"}, {"subscriptionId": "sub-1"}]})
        if re.fullmatch(r"/subscriptions/sub-\d/providers/Microsoft.ContainerRegistry/registries", path):
            if "sub-0" in path:
                return self.answer(200, {"value": []})
            if "page" not in query:
                return self.answer(200, {"value": [{"name": "other", "id": "/other"}], "nextLink": f"{base}{path}?page=2"})
            return self.answer(200, {"value": [{"name": "127", "id": RESOURCE}]})
        need(path.startswith(RESOURCE), "no such resource", 404)
        return self.resource(path[len(RESOURCE):], query, body, base)

    def directory(self, members):
        if members.get("grant_type") != "client_credentials" or not members.get("scope", "").endswith("/.default"):
            raise Refusal(400, "invalid_request")
        good = members.get("client_secret") == SECRET or (members.get("client_assertion") == "web.identity.token" and members.get(
            "client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        if members.get("client_id") != CLIENT or not good:
            return self.answer(401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."})
        return self.answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN})

    def registry(self, path, query, body, base):
        if self.headers.get("Authorization") != "Bearer registry-token-EXAMPLE":
            return self.answer(401, WWW_Authenticate=f'Bearer realm="{base}/oauth2/token",service="{self.headers["Host"]}"')
        if path == "/acr/v1/app/_manifests":
            old, gone = {"lastUpdateTime": "2023-01-01T00:00:00Z"}, state.get("deleted", set())
            if "last" in query:
                return self.answer(200, {"registry": self.headers["Host"], "imageName": "app"})
            rows = [{"digest": digest(manifest("amd64")), "tags": ["v1"], **old},
                    {"digest": digest(manifest("arm64")), "changeableAttributes": {"deleteEnabled": True}, **old}]
            return self.answer(200, {"manifests": [row for row in rows if row["digest"] not in gone]})
        if self.command == "DELETE" and path.startswith("/v2/app/manifests/sha256:"):
            state.setdefault("deleted", set()).add(path.rpartition("/")[2])
            return self.answer(202)
        for architecture in ("amd64", "arm64"):
            if path == f"/v2/app/manifests/{digest(manifest(architecture))}":
                return self.answer(200, manifest(architecture), Content_Type="application/vnd.oci.image.manifest.v1+json")
        if self.command == "PUT" and path.startswith("/v2/app/manifests/"):
            (HERE / "index").write_bytes(body)
            return self.answer(201)
        if self.command == "DELETE" and path.startswith("/acr/v1/app/_tags/"):
            return self.answer(202)
        return self.answer(404, {"errors": [{"code": "NAME_UNKNOWN"}]})

    def storage(self, path, query, body):
        need(query.get("sig") == SIGNATURE, "signature", 403)
        need("Authorization" not in self.headers, "a storage takes no bearer token with a signature", 400)
        if self.command == "PUT":
            need(self.headers.get("x-ms-blob-type") == "BlockBlob", "x-ms-blob-type")
            state["context"] = body
            return self.answer(201)
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        need(match, "range")
        start = int(match.group(1))
        if start >= len(state["log"]):
            return self.answer(416)
        return self.answer(206, state["log"][start:], Content_Range=f"bytes {start}-{len(state['log']) - 1}/{len(state['log'])}")

    def resource(self, path, query, body, base):
        version = query.get("api-version")
        members = json.loads(body) if body else {}
        if path == "" and self.command in ("GET", "PATCH"):
            need(version == "2023-01-01-preview", "api-version")
            if self.command == "PATCH":
                policy = members["properties"]["policies"]["retentionPolicy"]
                need(policy["status"] in ("enabled", "disabled") and 0 <= policy["days"] <= 365, "policy")
                state["retention"] = policy
            return self.answer(200, {"properties": {"policies": {"retentionPolicy": state["retention"]}}})
        if path == "/importImage":
            need(version == "2023-01-01-preview" and set(members) == {"source", "targetTags", "mode"}, "members")
            need(members["mode"] in ("NoForce", "Force") and members["source"]["sourceImage"], "members")
            if members["source"]["sourceImage"] == "taken:1" and members["mode"] == "NoForce":
                raise Refusal(409, "Conflict", "Tag taken:1 already exists in target registry.")
            (HERE / "import").write_text(json.dumps(members))
            state["polls"] = 2
            return self.answer(202, Location=f"{base}{RESOURCE}/operation/1", Retry_After="0")
        if path == "/operation/1":
            state["polls"] -= 1
            return self.answer(202, Retry_After="0") if state["polls"] > 0 else self.answer(200, {"status": "Succeeded"})
        need(version == "2019-06-01-preview", "api-version")
        if path == "/listBuildSourceUploadUrl":
            return self.answer(200, {"uploadUrl": f"{base}/storage/source?sig={SIGNATURE}", "relativePath": "source/ctx.tar.gz"})
        if path == "/scheduleRun":
            known = {"type", "imageNames", "isPushEnabled", "noCache", "dockerFilePath", "target", "arguments", "timeout", "platform",
                     "agentConfiguration", "sourceLocation"}
            need(members["type"] == "DockerBuildRequest" and set(members) <= known, "members")
            need(300 <= members["timeout"] <= 28800 and members["sourceLocation"] == "source/ctx.tar.gz", "members")
            (HERE / "build").write_text(json.dumps(members))
            with tarfile.open(fileobj=io.BytesIO(state["context"])) as archive:
                (HERE / "context").write_text("\n".join(member.name for member in archive.getmembers()))
            state.update(log=b"", steps=0)
            return self.answer(200, {"properties": {"runId": "ca1", "status": "Queued"}})
        if path == "/runs/ca1/listLogSasUrl":
            return self.answer(200, {"logLink": f"{base}/storage/log?sig={SIGNATURE}"})
        need(path == "/runs/ca1", "no such run", 404)
        state["steps"] += 1
        state["log"] += f"step {state['steps']} \x1b[31mred\n".encode()
        request = json.loads((HERE / "build").read_text())
        end = "Failed" if request["imageNames"] == ["broken:1"] else "Succeeded"
        images = [{"registry": "reg", "repository": name.split(":")[0], "tag": name.split(":")[1], "digest": digest(manifest(request["platform"]["architecture"]))}
                  for name in request["imageNames"]]
        return self.answer(200, {"properties": {"runId": "ca1", "status": "Running" if state["steps"] < 3 else end, "outputImages": images}})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
