#include "sandbox/owner_records.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace corten::sandbox {

namespace {
bool can_carry(mode_t mode) {
  return S_ISREG(mode) || S_ISDIR(mode);
}
}  // namespace

std::optional<OwnerRecords::Key> OwnerRecords::key_of(int fd, mode_t& mode) {
  struct statx st;
  if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_INO | STATX_BTIME, &st) != 0)
    return std::nullopt;
  mode = st.stx_mode;
  const bool has_birth = (st.stx_mask & STATX_BTIME) != 0;
  return Key{.device = static_cast<uint64_t>(st.stx_dev_major) << 32 | st.stx_dev_minor,
             .inode = st.stx_ino,
             .birth_seconds = has_birth ? st.stx_btime.tv_sec : 0,
             .birth_ns = has_birth ? st.stx_btime.tv_nsec : 0};
}

std::optional<RecordedOwner> OwnerRecords::find(int fd, const char* name) const {
  mode_t mode = 0;
  const auto key = key_of(fd, mode);
  if (!key) return std::nullopt;
  if (can_carry(mode))
    if (auto owner = read_recorded_owner(name)) return owner;
  std::lock_guard lock(mutex_);
  const auto found = table_.find(*key);
  return found == table_.end() ? std::nullopt : std::optional(found->second);
}

int OwnerRecords::record(int fd, const char* name, const RecordedOwner& owner) {
  mode_t mode = 0;
  const auto key = key_of(fd, mode);
  if (!key) return errno;
  if (can_carry(mode)) {
    const int error = write_recorded_owner(name, owner);
    if (error != EOPNOTSUPP && error != EPERM) return error;
  }
  constexpr size_t kMaxEntries = 4 << 20;  // a step cannot fill our memory
  std::lock_guard lock(mutex_);
  if (table_.size() >= kMaxEntries && !table_.contains(*key)) return ENOSPC;
  table_[*key] = owner;
  return 0;
}

}  // namespace corten::sandbox
