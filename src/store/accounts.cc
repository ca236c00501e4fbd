#include "store/accounts.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace corten::store {

namespace {

std::optional<uint32_t> parse_id(std::string_view text) {
  auto value = parse_int(text);
  if (!value || *value < 0 || *value > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

std::optional<std::string> read_text(const Tree& tree, const Contents& contents, std::string_view path) {
  constexpr size_t kMaxBytes = 4 << 20;
  const Entry* entry = tree.find(resolve_links(tree, RootfsPath(path)));
  if (!entry || entry->type != EntryType::kFile || entry->size > kMaxBytes) return std::nullopt;
  if (entry->size == 0) return "";
  return contents.read(entry->content, kMaxBytes);
}

}  // namespace

Accounts Accounts::load(const Tree& tree, const Contents& contents) {
  auto passwd = read_text(tree, contents, "etc/passwd"), group = read_text(tree, contents, "etc/group");
  Accounts accounts = parse(passwd.value_or(""), group.value_or(""));
  accounts.has_files_ = !tree.list(RootfsPath()).empty();
  return accounts;
}

Accounts Accounts::parse(std::string_view passwd, std::string_view group) {
  Accounts accounts;
  for (const std::string& line : split(passwd, '\n')) {
    std::vector<std::string> fields = split(trim(line), ':');
    if (fields.size() < 4) continue;
    auto uid = parse_id(fields[2]), gid = parse_id(fields[3]);
    if (uid && gid) accounts.users_.push_back({fields[0], fields.size() > 5 ? fields[5] : "", *uid, *gid});
  }
  for (const std::string& line : split(group, '\n')) {
    std::vector<std::string> fields = split(trim(line), ':');
    if (fields.size() < 3) continue;
    if (auto gid = parse_id(fields[2]))
      accounts.groups_.push_back(
          {fields[0], *gid, fields.size() > 3 ? split(fields[3], ',') : std::vector<std::string>()});
  }
  accounts.has_files_ = !passwd.empty() || !group.empty();
  return accounts;
}

const Accounts::User* Accounts::user_by_name(std::string_view name) const {
  auto at = std::find_if(users_.begin(), users_.end(), [&](const User& user) { return user.name == name; });
  return at == users_.end() ? nullptr : &*at;
}
const Accounts::User* Accounts::user_by_id(uint32_t uid) const {
  auto at = std::find_if(users_.begin(), users_.end(), [&](const User& user) { return user.uid == uid; });
  return at == users_.end() ? nullptr : &*at;
}
const Accounts::Group* Accounts::group_by_name(std::string_view name) const {
  auto at =
      std::find_if(groups_.begin(), groups_.end(), [&](const Group& group) { return group.name == name; });
  return at == groups_.end() ? nullptr : &*at;
}

RunUser Accounts::run_user(std::string_view text) const {
  RunUser found;
  size_t colon = text.find(':');
  std::string_view user_text = text.substr(0, colon);
  std::optional<std::string_view> group_text;
  if (colon != std::string_view::npos) group_text = text.substr(colon + 1);
  if (group_text && group_text->empty()) group_text.reset();

  auto uid = user_text.empty() ? std::optional<uint32_t>(0) : parse_id(user_text);
  const User* user = uid ? user_by_id(*uid) : user_by_name(user_text);
  if (!uid && !user)
    fail(ErrorCode::kInvalid, "unable to find user {}: no matching entries in passwd file", user_text);
  found.uid = user ? user->uid : *uid;
  if (user && !user->home.empty()) found.home = user->home;

  if (group_text) {
    if (auto gid = parse_id(*group_text)) {
      found.gid = *gid;
    } else {
      const Group* group = group_by_name(*group_text);
      if (!group)
        fail(ErrorCode::kInvalid, "unable to find group {}: no matching entries in group file", *group_text);
      found.gid = group->gid;
    }
    found.groups = {found.gid};
    return found;
  }
  if (user) found.gid = user->gid;
  found.groups = {found.gid};
  if (!user) return found;
  for (const Group& group : groups_)
    if (std::find(group.members.begin(), group.members.end(), user->name) != group.members.end() &&
        group.gid != found.gid)
      found.groups.push_back(group.gid);
  return found;
}

}  // namespace corten::store
