#include "registry/credential_helper.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "registry/error_body.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxOutput = 256 << 10;
constexpr int kSilenceMs = 120'000;  // somebody may have to type a passphrase

// The name of an identity token's user (docker-credential-helpers).
constexpr const char* kTokenUser = "<token>";

SubprocessResult run(const std::string& name, const std::string& verb, std::string input) {
  const bool is_plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
  });
  if (!is_plain) fail(ErrorCode::kInvalid, "credential helper {}: no such name can be run", quote(name));
  const std::string program = "docker-credential-" + name;
  try {
    return run_subprocess(
        {program, verb},
        {.input = std::move(input), .max_output_bytes = kMaxOutput, .silence_ms = kSilenceMs});
  } catch (Error& error) {
    if (error.code() == ErrorCode::kNotFound)
      throw Error(ErrorCode::kNotFound, program + ": no such program in PATH")
          .with_hint("install it, or take it out of credsStore and credHelpers of the configuration");
    error.add_context(program);
    throw;
  }
}

// What it says when it fails is its own text, on either output; what it says when it succeeds may be a
// secret and is never shown.
[[noreturn]] void refuse(const std::string& name, const std::string& verb, const SubprocessResult& result) {
  const std::string words = error_text(trim(result.output).empty() ? result.error_output : result.output);
  fail(ErrorCode::kPermission, "docker-credential-{} {} failed (exit code {}){}{}", name, verb,
       result.exit_code, words.empty() ? "" : ": ", words);
}

}  // namespace

std::optional<Credential> helper_get(const std::string& name, const std::string& server) {
  const SubprocessResult result = run(name, "get", server);
  if (result.exit_code != 0) {
    if (result.output.find("credentials not found") != std::string::npos) return std::nullopt;
    refuse(name, "get", result);
  }
  Credential credential;
  credential.source = "docker-credential-" + name;
  try {
    const Json answer = Json::parse(result.output, kMaxOutput);
    credential.user = answer.get_string("Username");
    credential.password = answer.get_string("Secret");
  } catch (const Error&) {
    fail(ErrorCode::kPermission, "docker-credential-{} get: its answer is no JSON with Username and Secret",
         name);
  }
  if (credential.user == kTokenUser) {
    credential.user.clear();
    credential.identity_token = std::exchange(credential.password, "");
  }
  if (credential.is_anonymous()) return std::nullopt;
  return credential;
}

void helper_store(const std::string& name, const std::string& server, const Credential& credential) {
  const bool is_token = !credential.identity_token.empty();
  const Json entry = Json::object({{"ServerURL", server},
                                   {"Username", is_token ? kTokenUser : credential.user},
                                   {"Secret", is_token ? credential.identity_token : credential.password}});
  const SubprocessResult result = run(name, "store", entry.dump());
  if (result.exit_code != 0) refuse(name, "store", result);
}

void helper_erase(const std::string& name, const std::string& server) {
  const SubprocessResult result = run(name, "erase", server);
  if (result.exit_code != 0 && result.output.find("credentials not found") == std::string::npos)
    refuse(name, "erase", result);
}

}  // namespace corten::registry
