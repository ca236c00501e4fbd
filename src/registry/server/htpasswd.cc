#include "registry/server/htpasswd.h"

#include <crypt.h>

#include <memory>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"

namespace corten::registry::serving {

namespace {

// Nobody's: who asks for a user that is not there waits as long.
constexpr const char* kNobody = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";

bool is_bcrypt(std::string_view hash) {
  return hash.size() == 60 &&
         (hash.starts_with("$2y$") || hash.starts_with("$2b$") || hash.starts_with("$2a$"));
}

}  // namespace

std::map<std::string, std::string> parse_htpasswd(std::string_view text, std::string_view file) {
  std::map<std::string, std::string> users;
  int number = 0;
  for (const std::string& line : split(text, '\n')) {
    number++;
    const std::string_view entry = trim(line);
    if (entry.empty() || entry.starts_with('#')) continue;
    const size_t colon = entry.find(':');
    const std::string_view hash = colon == std::string_view::npos ? "" : entry.substr(colon + 1);
    if (colon == 0 || !is_bcrypt(hash))
      throw Error(ErrorCode::kInvalid, fmt::format("{}:{}: not a name and a bcrypt hash", file, number))
          .with_hint("'htpasswd -B' makes such lines; other hashes are too weak");
    users[std::string(entry.substr(0, colon))] = hash;
  }
  return users;
}

bool is_password(const std::map<std::string, std::string>& users, const std::string& user,
                 const std::string& password) {
  const auto found = users.find(user);
  const std::string hash = found == users.end() ? kNobody : found->second;
  const auto data = std::make_unique<crypt_data>();
  *data = {};
  const char* made = crypt_r(password.c_str(), hash.c_str(), data.get());
  if (made == nullptr || found == users.end() || password.find('\0') != std::string::npos) return false;
  // In the same time wherever they differ.
  unsigned difference = 0;
  const std::string_view text = made;
  for (size_t i = 0; i < hash.size(); i++)
    difference |= static_cast<unsigned char>(i < text.size() ? text[i] ^ hash[i] : 1);
  return difference == 0 && text.size() == hash.size();
}

}  // namespace corten::registry::serving
