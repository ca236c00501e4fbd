#include "store/owners.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/core.h>

#include "base/error.h"

namespace corten::store {

void Owners::give(int dir, const std::string& name, const RecordedOwner& owner,
                  const std::string& shown) const {
  if (recorded) {
    const std::string path = dir == AT_FDCWD ? name : fmt::format("/proc/self/fd/{}/{}", dir, name);
    const int error = write_recorded_owner(path.c_str(), owner);
    if (error == 0) return;
    Error failure = errno_error(error, fmt::format("{}: record its owner {}", shown, owner.to_string()));
    if (error == EOPNOTSUPP)
      failure.set_hint(
          "the store's file system has no extended attributes of users: put the store elsewhere "
          "(CORTEN_STORE=DIR), or get a range of ids ('corten doctor')");
    throw failure;
  }
  if (fchownat(dir, name.c_str(), owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) == 0) return;
  if (errno == EINVAL)
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{}: owner {}:{} is outside the range of ids that we have", shown, owner.uid, owner.gid))
        .with_hint("give the user a larger range in /etc/subuid and /etc/subgid, or build as root");
  fail_errno("set owner of {}", shown);
}

}  // namespace corten::store
