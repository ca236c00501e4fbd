#include "registry/server/authorizer.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "registry/server/htpasswd.h"

namespace corten::registry::serving {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kGoodFor = 600 * kSecond, kBadFor = 5 * kSecond;
constexpr size_t kMostOutcomes = 10'000;

std::string random_secret() {
  std::string secret(32, '\0');
  if (getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
    fail_errno("getrandom");
  return secret;
}

// "Basic ..." to "user:password".
std::optional<std::string> basic_credentials(const RequestHead& head) {
  const std::string_view field = head.field("Authorization");
  if (!iequals(field.substr(0, 6), "Basic ")) return std::nullopt;
  return base64_decode(trim(field.substr(6)));
}

}  // namespace

Authorizer::Authorizer(AuthOptions options) : options_(std::move(options)), secret_(random_secret()) {
  if (!options_.realm.empty()) {
    if (options_.token.key_file.empty() || options_.token.service.empty())
      fail(ErrorCode::kUsage, "token authentication needs a realm, a service and a key");
    verifier_ = std::make_unique<WebTokenVerifier>(options_.token);
  }
  if (!options_.htpasswd_file.empty()) {
    users_ = std::make_shared<const std::map<std::string, std::string>>(
        parse_htpasswd(read_file(options_.htpasswd_file, 4 << 20), options_.htpasswd_file));
    read_users();
  }
}

Digest Authorizer::key_of(const std::string& credentials) const {
  return keyed_digest(secret_, credentials);
}

// A file that was changed counts from the next second on; one that is damaged leaves what was.
void Authorizer::read_users() const {
  const int64_t now = monotonic_ns();
  if (looked_ns_ != 0 && now - looked_ns_ < kSecond) return;
  looked_ns_ = now;
  struct stat status {};
  if (stat(options_.htpasswd_file.c_str(), &status) != 0) return;
  const int64_t stamp = status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec;
  if (stamp == users_stamp_ns_) return;
  try {
    users_ = std::make_shared<const std::map<std::string, std::string>>(
        parse_htpasswd(read_file(options_.htpasswd_file, 4 << 20), options_.htpasswd_file));
  } catch (const Error&) {
    return;
  }
  users_stamp_ns_ = stamp;
  outcomes_.clear();
}

Authorizer::Admission Authorizer::admit(const RequestHead& head) const {
  using State = Admission::State;
  if (!is_on()) return {State::kKnown, "", {.everything = true}, ""};
  const std::string_view field = head.field("Authorization");
  if (field.empty()) {
    if (options_.anonymous_pull) return {State::kKnown, "", {.reading = true}, ""};
    return {State::kRefused, "", {}, "authentication required"};
  }
  if (verifier_ && iequals(field.substr(0, 7), "Bearer ")) {
    try {
      WebToken token = verifier_->verify(trim(field.substr(7)), ::time(nullptr));
      return {State::kKnown,
              token.subject,
              {.reading = options_.anonymous_pull, .some = std::move(token.grants)},
              ""};
    } catch (const Error& error) {
      return {State::kRefused, "", {}, error.message()};
    }
  }
  const std::optional<std::string> credentials = basic_credentials(head);
  if (options_.htpasswd_file.empty() || !credentials)
    return {State::kRefused, "", {}, "these credentials are of another kind"};
  const std::string user = credentials->substr(0, credentials->find(':'));
  std::lock_guard lock(mutex_);
  read_users();
  const auto found = outcomes_.find(key_of(*credentials));
  if (found == outcomes_.end() || found->second.until_ns < monotonic_ns())
    return {State::kSlow, user, {}, ""};
  if (!found->second.is_good) return {State::kRefused, "", {}, "wrong user or password"};
  return {State::kKnown, user, {.everything = true}, ""};
}

void Authorizer::check_password(const RequestHead& head) const {
  const std::optional<std::string> credentials = basic_credentials(head);
  if (!credentials) return;
  std::shared_ptr<const std::map<std::string, std::string>> users;
  {
    std::lock_guard lock(mutex_);
    users = users_;
  }
  const size_t colon = credentials->find(':');
  const bool is_good = colon != std::string::npos && users &&
                       is_password(*users, credentials->substr(0, colon), credentials->substr(colon + 1));
  std::lock_guard lock(mutex_);
  if (outcomes_.size() >= kMostOutcomes) outcomes_.clear();
  outcomes_[key_of(*credentials)] = {is_good, monotonic_ns() + (is_good ? kGoodFor : kBadFor)};
}

Answer Authorizer::challenge(std::string_view scope, std::string_view why) const {
  Answer answer = refuse(401, "UNAUTHORIZED", why.empty() ? "authentication required" : why, scope);
  if (verifier_) {
    std::string words =
        fmt::format("Bearer realm=\"{}\",service=\"{}\"", options_.realm, options_.token.service);
    if (!scope.empty()) words += fmt::format(",scope=\"{}\"", scope);
    answer.fields.emplace_back("WWW-Authenticate", words);
  }
  if (!options_.htpasswd_file.empty())
    answer.fields.emplace_back("WWW-Authenticate", "Basic realm=\"corten\",charset=\"UTF-8\"");
  return answer;
}

}  // namespace corten::registry::serving
