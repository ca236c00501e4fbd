# corten ecr against a server that is as strict as Amazon's: signatures, shapes, errors. Nothing is asked elsewhere.
. "$(dirname "$0")/lib.sh"
for variable in $(env | sed -n 's/^\(AWS_[A-Z_]*\)=.*/\1/p') REGISTRY_AUTH_FILE http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; do unset "$variable"; done
export HOME="$T/home" AWS_EC2_METADATA_DISABLED=true
mkdir -p "$HOME/.aws" aws
secret=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
cat >aws/state.json <<'JSON'
{"repositories": {
   "old": {"tags": "MUTABLE", "scan": false, "encryption": {"encryptionType": "KMS", "kmsKey": "k"},
           "policy": "{\"rules\":[{\"rulePriority\":3,\"selection\":{\"tagStatus\":\"untagged\",\"countType\":\"imageCountMoreThan\",\"countNumber\":5},\"action\":{\"type\":\"expire\"}}]}"}},
 "throttle": 1,
 "expiring": [{"imageDigest": "sha256:aa", "imageTags": ["v1", "\u001b[2J"], "imagePushedAt": 1.6e9, "action": {"type": "EXPIRE"}, "appliedRulePriority": 4},
              {"imageDigest": "sha256:bb", "imagePushedAt": 1600000001.5, "action": {"type": "EXPIRE"}, "appliedRulePriority": 3}],
 "scans": {
   "1": {"status": "COMPLETE", "findings": [
     {"name": "CVE-2023-2", "severity": "LOW", "uri": "https://x/2", "attributes": [{"key": "package_name", "value": "liba"}, {"key": "package_version", "value": "1.0"}]},
     {"name": "CVE-2023-1", "severity": "HIGH", "uri": "https://x/1", "attributes": [{"key": "package_name", "value": "libb"}]},
     {"name": "CVE-2023-3", "severity": "LOW"}]},
   "2": {"status": "ACTIVE", "enhanced": true, "findings": [
     {"severity": "CRITICAL", "title": "bad", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2024-9", "vulnerablePackages": [{"name": "openssl", "version": "3.0", "fixedInVersion": "3.1"}]}}]},
   "3": {"status": "IN_PROGRESS", "findings": []}}}
JSON
mkfifo in out
python3 "$(dirname "$0")/aws_server.py" "$T/aws" <in >out &
exec 9>in
read -r port <out
endpoint="http://127.0.0.1:$port"
requests() { cat aws/requests 2>/dev/null || true; }
refused() { # WORDS COMMAND...: fails, says WORDS, and never the secret
  words=$1
  shift
  code=0
  "$CORTEN" "$@" >said 2>&1 || code=$?
  [ "$code" -ne 0 ] || fail "'$*' did not fail"
  holds "$(cat said)" "$words"
  lacks "$(cat said)" "$secret"
}

# No credentials: every source with its reason, the words that people know, and no request.
export AWS_ENDPOINT_URL="$endpoint" AWS_REGION=eu-west-1
refused "environment: AWS_ACCESS_KEY_ID is not set" ecr ensure app
holds "$(cat said)" "$HOME/.aws/credentials"
equal "$(tail -n 2 said)" "AWS CLI is not configured or credentials are invalid
hint: Please run: aws configure" "the last words"
equal "$(requests)" "" "requests without credentials"

# Credentials that Amazon does not know, and a wrong secret.
export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7UNKNOWN AWS_SECRET_ACCESS_KEY=$secret
refused "UnrecognizedClientException" ecr ensure app
refused "AWS CLI is not configured or credentials are invalid" ecr whoami
export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=wrong
refused "InvalidSignatureException" ecr ensure app
holds "$(cat said)" "Please run: aws configure"
# What can be no key id is not sent to Amazon (there is no server at this address).
(unset AWS_ENDPOINT_URL && AWS_ACCESS_KEY_ID=invalid refused "the access key id is none" ecr whoami)

# From a profile, and who we are.
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION
printf '[ci]\naws_access_key_id = ASIAIOSFODNN7EXAMPLE\naws_secret_access_key = session-secret-EXAMPLE\naws_session_token = session-token-EXAMPLE\n' >"$HOME/.aws/credentials"
printf '[profile ci]\nregion = eu-north-1\n' >"$HOME/.aws/config"
whoami=$(AWS_PROFILE=ci "$CORTEN" ecr whoami)
holds "$whoami" "account:     123456789012"
holds "$whoami" "registry:    123456789012.dkr.ecr.eu-north-1.amazonaws.com"
holds "$whoami" "profile \"ci\""
export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=$secret
refused "no AWS region" ecr ensure app
export AWS_REGION=eu-west-1

# A login is kept as docker keeps it, and for the registry that was meant.
export DOCKER_CONFIG="$T/docker"
login=$("$CORTEN" ecr login 2>said)
holds "$(requests)" "GetAuthorizationToken ThrottlingException" # and tried again
holds "$login" "Login Succeeded: 123456789012.dkr.ecr.eu-west-1.amazonaws.com until"
holds "$(cat docker/config.json)" "$(printf AWS:registry-password-EXAMPLE | base64 -w0)"
"$CORTEN" ecr login 210987654321.dkr.ecr.us-east-1.amazonaws.com >said 2>&1
holds "$(cat docker/config.json)" '"210987654321.dkr.ecr.us-east-1.amazonaws.com"'
lacks "$(cat said)$login" registry-password
refused "is no registry of ECR" ecr login ghcr.io

# Missing: shown first, then made, then left alone.
ensure() { "$CORTEN" ecr ensure --scan-on-push --encryption AES256 --expire-days 30 --tag-mutability immutable "$@"; }
: >aws/requests
preview=$(ensure --preview team/app)
holds "$preview" "team/app is missing and would be made"
holds "$preview" "nothing expires"
equal "$(requests | sort -u)" "DescribeRepositories RepositoryNotFoundException" "a preview changes nothing"
made=$(ensure team/app)
holds "$made" "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app made"
holds "$made" "scan on push: on"
holds "$made" "encryption: AES256"
holds "$made" "expiry: 30 days"
: >aws/requests
again=$(ensure 123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app)
holds "$again" "nothing changed"
lacks "$(requests)" Put
lacks "$(requests)" Create
# One setting differs.
: >aws/requests
holds "$("$CORTEN" ecr ensure --expire-days 14 team/app)" "expiry: 14 days (was 30 days)"
equal "$(requests)" "DescribeRepositories 200
GetLifecyclePolicy 200
PutLifecyclePolicy 200" "what differs, and nothing else"

# A rule of others stays; what cannot be changed is named, and the rest is done.
refused "its encryption is KMS, not AES256" ecr ensure --scan-on-push --encryption AES256 --expire-days 30 old
holds "$(cat said)" "scan on push: on (was off)"
preview=$("$CORTEN" ecr ensure --preview --expire-days 30 old)
holds "$preview" "sha256:aa"
holds "$preview" "sha256:bb"
lacks "$preview" "$(printf '\033')"
holds "$preview" "2020-09-13"
refused "a repository is meant" ecr ensure app:1
refused "no such value" ecr ensure --encryption ROT13 app

# Findings: pages, both kinds, exit code by severity.
found=$("$CORTEN" ecr findings team/app:1)
holds "$found" "scan COMPLETE: 1 HIGH, 2 LOW"
equal "$(echo "$found" | sed -n 2p | cut -d' ' -f1)" HIGH "the worst first"
"$CORTEN" ecr findings --severity critical team/app:1 >said || fail "nothing critical is there"
code=0
"$CORTEN" ecr findings --severity CRITICAL,HIGH team/app:1 >said || code=$?
equal "$code" 1 "--severity"
code=0
json=$("$CORTEN" ecr findings --format json --severity CRITICAL team/app:2) || code=$?
equal "$code" 1 "--severity of an enhanced scan"
holds "$json" '"package":"openssl","version":"3.0","fixedIn":"3.1"'
refused "the scan is IN_PROGRESS" ecr findings team/app:3
refused "was never scanned" ecr findings team/app:4
holds "$("$CORTEN" ecr findings --start --wait 30 team/app:4)" "scan COMPLETE: no findings"
refused "is no registry of ECR" ecr findings ghcr.io/a/b:1

exec 9>&-
wait
