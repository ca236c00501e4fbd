#include "registry/cloud/ecr.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "oci/reference.h"
#include "registry/cloud/answer.h"
#include "registry/cloud/aws_sts.h"

namespace corten::registry::cloud {

namespace {

constexpr std::string_view kTarget = "AmazonEC2ContainerRegistry_V20150921.";
constexpr int kMaxPages = 1000;
constexpr int kPollMs = 2000;

struct ServiceError {
  std::string type, message;
};

// {"__type":"com.amazonaws.ecr#RepositoryNotFoundException","message":"..."}, or the type in a field.
ServiceError service_error(const Answer& answer) {
  ServiceError error{answer.field("x-amzn-ErrorType"), ""};
  try {
    Json json = Json::parse(answer.body, kMaxAnswerBytes);
    if (json.find("__type")) error.type = json.get_string("__type");
    error.message = json.get_string("message", json.get_string("Message"));
  } catch (const Error&) {
    // A page of a proxy: the state will do.
  }
  error.type = error.type.substr(error.type.find('#') + 1);
  error.type = printable(error.type.substr(0, error.type.find(':')));
  error.message = printable(error.message.substr(0, 1000));
  return error;
}

bool is_throttled(const ServiceError& error) {
  return error.type.starts_with("Throttling") || error.type == "TooManyRequestsException" ||
         error.type == "RequestLimitExceeded";
}

ErrorCode code_of(const ServiceError& error, unsigned status) {
  if (error.type.ends_with("NotFoundException")) return ErrorCode::kNotFound;
  if (error.type.starts_with("AccessDenied") || status == 401 || status == 403) return ErrorCode::kPermission;
  if (is_throttled(error) || status >= 500) return ErrorCode::kIo;
  return ErrorCode::kFailed;
}

void sleep_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

}  // namespace

Ecr::Ecr(AwsContext context, AwsCredentials credentials, std::string region, std::string account)
    : context_(std::move(context)),
      held_(std::make_unique<Held>()),
      region_(std::move(region)),
      account_(std::move(account)) {
  held_->credentials = std::move(credentials);
}

AwsCredentials Ecr::credentials() const {
  std::lock_guard lock(held_->mutex);
  if (is_expiring(held_->credentials, context_.clock))
    held_->credentials = require_credentials(context_, region_);
  return held_->credentials;
}

std::optional<Json> Ecr::call_unless(const std::string& operation, const Json& input,
                                     std::string_view error_type) const {
  Json members = input;
  if (!account_.empty() && operation != "GetAuthorizationToken") members.set("registryId", account_);
  std::string body = members.dump();
  std::string endpoint = service_endpoint(context_.environment, "ecr", region_);
  http::Url url = http::parse_url(endpoint + "/");
  std::optional<Json> value;
  context_.http.with_retries([&] {
    RequestToSign to_sign{.path = url.target, .body = body};
    to_sign.fields = {{"Host", url.authority()},
                      {"Content-Type", "application/x-amz-json-1.1"},
                      {"X-Amz-Target", std::string(kTarget) + operation}};
    // Signed anew for each attempt: a signature lives for minutes.
    const AwsCredentials credentials = this->credentials();
    http::Fields fields =
        sign_request(std::move(to_sign), credentials, {region_, "ecr", context_.clock.now_s()});
    std::erase_if(fields, [](const auto& field) { return field.first == "Host"; });
    Answer answer =
        ask(context_.http,
            {.url = endpoint + "/", .fields = fields, .method = "POST", .body = http::RequestBody::of(body)});
    if (answer.status == 200) {
      value = Json::parse(answer.body, kMaxAnswerBytes);
      return;
    }
    ServiceError error = service_error(answer);
    if (!error_type.empty() && error.type == error_type) return;
    std::string words = error.type.empty() ? refusal(answer) : error.type + ": " + error.message;
    std::string why = fmt::format("ECR {} in {}: {}", operation, region_, words);
    if (is_about_credentials(error.type))
      fail_invalid_credentials(fmt::format("{} (credentials of {})", why, credentials.source));
    throw Error(code_of(error, answer.status), why);
  });
  return value;
}

Json Ecr::call(const std::string& operation, const Json& input) const {
  return *call_unless(operation, input, {});
}

std::optional<int64_t> epoch_seconds(const Json* time) {
  constexpr double kYear10000 = 253'402'300'800;
  if (!time || !time->is_number()) return std::nullopt;
  const double seconds = time->as_double();
  if (!(seconds >= 0 && seconds < kYear10000)) return std::nullopt;
  return static_cast<int64_t>(seconds);
}

EcrLogin ecr_login(const Ecr& ecr) {
  Json answer = ecr.call("GetAuthorizationToken", Json::object());
  const Json* data = answer.find("authorizationData");
  if (!data || !data->is_array() || data->size() == 0)
    fail(ErrorCode::kFailed, "ECR GetAuthorizationToken: no token in the answer");
  const Json& first = data->as_array().front();
  auto decoded = base64_decode(first.get_string("authorizationToken"));
  size_t colon = decoded ? decoded->find(':') : std::string::npos;
  if (colon == std::string::npos) fail(ErrorCode::kFailed, "ECR GetAuthorizationToken: a malformed token");
  EcrLogin login{.user = decoded->substr(0, colon), .password = decoded->substr(colon + 1)};
  login.expires_s = epoch_seconds(first.find("expiresAt")).value_or(0);
  std::string endpoint = first.get_string("proxyEndpoint");
  login.host = endpoint.substr(endpoint.find("://") == std::string::npos ? 0 : endpoint.find("://") + 3);
  while (login.host.ends_with('/')) login.host.pop_back();
  if (!ecr.account().empty()) login.host = ecr_host(ecr.account(), ecr.region());
  return login;
}

Json EcrImage::id() const {
  return Json::object({digest.empty() ? std::pair<std::string, Json>{"imageTag", tag}
                                      : std::pair<std::string, Json>{"imageDigest", digest}});
}

EcrImage parse_ecr_image(const std::string& text) {
  EcrImage image;
  std::string rest = text;
  size_t slash = text.find('/');
  std::string host = text.substr(0, slash);
  if (auto ecr = parse_ecr_host(host); ecr && slash != std::string::npos) {
    image.account = ecr->account;
    image.region = ecr->region;
    rest = text.substr(slash + 1);
  } else if (slash != std::string::npos && host.find('.') != std::string::npos) {
    fail(ErrorCode::kInvalid, "{}: {} is no registry of ECR (ACCOUNT.dkr.ecr.REGION.amazonaws.com)",
         quote(text), quote(host));
  }
  // The grammar of names with a host of no meaning.
  oci::Reference reference = oci::Reference::parse("ecr.invalid/" + rest).with_default_tag();
  image.repository = reference.repository();
  image.tag = reference.tag();
  if (reference.digest()) image.digest = reference.digest()->to_string();
  return image;
}

std::string required_region(const Environment& environment, const std::string& from_host) {
  std::string region = from_host.empty() ? configured_region(environment) : from_host;
  if (!region.empty()) return region;
  throw Error(ErrorCode::kInvalid,
              "no AWS region: AWS_REGION, AWS_DEFAULT_REGION and the profile's are not set")
      .with_hint("say --region, or name the registry whole: ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME");
}

int severity_rank(std::string_view severity) {
  static constexpr std::array<std::string_view, 6> kOrder = {"CRITICAL", "HIGH",          "MEDIUM",
                                                             "LOW",      "INFORMATIONAL", "UNDEFINED"};
  return static_cast<int>(std::find(kOrder.begin(), kOrder.end(), severity) - kOrder.begin());
}

namespace {

std::string attribute(const Json& finding, std::string_view key) {
  if (const Json* attributes = finding.find("attributes"); attributes && attributes->is_array())
    for (const Json& entry : attributes->as_array())
      if (entry.get_string("key") == key) return entry.get_string("value");
  return {};
}

ScanFinding basic_finding(const Json& json) {
  return {.id = json.get_string("name"),
          .severity = json.get_string("severity"),
          .package = attribute(json, "package_name"),
          .version = attribute(json, "package_version"),
          .title = json.get_string("description"),
          .uri = json.get_string("uri")};
}

// Inspector's: one for each package of it.
void add_enhanced(const Json& json, std::vector<ScanFinding>& to) {
  ScanFinding finding{.severity = json.get_string("severity"), .title = json.get_string("title")};
  // Inspector's UNTRIAGED is ECR's UNDEFINED.
  if (severity_rank(finding.severity) > 5) finding.severity = "UNDEFINED";
  const Json* details = json.find("packageVulnerabilityDetails");
  if (!details) {
    to.push_back(std::move(finding));
    return;
  }
  finding.id = details->get_string("vulnerabilityId");
  finding.uri = details->get_string("sourceUrl");
  const Json* packages = details->find("vulnerablePackages");
  if (!packages || packages->size() == 0) {
    to.push_back(std::move(finding));
    return;
  }
  for (const Json& package : packages->as_array()) {
    finding.package = package.get_string("name");
    finding.version = package.get_string("version");
    finding.fixed_in = package.get_string("fixedInVersion");
    to.push_back(finding);
  }
}

// One page; nothing when there was no scan.
std::optional<std::string> read_page(const Ecr& ecr, const ScanWish& wish, const std::string& token,
                                     ScanReport& report) {
  Json input = Json::object({{"repositoryName", wish.image.repository}, {"imageId", wish.image.id()}});
  if (token.empty())
    input.set("maxResults", 1000);
  else
    input.set("nextToken", token);
  auto answer = ecr.call_unless("DescribeImageScanFindings", input, "ScanNotFoundException");
  if (!answer) return std::nullopt;
  if (const Json* status = answer->find("imageScanStatus")) {
    report.status = printable(status->get_string("status"));
    report.description = printable(status->get_string("description"));
  }
  if (const Json* found = answer->find("imageScanFindings")) {
    if (const Json* basic = found->find("findings"))
      for (const Json& json : basic->as_array()) report.findings.push_back(basic_finding(json));
    if (const Json* enhanced = found->find("enhancedFindings"))
      for (const Json& json : enhanced->as_array()) add_enhanced(json, report.findings);
  }
  return answer->get_string("nextToken");
}

std::optional<ScanReport> read_report(const Ecr& ecr, const ScanWish& wish) {
  ScanReport report;
  std::string token;
  for (int page = 0; page < kMaxPages; page++) {
    auto next = read_page(ecr, wish, token, report);
    if (!next) return std::nullopt;
    if (next->empty()) return report;
    if (*next == token) fail(ErrorCode::kFailed, "ECR DescribeImageScanFindings: the same page again");
    token = std::move(*next);
  }
  fail(ErrorCode::kFailed, "ECR DescribeImageScanFindings: more than {} pages", kMaxPages);
}

}  // namespace

ScanReport scan_findings(const Ecr& ecr, const ScanWish& wish) {
  auto report = read_report(ecr, wish);
  if (!report && wish.starts) {
    ecr.call("StartImageScan",
             Json::object({{"repositoryName", wish.image.repository}, {"imageId", wish.image.id()}}));
    report = ScanReport{.status = "IN_PROGRESS"};
  }
  if (!report)
    throw Error(ErrorCode::kNotFound, fmt::format("{} was never scanned", wish.image.repository))
        .with_hint("--start asks for a scan; 'corten ecr ensure --scan-on-push' has every push scanned");
  for (int64_t end = monotonic_ns() + int64_t{wish.wait_s} * 1'000'000'000;
       report->is_pending() && monotonic_ns() < end;) {
    sleep_ms(kPollMs);
    report = read_report(ecr, wish).value_or(ScanReport{.status = "IN_PROGRESS"});
  }
  std::stable_sort(report->findings.begin(), report->findings.end(), [](const auto& a, const auto& b) {
    return severity_rank(a.severity) < severity_rank(b.severity);
  });
  return std::move(*report);
}

}  // namespace corten::registry::cloud
