// Who may do what: users of a password file may do everything, bearers of a token what it says.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/digest.h"
#include "registry/server/grants.h"
#include "registry/server/message.h"
#include "registry/server/web_token.h"

namespace corten::registry::serving {

struct AuthOptions {
  std::string htpasswd_file;  // "": no passwords
  std::string realm;          // of the token server; "": no tokens
  WebTokenOptions token = {};
  bool anonymous_pull = false;
};

// Thread-safe.
class Authorizer {
 public:
  // Reads the files; Error(kInvalid) for what they cannot mean.
  explicit Authorizer(AuthOptions options);
  bool is_on() const { return !options_.htpasswd_file.empty() || !options_.realm.empty(); }

  struct Admission {
    enum class State {
      kKnown,    // `grants` say what
      kRefused,  // credentials that are no good: `why`
      kSlow      // check_password() has to be called first, on a thread that may wait
    };
    State state = State::kRefused;
    std::string user;
    Grants grants;
    std::string why;
  };
  Admission admit(const RequestHead& head) const;
  // Remembers the outcome for admit().
  void check_password(const RequestHead& head) const;

  // 401, with what to come back with. `scope`: "repository:a/b:pull,push", "" for none.
  Answer challenge(std::string_view scope, std::string_view why) const;

 private:
  struct Outcome {
    bool is_good = false;
    int64_t until_ns = 0;
  };
  Digest key_of(const std::string& credentials) const;
  void read_users() const;

  const AuthOptions options_;
  std::unique_ptr<WebTokenVerifier> verifier_;
  const std::string secret_;  // outcomes are kept under keyed digests, not passwords
  mutable std::mutex mutex_;
  mutable std::map<Digest, Outcome> outcomes_;
  mutable std::shared_ptr<const std::map<std::string, std::string>> users_;
  mutable int64_t users_stamp_ns_ = -1, looked_ns_ = 0;
};

}  // namespace corten::registry::serving
