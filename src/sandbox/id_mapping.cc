#include "sandbox/id_mapping.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten::sandbox {

namespace {

constexpr uint32_t kAllIds = 0xffffffff;
constexpr size_t kMaxFileBytes = 16 << 20;

std::optional<uint32_t> parse_id(std::string_view text) {
  auto value = parse_int(text);
  if (!value || *value < 0 || *value >= kAllIds) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

std::string to_string(const std::vector<IdRange>& ranges) {
  std::string text;
  uint64_t expected = 0;
  for (const IdRange& range : ranges) {
    if (!text.empty()) text += ',';
    if (range.inside != expected) text += fmt::format("{}:", range.inside);
    text += range.count == 1 ? fmt::format("{}", range.outside)
                             : fmt::format("{}+{}", range.outside, range.count);
    expected = uint64_t{range.inside} + range.count;
  }
  return text;
}

uint32_t contiguous(const std::vector<IdRange>& ranges) {
  if (ranges.empty()) return kAllIds;
  uint64_t end = 0;
  for (const IdRange& range : ranges) {
    if (range.inside != end) break;
    end += range.count;
  }
  return static_cast<uint32_t>(std::min<uint64_t>(end, kAllIds));
}

bool holds(const std::vector<IdRange>& ranges, uint32_t id) {
  return ranges.empty() || std::any_of(ranges.begin(), ranges.end(), [&](const IdRange& range) {
           return id >= range.inside && id - range.inside < range.count;
         });
}

std::optional<SubIds> own_subids(const char* path) {
  if (!path_exists(path)) return std::nullopt;
  return parse_subids(read_file(path, kMaxFileBytes), own_user_name(), getuid());
}

}  // namespace

std::string IdMapping::to_string() const {
  if (uids.empty() && gids.empty()) return "root";
  const std::string u = sandbox::to_string(uids), g = sandbox::to_string(gids);
  return u == g ? u : u + "/" + g;
}

uint32_t IdMapping::usable_ids() const {
  return std::min(contiguous(uids), contiguous(gids));
}

bool IdMapping::has(uint32_t uid, uint32_t gid) const {
  return holds(uids, uid) && holds(gids, gid);
}

std::optional<SubIds> parse_subids(std::string_view text, std::string_view user, uid_t uid) {
  const std::string number = fmt::format("{}", uid);
  for (const std::string& line : split(text, '\n')) {
    const std::vector<std::string> fields = split(trim(line), ':');
    if (fields.size() != 3 || (fields[0] != number && (user.empty() || fields[0] != user))) continue;
    const auto start = parse_id(fields[1]), count = parse_id(fields[2]);
    if (start && count && *count > 0 && uint64_t{*start} + *count < kAllIds)
      return SubIds{.start = *start, .count = *count};
  }
  return std::nullopt;
}

std::string parse_user_name(std::string_view passwd, uid_t uid) {
  const std::string number = fmt::format("{}", uid);
  for (const std::string& line : split(passwd, '\n')) {
    const std::vector<std::string> fields = split(line, ':');
    if (fields.size() >= 3 && fields[2] == number) return fields[0];
  }
  return {};
}

std::string own_user_name() {
  std::string name;
  if (path_exists("/etc/passwd")) name = parse_user_name(read_file("/etc/passwd", kMaxFileBytes), getuid());
  if (name.empty())
    if (const char* user = getenv("USER")) name = user;
  return name;
}

std::vector<IdRange> parse_id_map(std::string_view text) {
  std::vector<IdRange> ranges;
  for (const std::string& line : split(text, '\n')) {
    const std::vector<std::string> words = split_words(line);
    if (words.size() != 3) continue;
    const auto inside = parse_int(words[0]), outside = parse_int(words[1]), count = parse_int(words[2]);
    // A range that wraps around is none.
    auto fits = [&](int64_t start) { return start >= 0 && start <= int64_t{UINT32_MAX} + 1 - *count; };
    if (!inside || !outside || !count || *count <= 0 || *count > kAllIds || !fits(*inside) || !fits(*outside))
      continue;
    ranges.push_back({.inside = static_cast<uint32_t>(*inside),
                      .outside = static_cast<uint32_t>(*outside),
                      .count = static_cast<uint32_t>(*count)});
  }
  return ranges;
}

std::optional<IdMapping> planned_mapping() {
  if (geteuid() == 0) return IdMapping{};
  const auto uids = own_subids("/etc/subuid"), gids = own_subids("/etc/subgid");
  if (!uids || !gids) return std::nullopt;
  IdMapping mapping;
  mapping.uids = {{.inside = 0, .outside = geteuid(), .count = 1},
                  {.inside = 1, .outside = uids->start, .count = uids->count}};
  mapping.gids = {{.inside = 0, .outside = getegid(), .count = 1},
                  {.inside = 1, .outside = gids->start, .count = gids->count}};
  return mapping;
}

}  // namespace corten::sandbox
