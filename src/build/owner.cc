#include "build/owner.h"

#include "base/error.h"
#include "base/strings.h"
#include "dockerfile/values.h"

namespace corten::build {

Owner owner_of(const store::Accounts& accounts, std::string_view text) {
  dockerfile::OwnerSpec spec = dockerfile::parse_owner(text);
  Owner owner;
  if (spec.uid) {
    owner.uid = *spec.uid;
    owner.gid = *spec.uid;
  } else if (!spec.user.empty()) {
    if (!accounts.has_files())
      fail(ErrorCode::kInvalid, "invalid user index: -1: there is no /etc/passwd to look up {} in",
           quote(spec.user));
    if (const auto* user = accounts.user_by_name(spec.user)) owner = {user->uid, user->gid};
  }
  if (spec.group) {
    if (spec.gid)
      owner.gid = *spec.gid;
    else if (spec.group->empty())  // "app:", as BuildKit reads it
      owner.gid = 0;
    else if (const auto* group = accounts.group_by_name(*spec.group))
      owner.gid = group->gid;
  }
  return owner;
}

Owner workdir_owner(const store::Accounts& accounts, std::string_view text) {
  if (text.empty()) return {};
  dockerfile::OwnerSpec spec = dockerfile::parse_owner(text);
  if (!spec.uid && !accounts.user_by_name(spec.user)) return {};
  return owner_of(accounts, text);
}

}  // namespace corten::build
