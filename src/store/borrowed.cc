#include "store/borrowed.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <vector>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "store/shelves.h"

namespace corten::store {

namespace {

constexpr std::string_view kMagic = "corten-borrowed-1", kRecordPrefix = "borrowed-";
constexpr size_t kMostSecretBytes = 1 << 20;

struct Record {
  std::string home;  // below the store
  ino_t inode;
};

// tmp/ID to the store.
std::string root_of(const std::string& temporary) {
  return temporary.substr(0, temporary.rfind('/', temporary.rfind('/') - 1));
}

std::optional<Record> read_record(const std::string& path) {
  const std::vector<std::string> lines = split(read_file(path, 64 << 10), '\n');
  if (lines.size() < 3 || lines[0] != kMagic) return std::nullopt;
  const auto inode = parse_int(lines[2]);
  // Written by us; a damaged one must not lead out of the store.
  if (!inode || lines[1].empty() || !RootfsPath::is_clean(lines[1])) return std::nullopt;
  return Record{.home = lines[1], .inode = static_cast<ino_t>(*inode)};
}

// The directory with that inode; nobody changes the tree meanwhile. What cannot be read (or has too long a
// name) is passed over. "" when there is none.
std::string find_directory(const std::string& top, const Record& wanted) {
  std::vector<std::string> left = {top};
  struct stat here;
  if (stat(top.c_str(), &here) != 0) return {};
  while (!left.empty()) {
    const std::string directory = std::move(left.back());
    left.pop_back();
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
    if (!stream) continue;
    while (const dirent* item = readdir(stream.get())) {
      const std::string_view name = item->d_name;
      if (name == "." || name == ".." || (item->d_type != DT_DIR && item->d_type != DT_UNKNOWN)) continue;
      struct stat st;
      if (fstatat(dirfd(stream.get()), item->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
        continue;
      std::string path = fmt::format("{}/{}", directory, name);
      if (st.st_ino == wanted.inode && st.st_dev == here.st_dev) return path;
      left.push_back(std::move(path));
    }
  }
  return {};
}

// True when the record is of no use any more.
bool bring_home(const std::string& temporary, const Record& record) {
  const std::string home = root_of(temporary) + "/" + record.home;
  if (path_exists(home)) return true;
  const std::string found = find_directory(temporary, record);
  return found.empty() || rename(found.c_str(), home.c_str()) == 0;
}

}  // namespace

Borrowed::Borrowed(const std::string& temporary, const std::string& home) : temporary_(temporary) {
  const std::string root = root_of(temporary) + "/";
  struct stat st;
  if (stat(home.c_str(), &st) != 0) fail_errno("stat {}", home);
  if (!home.starts_with(root) || home.find('\n') != home.npos)
    fail(ErrorCode::kInternal, "{}: is not the store's to lend", home);
  record_ = fmt::format("{}/{}{}", temporary, kRecordPrefix, st.st_ino);
  write_file_atomic(record_, fmt::format("{}\n{}\n{}\n", kMagic, home.substr(root.size()), st.st_ino), 0600);
}

Borrowed::~Borrowed() {
  try {
    take_back();
  } catch (const Error&) {
    return;  // whoever sweeps tries again
  }
}

void Borrowed::take_back() {
  if (record_.empty()) return;
  const auto record = read_record(record_);
  if (record && !bring_home(temporary_, *record)) fail_errno("move {} back", record->home);
  unlink(record_.c_str());
  record_.clear();
}

void overwrite(const std::string& path, size_t most_bytes) {
  const UniqueFd file = open_file(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat st;
  if (fstat(file.get(), &st) != 0) fail_errno("stat {}", path);
  if (!S_ISREG(st.st_mode)) return;
  write_fully(file.get(), std::string(std::min(most_bytes, static_cast<size_t>(st.st_size)), '\0'), path);
  if (fdatasync(file.get()) != 0) fail_errno("sync {}", path);
}

bool rescue(const std::string& temporary) {
  bool is_done = true;
  if (!path_exists(temporary)) return true;
  for (const std::string& name : names_in(temporary)) {
    const std::string path = temporary + "/" + name;
    try {
      if (name.starts_with(kRecordPrefix)) {
        const auto record = read_record(path);
        if (record && !bring_home(temporary, *record)) is_done = false;
      } else if (name.starts_with(kSecretsPrefix)) {
        for (const std::string& secret : names_in(path)) overwrite(path + "/" + secret, kMostSecretBytes);
      }
    } catch (const Error&) {
      // The rest is done all the same. What was still being written says nothing; with anything else the
      // directory is kept.
      if (name.find(".tmp-") == name.npos) is_done = false;
    }
  }
  return is_done;
}

}  // namespace corten::store
