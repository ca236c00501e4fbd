#include "cache/s3_bucket.h"

#include <random>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "http/url.h"
#include "registry/cloud/answer.h"

namespace corten::cache {

namespace cloud = registry::cloud;

namespace {

constexpr size_t kMaxErrorBytes = 64 << 10;
constexpr size_t kMaxShownBytes = 500;

uint32_t random_number() {
  thread_local std::mt19937 random{std::random_device{}()};
  return static_cast<uint32_t>(random());
}

bool is_about_age(std::string_view code) {
  return code == "ExpiredToken" || code == "ExpiredTokenException" || code == "TokenRefreshRequired" ||
         code == "RequestExpired";
}

std::string hint_for(std::string_view code, unsigned status) {
  if (code == "NoSuchBucket") return "make the bucket, or correct bucket=";
  if (code == "SignatureDoesNotMatch")
    return "the secret key is another one, or a proxy changes requests on their way";
  if (code == "RequestTimeTooSkewed") return "this machine's clock is wrong";
  if (code == "AccessDenied" || status == 403)
    return "the cache needs s3:GetObject, s3:PutObject, s3:ListBucket (without it what is missing is "
           "answered 403) "
           "and s3:AbortMultipartUpload";
  return {};
}

}  // namespace

struct S3Bucket::Refusal {
  unsigned status = 0;
  std::string code, message, region;
};

S3Bucket::S3Bucket(const S3Spec& spec, http::Client& http, const Clock& clock, S3Options options)
    : spec_(spec), http_(http), clock_(clock), options_(std::move(options)), region_(spec.region) {
  if (region_.empty()) region_ = cloud::configured_region(options_.environment);
  const bool has_own = !spec_.endpoint_url.empty() || cloud::has_own_endpoint(options_.environment, "s3");
  if (region_.empty() && has_own) region_ = "us-east-1";  // what servers that have no regions expect
  if (region_.empty())
    throw Error(ErrorCode::kUsage, fmt::format("s3 {}: nothing says its region", spec_.bucket))
        .with_hint("region=NAME, or AWS_REGION");
  const std::string address = spec_.endpoint_url.empty()
                                  ? cloud::service_endpoint(options_.environment, "s3", region_)
                                  : spec_.endpoint_url;
  http::Url url = http::parse_url(address);
  base_path_ = http::percent_decode(url.target.substr(0, url.target.find('?')));
  if (!base_path_.ends_with('/')) base_path_ += '/';
  if (spec_.use_path_style)
    base_path_ += spec_.bucket + "/";
  else
    url.host = spec_.bucket + "." + url.host;
  endpoint_ = url.scheme + "://" + url.authority();
  if (!spec_.access_key_id.empty())
    credentials_ = {spec_.access_key_id, spec_.secret_access_key, spec_.session_token, "the attributes"};
}

cloud::AwsCredentials S3Bucket::credentials() {
  std::lock_guard lock(mutex_);
  if (!credentials_ || cloud::is_expiring(*credentials_, clock_))
    credentials_ = cloud::require_credentials({http_, clock_, options_.environment}, region_);
  return *credentials_;
}

// Those of a role live for an hour or less, which a long build outlives.
void S3Bucket::forget_credentials() {
  std::lock_guard lock(mutex_);
  if (spec_.access_key_id.empty()) credentials_.reset();
}

http::Request S3Bucket::signed_request(const S3Request& request) {
  const std::string path = base_path_ + request.key;
  std::string address = endpoint_ + http::percent_encode(path, "/");
  if (!request.query.empty()) address += "?" + cloud::form(request.query);
  cloud::RequestToSign to_sign{.method = request.method,
                               .path = path,
                               .query = request.query,
                               .fields = request.fields,
                               .normalizes_path = false};
  to_sign.fields.emplace_back("X-Amz-Content-Sha256", request.payload);
  to_sign.fields.emplace_back("Host", http::parse_url(address).authority());
  http::Fields fields =
      cloud::sign_request(std::move(to_sign), credentials(), {region_, "s3", clock_.now_s()});
  std::erase_if(fields, [](const auto& field) { return field.first == "Host"; });
  return {.url = address,
          .fields = std::move(fields),
          .method = request.method,
          .body = request.body,
          .any_status = true,
          .follows_redirects = false};  // no signature may follow one
}

std::string S3Bucket::read(http::Response& response, size_t max_bytes) const {
  return archive::read_rest(*response.body, max_bytes);
}

std::string S3Bucket::without_keys(std::string text) {
  std::lock_guard lock(mutex_);
  if (!credentials_) return text;
  for (const std::string& key :
       {credentials_->secret_key, credentials_->session_token, credentials_->access_key})
    if (!key.empty()) text = replace_all(std::move(text), key, "***");
  return text;
}

S3Bucket::Refusal S3Bucket::read_refusal(http::Response& response) {
  Refusal refusal{.status = response.status, .region = response.field("x-amz-bucket-region")};
  std::string xml(kMaxErrorBytes, '\0');
  try {
    xml.resize(response.body ? archive::read_fully(*response.body, xml.data(), xml.size()) : 0);
  } catch (const Error&) {
    xml.clear();  // cut: the state will do
  }
  auto shown = [&](std::string_view element) {
    return printable(without_keys(cloud::xml_text(xml, element)).substr(0, kMaxShownBytes));
  };
  refusal.code = shown("Code");
  refusal.message = shown("Message");
  return refusal;
}

Error S3Bucket::error_of(const Refusal& refusal, std::string_view what) const {
  std::string text = fmt::format("s3 {}: {}: {}", spec_.bucket, what, refusal.status);
  if (!refusal.code.empty()) text += " " + replace_all(refusal.code, "\n", " ");
  if (!refusal.message.empty()) text += ": " + replace_all(refusal.message, "\n", " ");
  ErrorCode code = ErrorCode::kFailed;
  std::string hint = hint_for(refusal.code, refusal.status);
  if (refusal.status == 401 || refusal.status == 403) code = ErrorCode::kPermission;
  if (refusal.status == 404) code = ErrorCode::kNotFound;
  if (registry::is_worth_a_retry(refusal.status)) code = ErrorCode::kIo;
  if (!refusal.region.empty() && refusal.region != region_)
    hint = "the bucket is in another region: region=" + printable(refusal.region.substr(0, 64));
  return Error(code, text).with_hint(hint);
}

void S3Bucket::wait_after_failure(int failures) const {
  registry::wait_for_retry(registry::pause_after(failures, options_.retry, random_number()),
                           options_.cancellation);
}

http::Response S3Bucket::ask(const S3Request& request, std::string_view what) {
  bool is_renewed = false;
  for (int attempt = 1;; attempt++) {
    options_.cancellation.check();
    const bool is_last = attempt >= options_.retry.attempts;
    http::Response response;
    try {
      response = http_.open(signed_request(request));
    } catch (Error& error) {
      if (error.code() != ErrorCode::kIo || is_last) {
        error.add_context(fmt::format("s3 {}: {}", spec_.bucket, what));
        throw;
      }
      wait_after_failure(attempt);
      continue;
    }
    if (response.status / 100 == 2) return response;
    const Refusal refusal = read_refusal(response);
    if (response.status == 404 && refusal.code != "NoSuchBucket") return response;
    if (is_about_age(refusal.code) && !std::exchange(is_renewed, true)) {
      forget_credentials();
      continue;
    }
    if (!registry::is_worth_a_retry(response.status) || is_last) throw error_of(refusal, what);
    registry::wait_for_retry(
        registry::pause_after(response, attempt, options_.retry, clock_.now_s(), random_number()),
        options_.cancellation);
  }
}

}  // namespace corten::cache
