#include "registry/cloud/sigv4.h"

#include <time.h>

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "base/digest.h"
#include "base/strings.h"
#include "http/url.h"

namespace corten::registry::cloud {

namespace {

constexpr size_t kBlockBytes = 64;  // of SHA-256: a longer HMAC key is hashed first (RFC 2104)
constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string hmac(std::string_view key, std::string_view bytes) {
  std::string short_key(key);
  auto raw = [](const Digest& digest) {
    return std::string(reinterpret_cast<const char*>(digest.bytes().data()), digest.bytes().size());
  };
  if (short_key.size() > kBlockBytes) short_key = raw(Digest::of(key));
  return raw(keyed_digest(short_key, bytes));
}

// RFC 3986 section 5.2.4, and runs of slashes are one.
std::string normalized(std::string_view path) {
  std::vector<std::string> kept;
  bool ends_in_slash = true;
  for (const std::string& part : split(path, '/')) {
    ends_in_slash = part.empty() || part == "." || part == "..";
    if (part == ".." && !kept.empty()) kept.pop_back();
    if (!ends_in_slash) kept.push_back(part);
  }
  std::string clean = "/" + join(kept, "/");
  if (ends_in_slash && clean.size() > 1 && (path.ends_with('/') || path.ends_with("/."))) clean += '/';
  return clean;
}

// By name in lower case, values of one name in their order; runs of blanks are one.
std::map<std::string, std::string> canonical_fields(const Pairs& fields) {
  std::map<std::string, std::string> canonical;
  for (const auto& [name, value] : fields) {
    std::string trimmed = join(split_words(replace_all(replace_all(value, "\n", " "), "\r", " ")), " ");
    auto [at, is_new] = canonical.emplace(to_lower(trim(name)), trimmed);
    if (!is_new) at->second += "," + trimmed;
  }
  return canonical;
}

std::string signed_names(const Pairs& fields) {
  std::vector<std::string> names;
  for (const auto& [name, value] : canonical_fields(fields)) names.push_back(name);
  return join(names, ";");
}

std::string scope_text(const SignedScope& scope) {
  return fmt::format("{}/{}/{}/aws4_request", amz_date(scope.time_s).substr(0, 8), scope.region,
                     scope.service);
}

}  // namespace

std::string amz_date(int64_t time_s) {
  time_t seconds = static_cast<time_t>(time_s);
  tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string canonical_request(const RequestToSign& request) {
  std::string path = request.normalizes_path ? normalized(request.path) : request.path;
  std::vector<std::string> query;
  Pairs sorted;
  for (const auto& [name, value] : request.query)
    sorted.emplace_back(http::percent_encode(name), http::percent_encode(value));
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [name, value] : sorted) query.push_back(name + "=" + value);
  std::string fields, payload = Digest::of(request.body).hex();
  for (const auto& [name, value] : canonical_fields(request.fields)) {
    fields += name + ":" + value + "\n";
    if (name == "x-amz-content-sha256") payload = value;
  }
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, http::percent_encode(path, "/"),
                     join(query, "&"), fields, signed_names(request.fields), payload);
}

std::string string_to_sign(std::string_view canonical, const SignedScope& scope) {
  return fmt::format("{}\n{}\n{}\n{}", kAlgorithm, amz_date(scope.time_s), scope_text(scope),
                     Digest::of(canonical).hex());
}

std::string authorization_field(const RequestToSign& request, const AwsCredentials& credentials,
                                const SignedScope& scope) {
  std::string key = hmac("AWS4" + credentials.secret_key, amz_date(scope.time_s).substr(0, 8));
  key = hmac(hmac(hmac(key, scope.region), scope.service), "aws4_request");
  std::string signature = hmac(key, string_to_sign(canonical_request(request), scope));
  return fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", kAlgorithm,
                     credentials.access_key, scope_text(scope), signed_names(request.fields),
                     to_hex({reinterpret_cast<const uint8_t*>(signature.data()), signature.size()}));
}

Pairs sign_request(RequestToSign request, const AwsCredentials& credentials, const SignedScope& scope) {
  std::erase_if(request.fields, [](const auto& field) {
    return iequals(field.first, "Authorization") || iequals(field.first, "X-Amz-Date") ||
           iequals(field.first, "X-Amz-Security-Token");
  });
  request.fields.emplace_back("X-Amz-Date", amz_date(scope.time_s));
  if (!credentials.session_token.empty())
    request.fields.emplace_back("X-Amz-Security-Token", credentials.session_token);
  std::string authorization = authorization_field(request, credentials, scope);
  request.fields.emplace_back("Authorization", authorization);
  return std::move(request.fields);
}

}  // namespace corten::registry::cloud
