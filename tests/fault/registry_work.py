"""registry_work.py push URL LEDGER ROUND | check URL LEDGER: what a registry is asked while its disk fails, and what must be true afterwards.

push   pushes blobs in every form, manifests, referrers, tags, and deletes some. The ledger (a JSON object a line) gets what was wanted
       before each request and what was acknowledged after it. Prints how many requests were refused; a refusal is 500 or 507 with the
       protocol's error body, or a connection that ended. Everything else ends this program with an error.
check  what was acknowledged is there and whole; what was not is there as a whole, or not at all.
"""
import hashlib
import http.client
import json
import sys
import urllib.parse

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def blob_bytes(name, size):
    return (hashlib.sha256(name.encode()).digest() * (size // 32 + 1))[:size]


class Refused(Exception):
    pass


class Registry:
    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc
        self.connection = None

    def ask(self, method, path, body=None, **fields):
        for attempt in (1, 2):  # a connection that was open may have ended meanwhile
            fresh = self.connection is None
            if fresh:
                self.connection = http.client.HTTPConnection(self.host, timeout=60)
            try:
                self.connection.request(method, path, body, {name.replace("_", "-"): value for name, value in fields.items()})
                answer = self.connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, TimeoutError):
                    raise SystemExit(f"{method} {path}: no answer") from error
                self.connection = None
                if fresh or attempt == 2 or method not in ("GET", "HEAD"):
                    raise Refused(f"{method} {path}: {error!r}") from error
                continue
            if answer.will_close:
                self.connection = None
            if answer.status >= 500:
                errors = json.loads(data)["errors"] if method != "HEAD" else [{"code": 1, "message": 1}]
                if answer.status not in (500, 507) or not errors or not errors[0]["code"] or not errors[0]["message"]:
                    raise SystemExit(f"{method} {path}: {answer.status} {data!r}")
                raise Refused(f"{method} {path}: {answer.status}")
            return answer, data
        raise Refused(path)


class Pusher:
    def __init__(self, url, ledger, number):
        self.registry, self.number, self.refused = Registry(url), number, 0
        self.ledger = open(ledger, "a", encoding="utf-8")

    def note(self, state, **what):
        self.ledger.write(json.dumps({"state": state, **what}) + "\n")
        self.ledger.flush()

    def step(self, what, act, wanted):
        """act() gives whether it was done; what: the ledger's line, or None."""
        if what:
            self.note("wanted", **what)
        try:
            answer, data = act()
        except Refused as error:
            print(error, file=sys.stderr)
            self.refused += 1
            return None
        if answer.status != wanted:
            # What a refused step before would have made is missing.
            if self.refused and answer.status in (400, 404, 409):
                return None
            raise SystemExit(f"{what}: {answer.status} {data!r}")
        if what:
            self.note("done", **what)
        return answer

    def blob(self, repository, name, size, way):
        data = blob_bytes(name, size)
        digest = digest_of(data)
        what = {"kind": "blob", "repository": repository, "name": name, "size": size}
        ask, base = self.registry.ask, f"/v2/{repository}/blobs/uploads/"
        if way == "one":
            return self.step(what, lambda: ask("POST", f"{base}?digest={digest}", data), 201)
        begun = self.step(None, lambda: ask("POST", base), 202)
        if not begun:
            return None
        place = begun.getheader("Location")
        if way == "pieces":
            middle = size // 2
            for piece in (data[:middle], data[middle:]):
                if not self.step(None, lambda piece=piece: ask("PATCH", place, piece), 202):
                    return None
            data = b""
        if way == "cancel":
            return self.step(None, lambda: ask("DELETE", place), 204)
        return self.step(what, lambda: ask("PUT", f"{place}?digest={digest}", data), 201)

    def manifest(self, repository, tag, note, blobs, subject=None):
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(blobs[0]), "size": len(blobs[0])},
            "layers": [{"mediaType": "application/octet-stream", "digest": digest_of(blob), "size": len(blob)} for blob in blobs[1:]],
            "annotations": {"note": f"{note} {self.number}"},
        }
        if subject:
            content["subject"] = {"mediaType": MANIFEST, "digest": subject, "size": 10}
        text = json.dumps(content)
        digest = digest_of(text.encode())
        what = {"kind": "manifest", "repository": repository, "tag": tag, "digest": digest, "text": text, "subject": subject}
        self.step(what, lambda: self.registry.ask("PUT", f"/v2/{repository}/manifests/{tag or digest}", text, Content_Type=MANIFEST), 201)
        return digest

    def delete(self, repository, reference):
        what = {"kind": "delete", "repository": repository, "reference": reference}
        self.step(what, lambda: self.registry.ask("DELETE", f"/v2/{repository}/manifests/{reference}"), 202)

    def run(self):
        n = self.number
        self.blob("a", f"config {n}", 200, "one")
        self.blob("a", f"small {n}", 3000, "put")
        self.blob("a", f"big {n}", 300_000, "put")
        self.blob("a", f"pieces {n}", 200_000, "pieces")
        self.blob("a", f"small pieces {n}", 2_000, "pieces")
        self.blob("a", f"never {n}", 1000, "cancel")
        config, small, big = blob_bytes(f"config {n}", 200), blob_bytes(f"small {n}", 3000), blob_bytes(f"big {n}", 300_000)
        first = self.manifest("a", "moving", "first", [config, small, big])
        self.manifest("a", f"stays-{n}", "other", [config, small])
        self.manifest("a", "", "referrer", [config], subject=first)
        for name, size in ((f"config {n}", 200), (f"big {n}", 300_000)):
            what = {"kind": "blob", "repository": "b/c", "name": name, "size": size}
            mount = f"/v2/b/c/blobs/uploads/?mount={digest_of(blob_bytes(name, size))}&from=a"
            self.note("wanted", **what)
            try:
                answer, _ = self.registry.ask("POST", mount)
                if answer.status == 201:
                    self.note("done", **what)
                elif answer.status != 202:
                    raise SystemExit(f"{mount}: {answer.status}")
            except Refused:
                self.refused += 1
        self.manifest("b/c", "v1", "mounted", [config, big])
        gone = self.manifest("a", f"gone-{n}", "gone", [config])
        self.delete("a", f"gone-{n}")
        self.delete("a", gone)
        print(self.refused)


def check(url, ledger):
    registry = Registry(url)

    def get(path, **fields):
        for attempt in range(9):  # while calls still fail
            try:
                return registry.ask("GET", path, **fields)
            except Refused as error:
                if attempt == 8:
                    raise SystemExit(f"reading: {error}") from error
        return None

    blobs, manifests, tags = {}, {}, {}
    with open(ledger, encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            is_done = entry["state"] == "done"
            repository = entry["repository"]
            if entry["kind"] == "blob":
                key = (repository, entry["name"], entry["size"])
                blobs[key] = blobs.get(key) or is_done
            elif entry["kind"] == "manifest":
                key = (repository, entry["digest"])
                old = manifests.get(key)
                manifests[key] = {**entry, "sure": is_done or bool(old and old["sure"])}
                if entry["tag"]:
                    tags.setdefault((repository, entry["tag"]), []).append((is_done, entry["digest"]))
            elif entry["reference"].startswith("sha256:"):
                if (repository, entry["reference"]) in manifests:
                    manifests[repository, entry["reference"]]["sure"] = "gone" if is_done else None
            else:
                tags.setdefault((repository, entry["reference"]), []).append((is_done, None))
    for (repository, name, size), is_done in blobs.items():
        data = blob_bytes(name, size)
        answer, came = get(f"/v2/{repository}/blobs/{digest_of(data)}")
        if answer.status == 200 and came != data:
            raise SystemExit(f"blob {name} of {repository} is not whole")
        if answer.status != 200 and (is_done or answer.status != 404):
            raise SystemExit(f"blob {name} of {repository}, acknowledged: {is_done}, {answer.status}")
    for (repository, digest), entry in manifests.items():
        answer, came = get(f"/v2/{repository}/manifests/{digest}", Accept=MANIFEST)
        if answer.status == 200 and (entry["sure"] == "gone" or came != entry["text"].encode()):
            raise SystemExit(f"manifest {digest} of {repository}: it was deleted, or has other bytes")
        if answer.status != 200 and (entry["sure"] is True or answer.status != 404):
            raise SystemExit(f"manifest {digest} of {repository}, acknowledged: {entry['sure']}, {answer.status}")
        if answer.status == 200:
            named = json.loads(came)
            for part in [named["config"], *named["layers"]]:
                answer, came = get(f"/v2/{repository}/blobs/{part['digest']}")
                if answer.status != 200 or digest_of(came) != part["digest"]:
                    raise SystemExit(f"manifest {digest} of {repository} is there, its blob {part['digest']} is not: {answer.status}")
        if entry["subject"]:
            listed = json.loads(get(f"/v2/{repository}/referrers/{entry['subject']}")[1])["manifests"]
            if (digest in [one["digest"] for one in listed]) != (answer.status == 200):
                raise SystemExit(f"referrer {digest}: {answer.status}, and listed: {listed}")
    for (repository, tag), history in tags.items():
        answer, came = get(f"/v2/{repository}/manifests/{tag}", Accept=MANIFEST)
        now = digest_of(came) if answer.status == 200 else None
        if answer.status not in (200, 404):
            raise SystemExit(f"tag {tag} of {repository}: {answer.status}")
        last = max((i for i, (is_done, _) in enumerate(history) if is_done), default=-1)
        allowed = {digest for _, digest in history[max(last, 0) :]} | ({None} if last < 0 else set())
        # Deleting a manifest takes its tags along.
        if last >= 0 and history[last][1] and manifests[repository, history[last][1]]["sure"] is not True:
            allowed.add(None)
        if now not in allowed:
            raise SystemExit(f"tag {tag} of {repository} is {now}, may be {allowed}")
        listed = json.loads(get(f"/v2/{repository}/tags/list")[1]).get("tags", [])
        if (tag in listed) != (now is not None):
            raise SystemExit(f"tag {tag} of {repository} is {now}, and listed: {listed}")


if sys.argv[1] == "push":
    Pusher(*sys.argv[2:5]).run()
else:
    check(*sys.argv[2:4])
