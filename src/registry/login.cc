#include "registry/login.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include <algorithm>

#include "archive/source.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "registry/access.h"
#include "registry/credential_files.h"
#include "registry/credential_helper.h"
#include "registry/error_body.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxFileBytes = 4 << 20;

// The credential file, held against others who write it. Where it is a link, its target is written.
class LockedFile {
 public:
  explicit LockedFile(std::string path) : path_(std::move(path)) {
    if (char* target = realpath(path_.c_str(), nullptr)) {
      path_ = target;
      free(target);
    }
    const std::string directory = HostPath{path_}.parent();
    make_directories_on_host(directory, 0700);
    lock_ = open_file(directory, O_RDONLY | O_DIRECTORY);
    while (flock(lock_.get(), LOCK_EX) != 0)
      if (errno != EINTR) fail_errno("lock {}", directory);
    std::string text;
    if (path_exists(path_)) text = read_file(path_, kMaxFileBytes);
    known_ = parse_credential_file(text, path_);
    json_ = trim(text).empty() ? Json::object() : Json::parse(text, kMaxFileBytes);
  }

  const std::string& path() const { return path_; }
  Json& json() { return json_; }

  // The helper that keeps this key, or "".
  std::string helper_of(const std::string& key) const {
    for (const auto& [host, name] : known_.helpers)
      if (host == credential_key(key)) return name;
    return known_.store;
  }

  // How the file writes this key, for each time that it does.
  std::vector<std::string> written_keys(const std::string& key) const {
    std::vector<std::string> keys;
    if (const Json* auths = json_.find("auths"))
      for (const auto& [written, value] : auths->as_object())
        if (credential_key(written) == credential_key(key)) keys.push_back(written);
    return keys;
  }

  void write() { write_file_atomic(path_, json_.dump({.indent = 2}) + "\n", 0600); }

 private:
  std::string path_;
  UniqueFd lock_;
  CredentialFile known_;
  Json json_;
};

std::string body_text(http::Response& response) {
  std::string body(kMaxErrorBytes, '\0');
  size_t size = 0;
  while (size < body.size()) {
    const size_t n = response.body->read(body.data() + size, body.size() - size);
    if (n == 0) break;
    size += n;
  }
  body.resize(size);
  return error_text(body);
}

}  // namespace

Credential check_login(const Hosts& hosts, const http::ClientOptions& http, const std::string& host,
                       const Credential& credential) {
  const Endpoint endpoint = hosts.origin(host);
  Credentials credentials;
  credentials.add(endpoint.authority, credential);
  Access access({.http = http, .credentials = credentials, .wants_refresh_token = true});
  http::Response response = access.send(endpoint, {.url = "/"}, {});
  if (response.status == 401 || response.status == 403)
    throw access.refusal(endpoint, response.status, body_text(response), {});
  if (response.status == 404)
    throw Error(ErrorCode::kNotFound, fmt::format("{}: this is no registry (it answered 404)", response.url))
        .with_hint("name the host alone, as in image names: corten login HOST[:PORT]");
  if (response.status != 200)
    fail(response.status >= 500 || response.status == 429 ? ErrorCode::kIo : ErrorCode::kFailed,
         "{}: it answered {}: {}", response.url, response.status, body_text(response));
  Credential kept = credential;
  if (std::string token = access.refresh_token(); !token.empty()) {
    kept.password.clear();
    kept.identity_token = std::move(token);
  }
  return kept;
}

SavedLogin save_login(const std::string& key, const Credential& credential, const std::string& authfile) {
  LockedFile file(writable_credential_file(authfile));
  const std::string helper = file.helper_of(key);
  std::vector<std::string> written = file.written_keys(key);
  Json& auths = file.json()["auths"];
  if (auths.is_null()) auths = Json::object();
  for (const std::string& other : written) auths.erase(other);
  Json entry = Json::object();
  SavedLogin saved{file.path(), false};
  if (!helper.empty()) {
    helper_store(helper, stored_key(key), credential);
    saved = {"docker-credential-" + helper, true};
  } else {
    entry.set("auth", base64_encode(credential.user + ":" + credential.password));
    if (!credential.identity_token.empty()) entry.set("identitytoken", credential.identity_token);
  }
  auths.set(stored_key(key), std::move(entry));
  file.write();
  return saved;
}

bool remove_login(const std::string& key, const std::string& authfile) {
  const std::string path = writable_credential_file(authfile);
  if (!path_exists(path)) return false;
  LockedFile file(path);
  const std::vector<std::string> written = file.written_keys(key);
  bool was_there = !written.empty();
  if (const std::string helper = file.helper_of(key); !helper.empty()) {
    was_there |= helper_get(helper, stored_key(key)).has_value();
    if (was_there) helper_erase(helper, stored_key(key));
  }
  if (written.empty()) return was_there;
  for (const std::string& other : written) file.json()["auths"].erase(other);
  file.write();
  return was_there;
}

}  // namespace corten::registry
