#!/usr/bin/env python3
"""push_graph.py URL REPOSITORY: what the test of `registry clean` cleans, pushed by the distribution protocol. Prints NAME=DIGEST lines.

  latest  -> index -> amd64, arm64, attestation;  amd64 has a referrer (sbom), arm64 a cosign signature by tag
  pr-1    -> index -> amd64 (shared), own;        own has a fallback tag with a signature
  pr-2, v2 -> one image;  pr-3 -> an image that a deployment names;  old, young by their configuration
"""
import hashlib
import json
import sys
import urllib.request

URL, REPOSITORY = sys.argv[1:3]
IMAGE, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def send(method, path, data=b"", content_type="application/octet-stream"):
    request = urllib.request.Request(path if path.startswith("http") else f"{URL}/v2/{REPOSITORY}{path}", data=data, method=method)
    request.add_header("Content-Type", content_type)
    with urllib.request.urlopen(request) as answer:
        return answer.headers


def blob(data):
    send("POST", f"/blobs/uploads/?digest={digest(data)}", data)
    return {"mediaType": "application/octet-stream", "digest": digest(data), "size": len(data)}


def put(manifest, *references):
    data = json.dumps(manifest).encode()
    for reference in references or (digest(data),):
        send("PUT", f"/manifests/{reference}", data, manifest["mediaType"])
    return {"mediaType": manifest["mediaType"], "digest": digest(data), "size": len(data)}


def image(name, *tags, created="2020-01-01T00:00:00Z", subject=None):
    config = blob(json.dumps({"created": created, "architecture": "amd64", "os": "linux", "comment": name}).encode())
    manifest = {"schemaVersion": 2, "mediaType": IMAGE, "config": {**config, "mediaType": "application/vnd.oci.image.config.v1+json"},
                "layers": [{**blob(name.encode() * 5000), "mediaType": "application/vnd.oci.image.layer.v1.tar"}]}
    if subject:
        manifest["subject"] = subject
    made = put(manifest, *tags)
    print(f"{name}={made['digest']}")
    return made


def index(name, children, *tags):
    made = put({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}, *tags)
    print(f"{name}={made['digest']}")
    return made


def tag_of(descriptor):
    return descriptor["digest"].replace(":", "-")


amd64, arm64, attestation = image("amd64"), image("arm64"), image("attestation")
index("app", [amd64, arm64, attestation], "latest")
image("sbom", subject=amd64)
image("signature", tag_of(arm64) + ".sig")
own = image("own")
index("old_index", [amd64, own], "pr-1")
index("list", [image("own_signature")], tag_of(own))
image("two_tags", "pr-2", "v2")
image("deployed", "pr-3")
image("old", "build-1", created="2020-01-01T00:00:00Z")
image("young", "build-2", created="2026-01-01T00:00:00Z")
