# shellcheck shell=sh disable=SC2034
# Sourced by both scripts: settings, messages, what they have in common.
AWS_REGION=${AWS_REGION:-eu-west-1}
ECR_REPOSITORY=${ECR_REPOSITORY:-distributed-colony}
ECR_BASE_REPOSITORY=${ECR_BASE_REPOSITORY:-distributed-colony-base}
IMAGE_TAG=${IMAGE_TAG:-latest}
BASE_IMAGE_TAG=${BASE_IMAGE_TAG:-latest}
BASE_IMAGE=${BASE_IMAGE:-$ECR_BASE_REPOSITORY:$BASE_IMAGE_TAG}
BUILD_VERSION=${BUILD_VERSION:-$(date -u +%Y%m%d-%H%M%S)}
CORTEN=${CORTEN:-corten}
PLATFORM=${PLATFORM:-linux/amd64}
# crates: by cargo-chef from the crates registry. vendored: from vendor/. auto: what can be had.
DEPENDENCIES=${DEPENDENCIES:-auto}
# Of a network that has authorities of its own for TLS: a file with their certificates.
AUTHORITIES=${AUTHORITIES:-${SSL_CERT_FILE-}}
export AWS_REGION

green='\033[0;32m' yellow='\033[1;33m' red='\033[0;31m' plain='\033[0m'
if [ -n "${NO_COLOR-}" ]; then green='' yellow='' red='' plain=''; fi
info() { printf "${green}[INFO]${plain} %s\n" "$*"; }
warning() { printf "${yellow}[WARNING]${plain} %s\n" "$*"; }
error() { printf "${red}[ERROR]${plain} %s\n" "$*" >&2; }
now() { date +%s; }

[ "$PLATFORM" = linux/amd64 ] || {
  error "Only linux/amd64 is built, not $PLATFORM"
  exit 1
}

# Debian's packages, as bases/*.yaml.lock pins them; made once.
ensure_base() { # NAME
  "$CORTEN" inspect "colony/$1:12" >/dev/null 2>&1 || {
    info "Making colony/$1:12 from Debian packages"
    "$CORTEN" base build -q -f "bases/$1.yaml" -t "colony/$1:12" >/dev/null
  }
}

# Before anything is built: an account, or the words that say what to do.
check_credentials() {
  if ! identity=$("$CORTEN" ecr whoami --format json); then
    error "AWS CLI is not configured or credentials are invalid"
    info "Please run: aws configure"
    exit 1
  fi
  account=$(printf '%s' "$identity" | sed -n 's/.*"account":"\([0-9]*\)".*/\1/p')
  registry=$account.dkr.ecr.$AWS_REGION.amazonaws.com
  info "Account $account, region $AWS_REGION"
}

ensure_repository() { # NAME
  info "Repository $1: scan on push, AES256, images expire after 30 days"
  "$CORTEN" ecr ensure "$1" --scan-on-push --encryption AES256 --expire-days 30
}

push_image() { # LOCAL REPOSITORY:TAG
  uri=$registry/$2
  started=$(now)
  # A registry on this machine in place of Amazon's, for tests.
  target=${ECR_ENDPOINT:-$registry}/$2
  "$CORTEN" tag "$1" "$target"
  "$CORTEN" push "$target"
  info "Pushed in $(($(now) - started)) s"
  info "Image URI: $uri"
}
