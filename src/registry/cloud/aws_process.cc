#include "registry/cloud/aws_process.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "registry/cloud/aws_sources.h"
#include "registry/error_body.h"

namespace corten::registry::cloud {

namespace {

constexpr size_t kMaxOutput = 256 << 10;
constexpr int kLimitMs = 60'000;
constexpr size_t kShortestKey = 16;  // IAM: an access key id

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool is_of_keys(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/' ||
         c == '=' || c == '_' || c == '-';
}

bool may_be_key(std::string_view word) {
  auto has = [&](char first, char last) {
    return std::any_of(word.begin(), word.end(), [&](char c) { return c >= first && c <= last; });
  };
  return word.size() >= kShortestKey && has('0', '9') && (has('A', 'Z') || has('a', 'z'));
}

AwsCredentials parse_answer(const std::string& output, const std::string& source) {
  Json json;
  try {
    json = Json::parse(output, kMaxOutput);
  } catch (const Error&) {
    fail(ErrorCode::kInvalid, "its output is no JSON");  // and never shown
  }
  const Json* version = json.find("Version");
  if (!version || !version->is_int() || version->as_int() != 1)
    fail(ErrorCode::kInvalid, "its output is not of Version 1");
  AwsCredentials credentials{json.get_string("AccessKeyId"), json.get_string("SecretAccessKey"),
                             json.get_string("SessionToken"), source};
  if (credentials.access_key.empty() || credentials.secret_key.empty())
    fail(ErrorCode::kInvalid, "its output lacks AccessKeyId or SecretAccessKey");
  if (const std::string expiration = json.get_string("Expiration"); !expiration.empty()) {
    auto time = parse_rfc3339(expiration);
    if (!time) fail(ErrorCode::kInvalid, "its Expiration is no time (ISO 8601)");
    credentials.expires_s = *time;
  }
  return credentials;
}

}  // namespace

std::vector<std::string> split_command(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool is_word = false;
  for (size_t at = 0; at < text.size(); at++) {
    const char c = text[at];
    if (is_blank(c)) {
      if (is_word) words.push_back(std::exchange(word, ""));
      is_word = false;
      continue;
    }
    is_word = true;
    if (c == '\\') {
      if (++at == text.size()) fail(ErrorCode::kInvalid, "the command ends in a backslash");
      word += text[at];
    } else if (c == '\'' || c == '"') {
      for (at++; at < text.size() && text[at] != c; at++) {
        const bool is_escape = c == '"' && text[at] == '\\' && at + 1 < text.size() &&
                               (text[at + 1] == '"' || text[at + 1] == '\\');
        if (is_escape) at++;
        word += text[at];
      }
      if (at == text.size()) fail(ErrorCode::kInvalid, "a quote of the command is not closed");
    } else {
      word += c;
    }
  }
  if (is_word) words.push_back(std::move(word));
  return words;
}

std::string without_keys(std::string_view text) {
  text = trim(text);
  if (size_t line = text.rfind('\n'); line != std::string_view::npos) text.remove_prefix(line + 1);
  std::string shown;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && is_of_keys(text[end])) end++;
    const std::string_view word = text.substr(at, end - at);
    shown += may_be_key(word) ? "***" : word;
    if (end < text.size()) shown += text[end];
    at = end + 1;
  }
  return error_text(shown);
}

Said by_process(const AwsContext& context, const AwsProfile& profile) {
  const std::string command = profile.value("credential_process");
  std::string what = fmt::format("profile {}: credential_process", quote(profile.name));
  try {
    const std::vector<std::string> words = split_command(command);
    if (words.empty()) return broken(what + " is empty");
    what += " " + quote(words.front());  // its arguments may be secrets
    const SubprocessResult result =
        run_subprocess(words, {.max_output_bytes = kMaxOutput, .limit_ms = kLimitMs});
    if (result.exit_code != 0) {
      const std::string said = without_keys(result.error_output);
      return broken(
          fmt::format("{}: exit code {}{}{}", what, result.exit_code, said.empty() ? "" : ": ", said));
    }
    AwsCredentials credentials =
        parse_answer(result.output, fmt::format("credential_process of profile {}", quote(profile.name)));
    if (credentials.expires_s != 0 && credentials.expires_s <= context.clock.now_s())
      return broken(
          fmt::format("{}: what it gave expired at {}", what, format_rfc3339(credentials.expires_s)));
    return checked(context, std::move(credentials));
  } catch (const Error& error) {
    return broken(fmt::format("{}: {}", what, error.what()));
  }
}

}  // namespace corten::registry::cloud
