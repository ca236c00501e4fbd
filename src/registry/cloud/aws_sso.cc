// Credentials of somebody who logged in to IAM Identity Center ('aws sso login'): the token that the AWS CLI
// keeps in ~/.aws/sso/cache buys the keys of a role.
//
// Source: AWS SDKs and Tools Reference Guide, "IAM Identity Center credential provider"; botocore
// credentials.py (SSOProvider), tokens.py (SSOTokenProvider), data/sso/2019-06-10 and
// data/sso-oidc/2019-06-10. A profile with sso_session has a token that can be renewed, kept below the SHA-1
// of the session's name; one without (legacy) below that of its start address. Nothing here asks anybody to
// log in: that is the AWS CLI's.
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "registry/cloud/answer.h"
#include "registry/cloud/aws_sources.h"

namespace corten::registry::cloud {

namespace {

constexpr size_t kMaxTokenFile = 256 << 10;
constexpr int64_t kRenewBefore_s = 15 * 60;  // botocore's window

std::string sha1_hex(std::string_view bytes) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> hash;
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), hash.data(), &size, EVP_sha1(), nullptr) != 1)
    fail(ErrorCode::kFailed, "SHA-1 is not to be had");
  return to_hex({hash.data(), size});
}

// "2021-01-01T00:00:00UTC" is what older versions of the AWS CLI wrote.
std::optional<int64_t> token_time(std::string text) {
  if (text.ends_with("UTC")) text.replace(text.size() - 3, 3, "Z");
  return parse_rfc3339(text);
}

bool is_plain(const std::string& name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

// One profile's way to keys; lives for one search.
class SsoLogin {
 public:
  SsoLogin(const AwsContext& context, const AwsProfile& profile)
      : context_(context),
        values_(profile.values),
        what_(fmt::format("profile {}", quote(profile.name))),
        login_("aws sso login") {
    if (profile.name != "default")
      login_ += " --profile " + (is_plain(profile.name) ? profile.name : quote(profile.name));
  }

  Said credentials() {
    if (auto wrong = add_session()) return std::move(*wrong);
    std::vector<std::string> missing;
    for (const char* key : {"sso_account_id", "sso_role_name", "sso_region", "sso_start_url"})
      if (value(key).empty()) missing.emplace_back(key);
    if (!missing.empty())
      return broken(fmt::format("{} is for SSO and lacks {}", what_, join(missing, ", ")));
    checked_region(value("sso_region"), what_ + ": sso_region");
    if (auto wrong = load_token()) return std::move(*wrong);
    return role_credentials();
  }

 private:
  std::string value(const std::string& key) const {
    auto at = values_.find(key);
    return at == values_.end() ? "" : at->second;
  }
  int64_t left_s() const { return expires_s_ - context_.clock.now_s(); }
  std::string endpoint(const std::string& service) const {
    return service_endpoint(context_.environment, service, value("sso_region"));
  }

  // What [sso-session NAME] says; a profile that says otherwise is somebody's mistake.
  std::optional<NoCredentials> add_session() {
    const std::string name = value("sso_session");
    if (name.empty()) {
      session_ = value("sso_start_url");
      return std::nullopt;
    }
    session_ = name;
    can_renew_ = true;
    auto session = read_sso_session(context_.environment, name);
    if (!session)
      return broken(fmt::format("{}: its sso_session {} is in no [sso-session ...]", what_, quote(name)),
                    "aws configure sso-session");
    for (const auto& [key, said] : *session)
      if (auto [at, is_new] = values_.emplace(key, said); !is_new && at->second != said)
        return broken(fmt::format("{}: its {} is not the one of sso-session {}", what_, key, quote(name)));
    return std::nullopt;
  }

  std::optional<NoCredentials> load_token() {
    token_path_ = aws_file(context_.environment, "sso/cache/" + sha1_hex(session_) + ".json");
    const std::string who = fmt::format("{}: SSO session {}", what_, quote(session_));
    std::string text;
    try {
      text = read_file(token_path_, kMaxTokenFile);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
      return broken(fmt::format("{}: nobody is logged in ({} is not there)", who, token_path_), login_);
    }
    try {
      token_ = Json::parse(text, kMaxTokenFile);
      expires_s_ = token_time(token_.get_string("expiresAt")).value_or(0);
    } catch (const Error&) {
      expires_s_ = 0;  // and what it holds is not shown
    }
    if (!is_token(access_token()) || expires_s_ == 0)
      return broken(fmt::format("{}: {} holds no token", who, token_path_), login_);
    std::string why;
    if (can_renew_ && left_s() < kRenewBefore_s) why = renew();
    if (left_s() > 0) return std::nullopt;
    return broken(fmt::format("{} expired at {}{}{}", who, format_rfc3339(expires_s_),
                              why.empty() ? "" : ", and was not renewed: ", why),
                  login_);
  }

  std::string access_token() const {
    const Json* token = token_.find("accessToken");
    return token && token->is_string() ? token->as_string() : "";
  }
  // It becomes a field of a request.
  static bool is_token(const std::string& text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  }
  std::string without_tokens(std::string text) const {
    for (const char* key : {"accessToken", "refreshToken", "clientSecret"})
      if (const Json* secret = token_.find(key);
          secret && secret->is_string() && !secret->as_string().empty())
        text = replace_all(std::move(text), secret->as_string(), "***");
    return text;
  }

  // Why not; "" when the token is a new one. It is kept for the AWS CLI too: an old refresh token may be
  // worth nothing from now on.
  std::string renew() {
    try {
      Json input = Json::object();
      for (const char* key : {"clientId", "clientSecret", "refreshToken"}) {
        if (token_.get_string(key).empty()) return fmt::format("no {} was kept", key);
        input.set(key, token_.get_string(key));
      }
      if (token_time(token_.get_string("registrationExpiresAt")).value_or(0) <= context_.clock.now_s())
        return "the registration of the AWS CLI expired, too";
      input.set("grantType", "refresh_token");
      Answer answer = ask_again(context_.http, {.url = endpoint("sso-oidc") + "/token",
                                                .fields = {{"Content-Type", "application/json"}},
                                                .method = "POST",
                                                .body = http::RequestBody::of(input.dump())});
      if (!answer.is_good()) return without_tokens(refusal(answer));
      const Json fresh = Json::parse(answer.body, kMaxTokenFile);
      const std::string token = fresh.get_string("accessToken");
      const int64_t lasts_s = fresh.get_int("expiresIn");
      if (!is_token(token) || lasts_s <= 0 || lasts_s > int64_t{366} * 86400) return "no token came";
      token_.set("accessToken", token);
      expires_s_ = context_.clock.now_s() + lasts_s;
      token_.set("expiresAt", format_rfc3339(expires_s_));
      if (std::string next = fresh.get_string("refreshToken"); !next.empty())
        token_.set("refreshToken", next);
      else
        token_.erase("refreshToken");
    } catch (const Error& error) {
      return without_tokens(error.what());
    }
    try {
      write_file_atomic(token_path_, token_.dump(), 0600);
    } catch (const Error&) {
      // A home that cannot be written: this run has its token.
    }
    return {};
  }

  Said role_credentials() {
    const std::string role = value("sso_role_name"), account = value("sso_account_id");
    const std::string query = form({{"role_name", role}, {"account_id", account}});
    Answer answer =
        ask_again(context_.http,
                  {.url = endpoint("sso") + "/federation/credentials?" + query,
                   .fields = {{"Accept", "application/json"}, {"x-amz-sso_bearer_token", access_token()}}});
    const std::string who = fmt::format("{}: SSO role {} in account {}", what_, quote(role), quote(account));
    if (answer.status == 401)
      return broken(fmt::format("{}: {}", who, without_tokens(refusal(answer))), login_);
    if (!answer.is_good()) return broken(fmt::format("{}: {}", who, without_tokens(refusal(answer))));
    AwsCredentials credentials;
    try {
      const Json json = Json::parse(answer.body, kMaxAnswerBytes);
      if (const Json* keys = json.find("roleCredentials"))
        credentials = {keys->get_string("accessKeyId"), keys->get_string("secretAccessKey"),
                       keys->get_string("sessionToken"), fmt::format("SSO of {}", what_),
                       keys->get_int("expiration") / 1000};
    } catch (const Error&) {
      credentials = {};
    }
    if (credentials.access_key.empty() || credentials.secret_key.empty())
      return broken(who + ": no keys in the answer");
    return checked(context_, std::move(credentials));
  }

  const AwsContext& context_;
  std::map<std::string, std::string> values_;
  const std::string what_;
  std::string login_;    // what to run when the token is none
  std::string session_;  // whose token it is: the session's name, or the start address
  bool can_renew_ = false;
  std::string token_path_;
  Json token_;
  int64_t expires_s_ = 0;
};

}  // namespace

Said by_sso(const AwsContext& context, const AwsProfile& profile) {
  try {
    return SsoLogin(context, profile).credentials();
  } catch (const Error& error) {
    return broken(error.what());
  }
}

}  // namespace corten::registry::cloud
