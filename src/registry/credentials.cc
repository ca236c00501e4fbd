#include "registry/credentials.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "registry/credential_files.h"
#include "registry/credential_helper.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxFileBytes = 4 << 20;
constexpr const char* kDockerHub = "docker.io";

// The place of a byte; the JSON parser's own words quote the text, which may be a secret.
[[noreturn]] void refuse_json(const std::string& path, std::string_view text, const Error& error) {
  const std::string& words = error.message();
  int line = 0;
  if (size_t at = words.find("byte "); at != std::string::npos) {
    size_t end = words.find_first_not_of("0123456789", at + 5);
    if (auto offset = parse_int(words.substr(at + 5, end - at - 5)))
      line = 1 + static_cast<int>(std::count(text.begin(),
                                             text.begin() + static_cast<ptrdiff_t>(std::min<size_t>(
                                                                static_cast<size_t>(*offset), text.size())),
                                             '\n'));
  }
  throw Error(ErrorCode::kInvalid, line > 0 ? fmt::format("{}:{}: this is no JSON", path, line)
                                            : fmt::format("{}: this is no JSON", path))
      .with_hint("mend it, or move it away and log in again: corten login HOST");
}

Credential parse_auth(const Json& json, const std::string& path, const std::string& key) {
  Credential credential;
  credential.source = path;
  credential.user = json.get_string("username");
  credential.password = json.get_string("password");
  credential.identity_token = json.get_string("identitytoken");
  credential.registry_token = json.get_string("registrytoken");
  const std::string auth = json.get_string("auth");
  if (auth.empty()) return credential;
  auto decoded = base64_decode(auth);
  const size_t colon = decoded ? decoded->find(':') : std::string::npos;
  if (colon == std::string::npos)
    throw Error(ErrorCode::kInvalid,
                fmt::format("{}: the auth of {} is not the base64 of USER:PASSWORD", path, quote(key)))
        .with_hint("log in again: corten login " + printable(key));
  credential.user = decoded->substr(0, colon);
  credential.password = decoded->substr(colon + 1);
  while (credential.password.ends_with('\0')) credential.password.pop_back();  // as Docker does
  return credential;
}

bool is_host(std::string_view key) {
  return key.find('/') == std::string_view::npos;
}

}  // namespace

std::string credential_key(std::string_view written) {
  std::string key(trim(written));
  const bool had_scheme = key.find("://") != std::string::npos;
  if (had_scheme) key.erase(0, key.find("://") + 3);
  for (std::string_view end : {"/", "/v1", "/v2", "/"})
    if (key.ends_with(end)) key.resize(key.size() - end.size());
  const size_t slash = key.find('/');
  std::string host = to_lower(std::string_view(key).substr(0, slash));
  if (host == "index.docker.io" || host == "registry-1.docker.io") host = kDockerHub;
  // With a scheme it is an address, of which Docker takes the host.
  return had_scheme || slash == std::string::npos ? host : host + key.substr(slash);
}

std::string stored_key(const std::string& host) {
  return credential_key(host) == kDockerHub ? "https://index.docker.io/v1/" : host;
}

CredentialFile parse_credential_file(std::string_view text, const std::string& path) {
  CredentialFile file;
  file.path = path;
  if (trim(text).empty()) return file;
  Json json;
  try {
    json = Json::parse(text, kMaxFileBytes);
  } catch (const Error& error) {
    refuse_json(path, text, error);
  }
  std::string where;  // for errors of type
  try {
    where = "auths";
    // ~/.dockercfg is the inside of auths.
    const Json* auths = json.find("auths");
    if (auths == nullptr && path.ends_with("/.dockercfg")) auths = &json;
    if (auths)
      for (const auto& [key, value] : auths->as_object()) {
        if (value.is_null()) continue;
        value.as_object();
        Credential credential = parse_auth(value, path, key);
        if (!credential.is_anonymous()) file.auths.emplace_back(credential_key(key), std::move(credential));
      }
    where = "credHelpers";
    if (const Json* helpers = json.find("credHelpers"))
      for (const auto& [key, value] : helpers->as_object())
        file.helpers.emplace_back(credential_key(key), value.as_string());
    where = "credsStore";
    file.store = json.get_string("credsStore");
    where = "HttpHeaders";
    if (const Json* fields = json.find("HttpHeaders"))
      for (const auto& [name, value] : fields->as_object())
        if (to_lower(name).starts_with("x-meta-")) file.request_fields.emplace_back(name, value.as_string());
  } catch (const Error& error) {
    if (!error.hint().empty()) throw;
    throw Error(ErrorCode::kInvalid, fmt::format("{}: {} has a value of the wrong kind", path, where))
        .with_hint("mend it, or move it away and log in again: corten login HOST");
  }
  return file;
}

struct Credentials::Shared {
  mutable std::mutex mutex;
  std::vector<CredentialFile> files;
  std::vector<std::string> notes;  // about files
  std::map<std::string, Credential> given;
  std::vector<Provider> providers;
  struct Answer {
    std::mutex mutex;
    bool is_known = false;
    std::optional<Credential> credential;
    std::exception_ptr failure;
    std::string note;
  };
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Answer>> answers;  // by helper and host
};

Credentials::Credentials() : shared_(std::make_shared<Shared>()) {}

Credentials Credentials::from_files(std::vector<CredentialFile> files) {
  Credentials credentials;
  credentials.shared_->files = std::move(files);
  return credentials;
}

Credentials Credentials::from_system(const std::string& authfile) {
  Credentials credentials;
  FoundFiles found = read_credential_files(authfile);
  credentials.shared_->files = std::move(found.files);
  credentials.shared_->notes = std::move(found.notes);
  return credentials;
}

void Credentials::add(const std::string& host, Credential credential) {
  std::lock_guard lock(shared_->mutex);
  shared_->given[credential_key(host)] = std::move(credential);
}

void Credentials::add_provider(Provider provider) {
  std::lock_guard lock(shared_->mutex);
  shared_->providers.push_back(std::move(provider));
}

std::optional<Credential> Credentials::from_helper(const std::string& name, const std::string& host,
                                                   bool must_work) const {
  std::shared_ptr<Shared::Answer> answer;
  {
    std::lock_guard lock(shared_->mutex);
    auto& slot = shared_->answers[{name, host}];
    if (!slot) slot = std::make_shared<Shared::Answer>();
    answer = slot;
  }
  std::lock_guard lock(answer->mutex);
  if (!answer->is_known) {
    try {
      answer->credential = helper_get(name, stored_key(host));
      if (!answer->credential) answer->note = fmt::format("docker-credential-{}: nothing for {}", name, host);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) throw;
      answer->failure = std::current_exception();
      answer->note = error.what();
    }
    answer->is_known = true;
  }
  if (answer->failure && must_work) std::rethrow_exception(answer->failure);
  return answer->credential;
}

std::optional<Credential> Credentials::in_file(const CredentialFile& file, const std::string& host,
                                               const std::string& repository) const {
  for (const auto& [key, name] : file.helpers)
    if (key == host)
      if (auto found = from_helper(name, host, true)) return found;
  // A credsStore that does not work (a desktop's, copied into a container) must not stand in the way of what
  // needs no credentials; what it said is shown when the registry refuses.
  if (!file.store.empty())
    if (auto found = from_helper(file.store, host, false)) return found;
  const Credential* best = nullptr;
  size_t best_size = 0;
  const std::string path = host + "/" + repository;
  for (const auto& [key, credential] : file.auths) {
    const bool fits = key == host || path == key || (!is_host(key) && path.starts_with(key + "/"));
    if (!fits || key.size() <= best_size) continue;
    best = &credential;
    best_size = key.size();
  }
  return best ? std::optional(*best) : std::nullopt;
}

Credential Credentials::find(const std::string& host, const std::string& repository) const {
  const std::string key = credential_key(host);
  std::vector<Provider> providers;
  {
    std::lock_guard lock(shared_->mutex);
    if (auto given = shared_->given.find(key); given != shared_->given.end()) return given->second;
    providers = shared_->providers;
  }
  for (const CredentialFile& file : shared_->files)
    if (auto found = in_file(file, key, repository)) return *found;
  for (const Provider& provider : providers)
    if (auto found = provider(key, repository)) return *found;
  return {};
}

std::vector<std::pair<std::string, std::string>> Credentials::request_fields() const {
  for (const CredentialFile& file : shared_->files)
    if (!file.request_fields.empty()) return file.request_fields;
  return {};
}

std::vector<std::string> Credentials::search_notes(const std::string& host) const {
  const std::string key = credential_key(host);
  std::vector<std::string> notes;
  std::lock_guard lock(shared_->mutex);
  for (const CredentialFile& file : shared_->files) notes.push_back(file.path + ": nothing for " + key);
  notes.insert(notes.end(), shared_->notes.begin(), shared_->notes.end());
  for (const auto& [name, answer] : shared_->answers) {
    std::lock_guard answer_lock(answer->mutex);
    if (name.second == key && !answer->note.empty()) notes.push_back(answer->note);
  }
  return notes;
}

}  // namespace corten::registry
