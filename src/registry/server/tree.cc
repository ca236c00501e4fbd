#include "registry/server/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::registry::serving {

namespace {

constexpr std::string_view kFormat = "corten registry 1\n";

std::string_view filename(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Tree::Tree(const std::string& path) : path_(path) {
  make_directories_on_host(path_, 0700);  // blobs are for whom the server lets
  root_ = open_file(path_, O_RDONLY | O_DIRECTORY);
  if (!exists("format")) {
    for (const std::string& name : names(""))
      if (name.starts_with("format.tmp-"))  // of a server that was killed at its first start
        unlinkat(root_.get(), name.c_str(), 0);
      else if (name != "lock" && name != "lost+found")
        throw Error(ErrorCode::kInvalid,
                    fmt::format("{}: holds {} and no registry of Corten", path_, quote(name)))
            .with_hint("name an empty directory with --root");
  }
  if (!FileLock::try_exclusive(path_ + "/lock", lock_))
    throw Error(ErrorCode::kPermission, fmt::format("{}: another server has this registry open", path_));
  if (!exists("format")) {
    write_file_atomic(path_ + "/format", kFormat);
  } else if (read("format", 100).value_or("") != kFormat) {
    fail(ErrorCode::kUnsupported, "{}: a registry of another version", path_);
  }
  for (const char* name : {"blobs", "repositories", "temporary", "journal"})
    make_directories(root_.get(), name);
  temporary_ = open_at(root_.get(), "temporary", O_RDONLY | O_DIRECTORY);
  // What a server that was killed left there.
  for (const std::string& name : names("temporary")) remove_tree_at(temporary_.get(), name);
}

std::string Tree::content_path(const ContentDigest& digest) {
  return fmt::format("blobs/{}/{}/{}", algorithm_name(digest.algorithm()), digest.hex().substr(0, 2),
                     digest.hex());
}
std::string Tree::repository_path(std::string_view repository, std::string_view rest) {
  return fmt::format("repositories/{}{}{}", repository, rest.empty() ? "" : "/", rest);
}
std::string Tree::link_path(std::string_view repository, const ContentDigest& digest) {
  return fmt::format("repositories/{}/_blobs/{}/{}", repository, algorithm_name(digest.algorithm()),
                     digest.hex());
}
std::string Tree::manifest_path(std::string_view repository, const ContentDigest& digest) {
  return fmt::format("repositories/{}/_manifests/{}/{}", repository, algorithm_name(digest.algorithm()),
                     digest.hex());
}
std::string Tree::tag_path(std::string_view repository, std::string_view tag) {
  return fmt::format("repositories/{}/_tags/{}", repository, tag);
}
std::string Tree::referrers_path(std::string_view repository, const ContentDigest& subject) {
  return fmt::format("repositories/{}/_referrers/{}-{}", repository, algorithm_name(subject.algorithm()),
                     subject.hex());
}
std::string Tree::referrer_path(std::string_view repository, const ContentDigest& subject,
                                const ContentDigest& referrer) {
  return fmt::format("{}/{}-{}", referrers_path(repository, subject), algorithm_name(referrer.algorithm()),
                     referrer.hex());
}
std::string Tree::origin_path(std::string_view repository, std::string_view tag) {
  return fmt::format("repositories/{}/_origins/{}", repository, tag);
}
std::string Tree::upload_path(std::string_view repository, std::string_view id) {
  return fmt::format("repositories/{}/_uploads/{}", repository, id);
}

bool Tree::exists(const std::string& path) const {
  return open_no_links(root_.get(), path, O_PATH).has_value();
}

bool Tree::has_repository(std::string_view repository) const {
  for (std::string_view part : {"_manifests", "_blobs", "_tags", "_uploads"})
    if (exists(repository_path(repository, part))) return true;
  return false;
}

std::optional<OpenedFile> Tree::open(const std::string& path) const {
  std::optional<UniqueFd> fd = open_no_links(root_.get(), path, O_RDONLY | O_NONBLOCK);
  if (!fd) return std::nullopt;
  struct stat status {};
  if (fstat(fd->get(), &status) != 0) fail_errno("fstat {}", path);
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  return OpenedFile{std::move(*fd), static_cast<uint64_t>(status.st_size), status.st_mtim.tv_sec};
}

std::optional<std::string> Tree::read(const std::string& path, size_t max_bytes) const {
  std::optional<OpenedFile> file = open(path);
  if (!file) return std::nullopt;
  if (file->size > max_bytes) fail(ErrorCode::kCorrupt, "{}/{}: {} bytes", path_, path, file->size);
  std::string bytes(file->size, '\0');
  bytes.resize(read_fully(file->fd.get(), bytes.data(), bytes.size(), path));
  return bytes;
}

std::vector<std::string> Tree::names(const std::string& path) const {
  std::optional<UniqueFd> fd = open_no_links(root_.get(), path, O_RDONLY | O_DIRECTORY);
  std::vector<std::string> found;
  if (!fd) return found;
  DIR* directory = fdopendir(fd->get());
  if (directory == nullptr) fail_errno("open {}/{}", path_, path);
  fd->release();
  while (const dirent* entry = readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") found.emplace_back(name);
  }
  closedir(directory);
  std::sort(found.begin(), found.end());
  return found;
}

bool Tree::use(const std::string& path) const {
  std::shared_lock lock(presence_);
  std::optional<OpenedFile> file = open(path);
  if (!file) return false;
  if (file->modified_s <= ::time(nullptr) - mark_after_s_ && futimens(file->fd.get(), nullptr) != 0)
    fail_errno("mark {}/{}", path_, path);
  return true;
}

bool Tree::remove_if_unused(const std::string& path, int64_t before_s) const {
  std::unique_lock lock(presence_);
  std::optional<OpenedFile> file = open(path);
  if (!file || file->modified_s >= before_s) return false;
  remove(path);
  return true;
}

UniqueFd Tree::parent(const std::string& path, bool make) const {
  const std::string directory = path.substr(0, path.rfind('/'));
  if (auto found = open_no_links(root_.get(), directory, O_PATH | O_DIRECTORY)) return std::move(*found);
  return make ? make_directories(root_.get(), directory) : UniqueFd();
}

void Tree::put(const std::string& path, std::string_view bytes) const {
  static std::atomic<uint64_t> counter = 0;
  const std::string name = fmt::format("{}", counter++);
  UniqueFd file = open_at(temporary_.get(), name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  try {
    write_fully(file.get(), bytes, path);
    file.close_checked(path);
    const UniqueFd directory = parent(path, true);
    const std::string last(filename(path));
    if (renameat(temporary_.get(), name.c_str(), directory.get(), last.c_str()) != 0)
      fail_errno("rename to {}/{}", path_, path);
  } catch (...) {
    unlinkat(temporary_.get(), name.c_str(), 0);
    throw;
  }
}

void Tree::remove(const std::string& path) const {
  const UniqueFd directory = parent(path, false);
  const std::string last(filename(path));
  if (directory && unlinkat(directory.get(), last.c_str(), 0) != 0 && errno != ENOENT)
    fail_errno("remove {}/{}", path_, path);
}

bool Tree::move(const std::string& from, const std::string& to) const {
  const UniqueFd source = parent(from, false);
  if (!source) return false;
  const UniqueFd target = parent(to, true);
  const std::string name(filename(from)), last(filename(to));
  if (renameat(source.get(), name.c_str(), target.get(), last.c_str()) == 0) return true;
  if (errno == ENOENT) return false;
  fail_errno("rename {} to {}/{}", from, path_, to);
}

void Tree::adopt(const std::string& host_path, const std::string& to) const {
  const UniqueFd target = parent(to, true);
  const std::string last(filename(to));
  if (renameat(AT_FDCWD, host_path.c_str(), target.get(), last.c_str()) != 0)
    fail_errno("rename {} to {}/{}", host_path, path_, to);
}

}  // namespace corten::registry::serving
