#include "registry/cloud/aws_credentials.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "registry/cloud/answer.h"
#include "registry/cloud/aws_sources.h"

namespace corten::registry::cloud {

namespace {

constexpr int kMetadataTimeoutMs = 1000;  // nobody is there, outside of Amazon's machines
constexpr size_t kMaxTokenBytes = 64 << 10;
constexpr int64_t kRenewBefore_s = 60;  // a request must have arrived before they end

http::Client metadata_client() {
  return http::Client({.proxies = {}, .timeouts = {kMetadataTimeoutMs, kMetadataTimeoutMs}, .attempts = 1});
}

std::string read_token(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) fail_errno("open {}", path);
  archive::FdSource source(fd.get(), path);
  std::string token(trim(archive::read_rest(source, kMaxTokenBytes)));
  if (token.empty()) fail(ErrorCode::kInvalid, "{} is empty", path);
  if (std::any_of(token.begin(), token.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20; }))
    fail(ErrorCode::kInvalid, "{} holds control characters", path);
  return token;
}

// IAM: 16 to 128 of \w. What cannot be a key is refused here, and nothing is sent with it.
bool may_be_access_key(const std::string& key) {
  return key.size() >= 16 && key.size() <= 128 && std::all_of(key.begin(), key.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
         });
}

bool has_bad_bytes(const AwsCredentials& credentials) {
  for (const std::string* text :
       {&credentials.access_key, &credentials.secret_key, &credentials.session_token})
    if (std::any_of(text->begin(), text->end(), [](char c) { return static_cast<uint8_t>(c) <= 0x20; }))
      return true;
  return false;
}

AwsCredentials parse_metadata(const std::string& body, const std::string& source) {
  Json json = Json::parse(body, kMaxAnswerBytes);
  AwsCredentials credentials{json.get_string("AccessKeyId"), json.get_string("SecretAccessKey"),
                             json.get_string("Token"), source,
                             parse_rfc3339(json.get_string("Expiration")).value_or(0)};
  if (credentials.access_key.empty() || credentials.secret_key.empty())
    fail(ErrorCode::kInvalid, "no keys in the answer");
  return credentials;
}

bool is_loopback(const std::string& host) {
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

// A container's credentials are fetched without encryption from hosts alone that lie on this machine or in
// its container service; from anywhere else over TLS.
bool is_allowed_host(const http::Url& url) {
  return url.scheme == "https" || url.host == "localhost" || is_loopback(url.host) || url.host == "::1" ||
         url.host == "169.254.170.2" || url.host == "169.254.170.23" || url.host == "fd00:ec2::23";
}

}  // namespace

Said checked(const AwsContext& context, AwsCredentials credentials) {
  if (has_bad_bytes(credentials)) return broken("a key holds blanks or line ends");
  bool is_amazon = !has_own_endpoint(context.environment, "ecr");
  if (is_amazon && !may_be_access_key(credentials.access_key))
    return broken("the access key id is none: 16 to 128 letters and digits are");
  return credentials;
}

Said from_variables(const AwsContext& context) {
  const Environment& get = context.environment;
  AwsCredentials credentials{get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), get("AWS_SESSION_TOKEN"),
                             "the environment"};
  if (credentials.access_key.empty() && credentials.secret_key.empty())
    return nothing("AWS_ACCESS_KEY_ID is not set");
  if (credentials.access_key.empty()) return broken("AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not");
  if (credentials.secret_key.empty()) return broken("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not");
  return checked(context, std::move(credentials));
}

std::string session_name(const std::string& wanted) {
  return wanted.empty() ? "corten" : wanted;
}

Said by_web_identity(const AwsContext& context, const std::string& region, const std::string& file,
                     const AssumedRole& role) {
  try {
    std::string token = read_token(file);
    Sts sts{context.http, context.clock, context.environment, region};
    return checked(context, sts.assume_role_with_web_identity(role, token));
  } catch (const Error& error) {
    return broken(error.what());
  }
}

Said from_web_identity(const AwsContext& context, const std::string& region) {
  const Environment& get = context.environment;
  std::string file = get("AWS_WEB_IDENTITY_TOKEN_FILE"), role = get("AWS_ROLE_ARN");
  if (file.empty()) return nothing("AWS_WEB_IDENTITY_TOKEN_FILE is not set");
  if (role.empty()) return broken("AWS_WEB_IDENTITY_TOKEN_FILE is set, AWS_ROLE_ARN is not");
  return by_web_identity(context, region, file, {role, session_name(get("AWS_ROLE_SESSION_NAME")), ""});
}

Said from_container(const AwsContext& context) {
  const Environment& get = context.environment;
  std::string relative = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  std::string full = get("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (relative.empty() && full.empty())
    return nothing("neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor ..._FULL_URI is set");
  try {
    std::string address = relative.empty() ? full : "http://169.254.170.2" + relative;
    http::Url url = http::parse_url(address);
    if (url.is_file() || !is_allowed_host(url))
      return broken(
          fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI names {}: without TLS only this machine and "
                      "169.254.170.2, 169.254.170.23 and fd00:ec2::23 are asked",
                      quote(url.host)));
    http::Request request{.url = address, .fields = {{"Accept", "application/json"}}};
    std::string token = get("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (std::string file = get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); !file.empty())
      token = read_token(file);
    if (token.find_first_of("\r\n") != std::string::npos)
      return broken("AWS_CONTAINER_AUTHORIZATION_TOKEN holds a line end");
    if (!token.empty()) request.fields.emplace_back("Authorization", token);
    http::Client client = metadata_client();
    Answer answer = ask(client, request);
    if (answer.status != 200) return broken(fmt::format("{} answered {}", url.authority(), answer.status));
    return checked(context, parse_metadata(answer.body, "the container's credentials"));
  } catch (const Error& error) {
    return broken(error.what());
  }
}

Said from_instance(const AwsContext& context) {
  const Environment& get = context.environment;
  if (iequals(get("AWS_EC2_METADATA_DISABLED"), "true")) return nothing("AWS_EC2_METADATA_DISABLED is true");
  std::string endpoint = get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  if (endpoint.empty()) endpoint = "http://169.254.169.254";
  while (endpoint.ends_with('/')) endpoint.pop_back();
  try {
    http::Client client = metadata_client();
    Answer token = ask(client, {.url = endpoint + "/latest/api/token",
                                .fields = {{"X-aws-ec2-metadata-token-ttl-seconds", "21600"}},
                                .method = "PUT",
                                .body = http::RequestBody::of("")});
    if (token.status != 200) return nothing(fmt::format("{} gave no token: {}", endpoint, token.status));
    std::string text(trim(token.body));
    if (text.empty() || text.size() > kMaxTokenBytes || text.find_first_of("\r\n") != std::string::npos)
      return nothing(endpoint + " gave no token");
    std::string path = endpoint + "/latest/meta-data/iam/security-credentials/";
    http::Fields fields = {{"X-aws-ec2-metadata-token", text}};
    Answer roles = ask(client, {.url = path, .fields = fields});
    if (roles.status == 404) return nothing("this machine has no role");
    std::string role(trim(split(roles.body, '\n').front()));
    if (roles.status != 200 || role.empty())
      return nothing(fmt::format("{} names no role: {}", endpoint, roles.status));
    Answer keys = ask(client, {.url = path + http::percent_encode(role), .fields = fields});
    if (keys.status != 200) return nothing(fmt::format("no keys for role {}: {}", quote(role), keys.status));
    return checked(context, parse_metadata(keys.body, fmt::format("this machine's role {}", quote(role))));
  } catch (const Error& error) {
    return nothing(error.what());
  }
}

bool is_expiring(const AwsCredentials& credentials, const Clock& clock) {
  return credentials.expires_s != 0 && credentials.expires_s - clock.now_s() < kRenewBefore_s;
}

CredentialSearch search_credentials(const AwsContext& context, const std::string& region) {
  CredentialSearch search;
  if (search.take("environment", from_variables(context))) return search;
  if (search.take("web identity", from_web_identity(context, region))) return search;
  if (search.take("profile", from_profile(context, region))) return search;
  if (search.take("container", from_container(context))) return search;
  search.take("instance metadata", from_instance(context));
  return search;
}

AwsCredentials require_credentials(const AwsContext& context, const std::string& region) {
  CredentialSearch search = search_credentials(context, region);
  if (search.found) return std::move(*search.found);
  const std::string tried = search.told("no AWS credentials:");
  if (!search.run.empty()) fail_invalid_credentials(tried, search.run);
  fail_invalid_credentials(tried);
}

}  // namespace corten::registry::cloud
