#!/usr/bin/env python3
"""Amazon ECR and STS on the loopback, as strict as they are: aws_server.py DIRECTORY

Prints its port, ends with its standard input, and writes a line a request to DIRECTORY/requests. Refuses what Amazon refuses: a signature that is not the
request's (made anew here, from the specification), a clock that is off by more than five minutes, another content type, an operation,
member or type that the service does not have (botocore data/ecr/2015-09-21). DIRECTORY/state.json, when it is there, says what there is:
{"repositories": {...}, "scans": {...}, "expiring": [...], "throttle": N}.
"""
import base64
import calendar
import hashlib
import hmac
import http.server
import json
import re
import sys
import threading
import time
import urllib.parse
from pathlib import Path

HERE = Path(sys.argv[1])
KEYS = {"AKIAIOSFODNN7EXAMPLE": ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None),
        "ASIAIOSFODNN7EXAMPLE": ("session-secret-EXAMPLE", "session-token-EXAMPLE")}
ACCOUNT = "123456789012"
state = json.loads((HERE / "state.json").read_text()) if (HERE / "state.json").exists() else {}
repositories = state.get("repositories", {})
lock = threading.Lock()
polls = {}


class Refusal(Exception):
    def __init__(self, kind, message, status=400):
        super().__init__(message)
        self.kind, self.message, self.status = kind, message, status


STRING, BOOL, INT = str, bool, int
IMAGE = {"imageDigest": STRING, "imageTag": STRING}
ENCRYPTION = {"encryptionType": ("AES256", "KMS", "KMS_DSSE"), "kmsKey": STRING}
SCANNING = {"scanOnPush": BOOL}
MUTABILITY = ("MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION")
NAME = {"registryId": STRING, "repositoryName!": STRING}
PAGES = {"nextToken": STRING, "maxResults": INT}
SHAPES = {
    "GetAuthorizationToken": {"registryIds": [STRING]},
    "DescribeRepositories": {"registryId": STRING, "repositoryNames": [STRING], **PAGES},
    "CreateRepository": {**NAME, "imageTagMutability": MUTABILITY, "imageScanningConfiguration": SCANNING,
                         "encryptionConfiguration": ENCRYPTION, "tags": [{"Key!": STRING, "Value!": STRING}]},
    "GetLifecyclePolicy": NAME,
    "PutLifecyclePolicy": {**NAME, "lifecyclePolicyText!": STRING},
    "PutImageScanningConfiguration": {**NAME, "imageScanningConfiguration!": SCANNING},
    "PutImageTagMutability": {**NAME, "imageTagMutability!": MUTABILITY},
    "StartLifecyclePolicyPreview": {**NAME, "lifecyclePolicyText": STRING},
    "GetLifecyclePolicyPreview": {**NAME, **PAGES, "imageIds": [IMAGE], "filter": {"tagStatus": STRING}},
    "DescribeImageScanFindings": {**NAME, "imageId!": IMAGE, **PAGES},
    "StartImageScan": {**NAME, "imageId!": IMAGE},
}


def check(value, shape, where):
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise Refusal("SerializationException", f"{where} is no structure")
        known = {key.rstrip("!"): sub for key, sub in shape.items()}
        for key in value:
            if key not in known:
                raise Refusal("SerializationException", f"{where} has no member {key}")
            check(value[key], known[key], f"{where}.{key}")
        for key in shape:
            if key.endswith("!") and key[:-1] not in value:
                raise Refusal("InvalidParameterException", f"{where} lacks {key[:-1]}")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise Refusal("SerializationException", f"{where} is no list")
        for entry in value:
            check(entry, shape[0], where + "[]")
    elif isinstance(shape, tuple):
        if value not in shape:
            raise Refusal("InvalidParameterException", f"{where} is none of {shape}")
    elif type(value) is not shape:
        raise Refusal("SerializationException", f"{where} is no {shape.__name__}")


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def check_signature(handler, body, service):
    """From the text of "Signing AWS API requests", without a look at the client's code."""
    match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), "
                         r"Signature=([0-9a-f]{64})", handler.headers.get("Authorization", ""))
    if not match:
        raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    key_id, day, region, scope_service, names, signature = match.groups()
    if key_id not in KEYS:
        raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
    secret, token = KEYS[key_id]
    if handler.headers.get("X-Amz-Security-Token") != token:
        raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
    date = handler.headers.get("X-Amz-Date", "")
    if not date.startswith(day) or abs(calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.time()) > 300:
        raise Refusal("InvalidSignatureException", f"Signature expired or not yet current: {date}")
    signed = names.split(";")
    needed = {"host", "x-amz-date", "content-type"} | ({"x-amz-security-token"} if token else set())
    if service == "ecr":
        needed.add("x-amz-target")
    if signed != sorted(signed) or not needed <= set(signed) or scope_service != service:
        raise Refusal("IncompleteSignatureException", f"signed headers {names}, service {scope_service}")
    fields = "".join(f"{name}:{' '.join(handler.headers[name].split())}\n" for name in signed)
    path, _, query = handler.path.partition("?")
    canonical = "\n".join([handler.command, path, query, fields, names, hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = mac(mac(mac(mac(("AWS4" + secret).encode(), day), region), service), "aws4_request")
    if not hmac.compare_digest(mac(key, text).hex(), signature):
        raise Refusal("InvalidSignatureException", "The request signature we calculated does not match the signature you provided.")
    return region


def repository(members):
    name = members["repositoryName"]
    if members.get("registryId", ACCOUNT) != ACCOUNT or name not in repositories:
        raise Refusal("RepositoryNotFoundException", f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'")
    return repositories[name]


def check_policy(text):
    rules = json.loads(text)["rules"]
    priorities = [rule["rulePriority"] for rule in rules]
    if len(set(priorities)) != len(priorities):
        raise Refusal("InvalidParameterException", "priorities are not unique")
    for rule in rules:
        selection = rule["selection"]
        if selection["tagStatus"] == "any" and rule["rulePriority"] != max(priorities):
            raise Refusal("InvalidParameterException", "any must have the highest rulePriority")
        if selection["countType"] == "sinceImagePushed" and selection.get("countUnit") != "days":
            raise Refusal("InvalidParameterException", "countUnit")
        if rule["action"]["type"] != "expire" or not isinstance(selection["countNumber"], int):
            raise Refusal("InvalidParameterException", "malformed rule")


def described(name, region):
    entry = repositories[name]
    return {"repositoryArn": f"arn:aws:ecr:{region}:{ACCOUNT}:repository/{name}", "registryId": ACCOUNT, "repositoryName": name,
            "repositoryUri": f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/{name}", "createdAt": 1.7e9,
            "imageTagMutability": entry["tags"], "imageScanningConfiguration": {"scanOnPush": entry["scan"]},
            "encryptionConfiguration": entry["encryption"]}


def ecr(operation, members, region):
    if operation == "GetAuthorizationToken":
        token = base64.b64encode(b"AWS:registry-password-EXAMPLE").decode()
        return {"authorizationData": [{"authorizationToken": token, "expiresAt": time.time() + 43200,
                                       "proxyEndpoint": f"https://{ACCOUNT}.dkr.ecr.{region}.amazonaws.com"}]}
    if operation == "DescribeRepositories":
        for name in members.get("repositoryNames", []):
            repository({**members, "repositoryName": name})
        return {"repositories": [described(name, region) for name in members.get("repositoryNames", repositories)]}
    if operation == "CreateRepository":
        name = members["repositoryName"]
        if name in repositories:
            raise Refusal("RepositoryAlreadyExistsException", f"The repository with name '{name}' already exists")
        repositories[name] = {"tags": members.get("imageTagMutability", "MUTABLE"),
                              "scan": members.get("imageScanningConfiguration", {}).get("scanOnPush", False),
                              "encryption": members.get("encryptionConfiguration", {"encryptionType": "AES256"})}
        return {"repository": described(name, region)}
    entry = repository(members)
    if operation == "GetLifecyclePolicy":
        if "policy" not in entry:
            raise Refusal("LifecyclePolicyNotFoundException", "Lifecycle policy does not exist")
        return {**members, "lifecyclePolicyText": entry["policy"]}
    if operation == "PutLifecyclePolicy":
        check_policy(members["lifecyclePolicyText"])
        entry["policy"] = members["lifecyclePolicyText"]
        return members
    if operation == "PutImageScanningConfiguration":
        entry["scan"] = members["imageScanningConfiguration"]["scanOnPush"]
        return members
    if operation == "PutImageTagMutability":
        entry["tags"] = members["imageTagMutability"]
        return members
    if operation == "StartLifecyclePolicyPreview":
        check_policy(members["lifecyclePolicyText"])
        entry["previewed"] = members["lifecyclePolicyText"]
        polls[members["repositoryName"]] = 0
        return {**members, "status": "IN_PROGRESS"}
    if operation == "GetLifecyclePolicyPreview":
        if "previewed" not in entry:
            raise Refusal("LifecyclePolicyPreviewNotFoundException", "no preview")
        polls[members["repositoryName"]] += 1
        if polls[members["repositoryName"]] == 1:
            return {"status": "IN_PROGRESS", "lifecyclePolicyText": entry["previewed"]}
        expiring, at = state.get("expiring", []), int(members.get("nextToken", 0))
        answer = {"status": "COMPLETE", "lifecyclePolicyText": entry["previewed"], "previewResults": expiring[at:at + 1]}
        return {**answer, "nextToken": str(at + 1)} if at + 1 < len(expiring) else answer
    scans = state.setdefault("scans", {})
    image = members["imageId"].get("imageTag") or members["imageId"]["imageDigest"]
    if operation == "StartImageScan":
        scans[image] = {"status": "COMPLETE", "findings": []}
        return {**members, "imageScanStatus": {"status": "IN_PROGRESS"}}
    if image not in scans:
        raise Refusal("ScanNotFoundException", f"Image scan does not exist for the image with '{image}'")
    scan, at = scans[image], int(members.get("nextToken", 0))
    member = "enhancedFindings" if scan.get("enhanced") else "findings"
    answer = {"imageScanStatus": {"status": scan["status"], "description": "told by the test"},
              "imageScanFindings": {"findingSeverityCounts": {}, member: scan["findings"][at:at + 2]}}
    return {**answer, "nextToken": str(at + 2)} if at + 2 < len(scan["findings"]) else answer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, text, content_type):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            if "X-Amz-Target" in self.headers:
                self.json_service(body)
            else:
                self.query_service(body)

    def record(self, operation, outcome):
        with open(HERE / "requests", "a", encoding="utf-8") as out:
            out.write(f"{operation} {outcome}\n")

    def json_service(self, body):
        operation = self.headers["X-Amz-Target"].removeprefix("AmazonEC2ContainerRegistry_V20150921.")
        try:
            region = check_signature(self, body, "ecr")
            if self.headers.get("Content-Type") != "application/x-amz-json-1.1" or self.path != "/":
                raise Refusal("UnknownOperationException", "content type or path")
            if state.get("throttle", 0) > 0:
                state["throttle"] -= 1
                raise Refusal("ThrottlingException", "Rate exceeded")
            if operation not in SHAPES:
                raise Refusal("UnknownOperationException", operation)
            members = json.loads(body)
            check(members, SHAPES[operation], operation)
            answer = ecr(operation, members, region)
            self.record(operation, "200")
            self.answer(200, json.dumps(answer), "application/x-amz-json-1.1")
        except Refusal as refusal:
            self.record(operation, refusal.kind)
            self.answer(refusal.status, json.dumps({"__type": f"com.amazonaws.ecr#{refusal.kind}", "message": refusal.message}),
                        "application/x-amz-json-1.1")

    def query_service(self, body):
        members = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        action = members.get("Action", "")
        try:
            if members.get("Version") != "2011-06-15" or not self.headers["Content-Type"].startswith("application/x-www-form-urlencoded"):
                raise Refusal("InvalidAction", "version or content type")
            check_signature(self, body, "sts")
            if action != "GetCallerIdentity":
                raise Refusal("InvalidAction", action)
            self.record(action, "200")
            self.answer(200, '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
                             f"<Arn>arn:aws:iam::{ACCOUNT}:user/builder</Arn><UserId>AIDA</UserId><Account>{ACCOUNT}</Account>"
                             "</GetCallerIdentityResult></GetCallerIdentityResponse>", "text/xml")
        except Refusal as refusal:
            kind = {"UnrecognizedClientException": "InvalidClientTokenId", "InvalidSignatureException": "SignatureDoesNotMatch"}.get(
                refusal.kind, refusal.kind)
            self.record(action, kind)
            self.answer(403, "<ErrorResponse><Error><Type>Sender</Type>"
                             f"<Code>{kind}</Code><Message>{refusal.message}</Message></Error></ErrorResponse>", "text/xml")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
