#include "store/room.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten::store {

namespace {

// proc(5), mountinfo: "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw"; the last line of a
// device is the mount that hides the others.
void find_mount(const std::string& path, FileSystemRoom& room) {
  struct stat st;
  std::string text;
  try {
    if (stat(path.c_str(), &st) != 0) return;
    text = read_file("/proc/self/mountinfo", 16 << 20);
  } catch (const Error&) {
    return;  // no /proc: the sizes are still true
  }
  std::string device = fmt::format("{}:{}", major(st.st_dev), minor(st.st_dev));
  for (const std::string& line : split(text, '\n')) {
    std::vector<std::string> words = split_words(line);
    if (words.size() < 7 || words[2] != device) continue;
    bool is_above = path == words[4] || words[4] == "/" || path.starts_with(words[4] + "/");
    if (!is_above || words[4].size() < room.mount_point.size()) continue;
    room.mount_point = words[4];
    for (size_t i = 6; i + 1 < words.size(); i++)
      if (words[i] == "-") {
        room.type = words[i + 1];
        break;
      }
  }
}

}  // namespace

FileSystemRoom room_of(const std::string& path) {
  struct statvfs fs;
  if (statvfs(path.c_str(), &fs) != 0) fail_errno("ask for the room of {}", path);
  FileSystemRoom room;
  room.total_bytes = static_cast<uint64_t>(fs.f_blocks) * fs.f_frsize;
  room.free_bytes = static_cast<uint64_t>(fs.f_bavail) * fs.f_frsize;
  room.total_inodes = fs.f_files;
  room.free_inodes = fs.f_favail;
  return room;
}

FileSystemRoom described_room_of(const std::string& path) {
  FileSystemRoom room = room_of(path);
  find_mount(path, room);
  return room;
}

std::string FileSystemRoom::describe() const {
  std::string text = mount_point.empty() ? "file system" : fmt::format("file system {}", mount_point);
  if (!type.empty()) text += fmt::format(" ({})", type);
  text += fmt::format(": {} of {} free", human_size(free_bytes), human_size(total_bytes));
  if (total_inodes > 0 && free_inodes < 1000)
    text += fmt::format(", {} of {} inodes free", free_inodes, total_inodes);
  return text;
}

}  // namespace corten::store
