#include "registry/cloud/aws_sts.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "registry/cloud/answer.h"

namespace corten::registry::cloud {

namespace {

AwsCredentials credentials_in(const std::string& xml, const std::string& source) {
  AwsCredentials credentials{xml_text(xml, "AccessKeyId"), xml_text(xml, "SecretAccessKey"),
                             xml_text(xml, "SessionToken"), source,
                             parse_rfc3339(xml_text(xml, "Expiration")).value_or(0)};
  if (credentials.access_key.empty() || credentials.secret_key.empty())
    fail(ErrorCode::kFailed, "STS gave no credentials");
  return credentials;
}

}  // namespace

void fail_invalid_credentials(const std::string& why, const std::string& run) {
  throw Error(ErrorCode::kPermission, why + "\nAWS CLI is not configured or credentials are invalid")
      .with_hint("Please run: " + run);
}

bool is_about_credentials(std::string_view error_type) {
  static constexpr std::array<std::string_view, 10> kTypes = {
      "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException",
      "SignatureDoesNotMatch",       "ExpiredToken",         "ExpiredTokenException",
      "InvalidAccessKeyId",          "AuthFailure",          "MissingAuthenticationToken",
      "IncompleteSignature"};
  return std::find(kTypes.begin(), kTypes.end(), error_type) != kTypes.end();
}

std::string Sts::call(const std::vector<std::pair<std::string, std::string>>& members,
                      const AwsCredentials* credentials) const {
  std::string endpoint = service_endpoint(environment, "sts", region);
  std::string body = form(members), action = members.front().second;
  http::Url url = http::parse_url(endpoint + "/");
  http::Fields fields = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}};
  if (credentials) {
    RequestToSign to_sign{.path = url.target, .fields = fields, .body = body};
    to_sign.fields.emplace_back("Host", url.authority());
    fields = sign_request(std::move(to_sign), *credentials, {region, "sts", clock.now_s()});
    std::erase_if(fields, [](const auto& field) { return field.first == "Host"; });
  }
  Answer answer = ask_again(
      http, {.url = endpoint + "/", .fields = fields, .method = "POST", .body = http::RequestBody::of(body)});
  if (answer.is_good()) return std::move(answer.body);
  std::string code = xml_text(answer.body, "Code"), message = printable(xml_text(answer.body, "Message"));
  std::string why = code.empty() ? fmt::format("STS {}: {}", action, refusal(answer))
                                 : fmt::format("STS {}: {}: {}", action, printable(code), message);
  if (credentials && is_about_credentials(code))
    fail_invalid_credentials(fmt::format("{} (credentials of {})", why, credentials->source));
  throw Error(answer.status >= 500 ? ErrorCode::kIo : ErrorCode::kPermission, why);
}

CallerIdentity Sts::caller_identity(const AwsCredentials& credentials) const {
  std::string xml = call({{"Action", "GetCallerIdentity"}, {"Version", "2011-06-15"}}, &credentials);
  CallerIdentity identity{xml_text(xml, "Account"), xml_text(xml, "Arn"), xml_text(xml, "UserId")};
  if (identity.account.empty()) fail(ErrorCode::kFailed, "STS GetCallerIdentity: no account in the answer");
  return identity;
}

AwsCredentials Sts::assume_role(const AwsCredentials& credentials, const AssumedRole& role) const {
  std::vector<std::pair<std::string, std::string>> members = {{"Action", "AssumeRole"},
                                                              {"Version", "2011-06-15"},
                                                              {"RoleArn", role.arn},
                                                              {"RoleSessionName", role.session_name}};
  if (!role.external_id.empty()) members.emplace_back("ExternalId", role.external_id);
  return credentials_in(call(members, &credentials), "role " + role.arn);
}

AwsCredentials Sts::assume_role_with_web_identity(const AssumedRole& role, const std::string& token) const {
  return credentials_in(call({{"Action", "AssumeRoleWithWebIdentity"},
                              {"Version", "2011-06-15"},
                              {"RoleArn", role.arn},
                              {"RoleSessionName", role.session_name},
                              {"WebIdentityToken", token}},
                             nullptr),
                        "web identity as " + role.arn);
}

}  // namespace corten::registry::cloud
