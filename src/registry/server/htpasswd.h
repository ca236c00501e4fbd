// Users and passwords in a file of Apache's form ("name:$2y$..."), bcrypt alone, as docker-registry has it.
#pragma once
#include <map>
#include <string>
#include <string_view>

namespace corten::registry::serving {

// Names with their hashes. Error(kInvalid), with file and line, for a line of another form.
std::map<std::string, std::string> parse_htpasswd(std::string_view text, std::string_view file);

// Takes as long as the hash's cost says (some 50 ms), also for a user that is not there.
bool is_password(const std::map<std::string, std::string>& users, const std::string& user,
                 const std::string& password);

}  // namespace corten::registry::serving
