// Who a file is said to belong to, where only one id exists.
//
// In a user namespace with a single id every file is ours, whatever its layer says. The owner that it would
// have is kept in an extended attribute of the file itself, so it goes wherever the file goes: into the upper
// when an overlay copies the file up, along with a rename, into a cache mount, and away with the last link.
// (A table by inode number goes wrong at the first two, and again when the number is used anew.) Device
// nodes, which cannot be made there either, are empty files whose record has the device.
//
// Links, fifos and sockets carry no such attribute; who needs their owners keeps a table.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace corten {

struct RecordedOwner {
  uint32_t uid = 0, gid = 0;
  mode_t device_type = 0;  // S_IFCHR, S_IFBLK, or 0 for what is as it looks
  uint32_t device_major = 0, device_minor = 0;

  // "1000:50"; "0:6 b 8 1" for a device.
  std::string to_string() const;
  static std::optional<RecordedOwner> parse(std::string_view text);
  bool operator==(const RecordedOwner&) const = default;
};

inline constexpr const char* kOwnerAttribute = "user.corten.owner";

// Of a file or directory; a link at the path is followed, so the caller has looked (or passes
// /proc/self/fd/N). Nothing when there is no record, or none that we wrote.
std::optional<RecordedOwner> read_recorded_owner(const char* path);
// 0 or an errno: EPERM for what is no file or directory, EOPNOTSUPP for a file system without such
// attributes.
int write_recorded_owner(const char* path, const RecordedOwner& owner);

}  // namespace corten
