// The ids that /etc/subuid and /etc/subgid give to a user (subuid(5)). Read by ourselves: libsubid needs
// dlopen.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/privilege.h"

namespace corten::sandbox {

struct SubIds {
  uint32_t start = 0, count = 0;
};

// The first range of the user, whom a line may name or number. Lines that are not understood are skipped, as
// shadow does. Pure.
std::optional<SubIds> parse_subids(std::string_view text, std::string_view user, uid_t uid);

// The name that passwd(5) has for the id; "" when it has none. Pure.
std::string parse_user_name(std::string_view passwd, uid_t uid);

// Ours: from /etc/passwd, else $USER (a directory service; newuidmap checks it again).
std::string own_user_name();

// /proc/PID/uid_map: three numbers a line. Pure.
std::vector<IdRange> parse_id_map(std::string_view text);

}  // namespace corten::sandbox
