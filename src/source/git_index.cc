#include "source/git_index.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten::source {

namespace {

[[noreturn]] void corrupt() {
  fail(ErrorCode::kCorrupt, "git index: malformed");
}

uint32_t big_endian(std::string_view bytes, size_t at) {
  if (at + 4 > bytes.size()) corrupt();
  uint32_t value = 0;
  for (size_t i = 0; i < 4; i++) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// Version 4 drops this many bytes of the previous path: git's offset encoding of variable length.
size_t read_varint(std::string_view bytes, size_t& at) {
  if (at >= bytes.size()) corrupt();
  uint8_t byte = static_cast<uint8_t>(bytes[at++]);
  size_t value = byte & 127;
  while (byte & 128) {
    if (at >= bytes.size() || value > (size_t{1} << 40)) corrupt();
    byte = static_cast<uint8_t>(bytes[at++]);
    value = ((value + 1) << 7) | (byte & 127);
  }
  return value;
}

}  // namespace

std::unordered_set<std::string> parse_git_index(std::string_view bytes) {
  if (!bytes.starts_with("DIRC")) corrupt();
  uint32_t version = big_endian(bytes, 4), count = big_endian(bytes, 8);
  if (version < 2 || version > 4) fail(ErrorCode::kUnsupported, "git index: version {}", version);
  constexpr size_t kStatBytes = 40, kHashBytes = 20, kMostPathBytes = 4096;
  std::unordered_set<std::string> paths;
  std::string previous;
  size_t at = 12;
  for (uint32_t i = 0; i < count; i++) {
    size_t start = at;
    size_t flags_at = at + kStatBytes + kHashBytes;
    if (flags_at + 2 > bytes.size()) corrupt();
    uint16_t flags = static_cast<uint16_t>(static_cast<uint8_t>(bytes[flags_at]) << 8 |
                                           static_cast<uint8_t>(bytes[flags_at + 1]));
    uint32_t mode = big_endian(bytes, start + 24);
    at = flags_at + 2 + (version >= 3 && flags & 0x4000 ? 2 : 0);
    std::string path;
    if (version == 4) {
      size_t dropped = read_varint(bytes, at);
      if (dropped > previous.size()) corrupt();
      path = previous.substr(0, previous.size() - dropped);
    }
    size_t end = bytes.find('\0', std::min(at, bytes.size()));
    if (end == std::string_view::npos) corrupt();
    path += bytes.substr(at, end - at);
    // Version 4 shares what two paths have in common: a short file could name gigabytes.
    if (path.size() > kMostPathBytes) corrupt();
    at = version == 4 ? end + 1 : start + ((end - start + 8) & ~size_t{7});
    previous = path;
    constexpr uint32_t kRegular = 0100000, kKind = 0170000;
    if ((mode & kKind) == kRegular) paths.insert(std::move(path));
  }
  // Extensions: "link" means that the entries lie in another file.
  while (at + 8 + kHashBytes <= bytes.size()) {
    if (bytes.substr(at, 4) == "link") fail(ErrorCode::kUnsupported, "git index: split");
    at += 8 + static_cast<size_t>(big_endian(bytes, at + 4));
  }
  return paths;
}

namespace {

// The git directory of the work tree that holds `directory`, and the work tree itself.
bool find_work_tree(std::string directory, std::string& work_tree, std::string& git_directory) {
  struct stat st;
  for (;; directory = HostPath{directory}.parent()) {
    std::string dot_git = directory == "/" ? "/.git" : directory + "/.git";
    if (lstat(dot_git.c_str(), &st) == 0) {
      work_tree = directory;
      git_directory = dot_git;
      if (S_ISREG(st.st_mode)) {
        // "gitdir: PATH": a linked work tree or a submodule.
        std::string text(trim(read_file(dot_git, 8192)));
        if (!text.starts_with("gitdir: ")) return false;
        std::string target = text.substr(8);
        git_directory = target.starts_with('/') ? target : directory + "/" + target;
      }
      return true;
    }
    if (directory == "/") return false;
  }
}

}  // namespace

std::unordered_set<std::string> tracked_files(const std::string& directory) {
  std::unordered_set<std::string> found;
  char* real = realpath(directory.c_str(), nullptr);
  if (!real) return found;
  std::string absolute = real;
  free(real);
  try {
    std::string work_tree, git_directory;
    if (!find_work_tree(absolute, work_tree, git_directory)) return found;
    std::string index = git_directory + "/index";
    if (!path_exists(index)) return found;
    std::unordered_set<std::string> all = parse_git_index(read_file(index, size_t{1} << 30));
    if (absolute == work_tree) return all;
    std::string prefix = absolute.substr(work_tree == "/" ? 1 : work_tree.size() + 1) + "/";
    for (const std::string& path : all)
      if (path.starts_with(prefix)) found.insert(path.substr(prefix.size()));
  } catch (const Error&) {
    // An index of a form that we do not know: modes are then those of the files, as in a tree without git.
    found.clear();
  }
  return found;
}

}  // namespace corten::source
