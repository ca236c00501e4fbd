#include "store/contents.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "store/shelves.h"

namespace corten::store {

UniqueFd open_stored(const std::string& path) {
  try {
    return open_file(path, O_RDONLY);
  } catch (Error& error) {
    if (error.system_errno() == EACCES)
      error.set_hint(
          "the file belongs to another id: the store was filled with more privileges (see 'corten doctor'). "
          "Use it as it was filled, or make its contents anew ('corten build --no-cache', 'corten load'), or "
          "take another store (CORTEN_STORE=DIR)");
    if (error.system_errno() == ENOENT)
      error.set_hint("the store has lost it: run 'corten fsck --repair', then build again");
    throw;
  }
}

Contents::Contents(std::string directory, Lease& lease) : directory_(std::move(directory)), lease_(lease) {}

std::string Contents::path(const Digest& digest) const {
  std::string hex = digest.hex();
  return directory_ + "/" + hex.substr(0, 2) + "/" + hex;
}

bool Contents::has(const Digest& digest) const {
  lease_.hold(Held::kContent, digest);
  return exists(digest);
}

bool Contents::exists(const Digest& digest) const {
  return access(path(digest).c_str(), R_OK) == 0;
}

UniqueFd Contents::open(const Digest& digest) const {
  return open_stored(path(digest));
}

std::string Contents::read(const Digest& digest, size_t max_bytes) const {
  UniqueFd fd = open(digest);
  return read_all(fd.get(), digest.to_string(), max_bytes);
}

std::string Contents::temporary_name() {
  static std::atomic<uint64_t> counter = 0;
  return fmt::format("{}/content-{}", lease_.temporary(), counter++);
}

// Whoever comes second finds the name taken by the same bytes, and is content.
void Contents::place(const std::string& temporary, const Digest& digest) {
  std::string target = path(digest);
  if (rename(temporary.c_str(), target.c_str()) == 0) return;
  if (errno != ENOENT) fail_errno("store content {}", digest.to_string());
  make_directories_on_host(HostPath{target}.parent(), 0700);
  if (rename(temporary.c_str(), target.c_str()) != 0) fail_errno("store content {}", digest.to_string());
}

namespace {
// A file that is gone when something goes wrong before it has its name.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string name)
      : name_(std::move(name)), fd_(open_file(name_, O_RDWR | O_CREAT | O_EXCL, 0644)) {}
  ~TemporaryFile() {
    if (!name_.empty()) unlink(name_.c_str());
  }
  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }
  void close() { fd_.close_checked(name_); }
  void kept() { name_.clear(); }

 private:
  std::string name_;
  UniqueFd fd_;
};
}  // namespace

Digest Contents::add_bytes(std::string_view bytes) {
  Digest digest = Digest::of(bytes);
  if (has(digest)) return digest;
  TemporaryFile file(temporary_name());
  write_fully(file.fd(), bytes, file.name());
  file.close();
  place(file.name(), digest);
  file.kept();
  return digest;
}

Contents::Added Contents::add_stream(archive::ByteSource& from) {
  constexpr size_t kSmall = 64 << 10;
  std::string buffer(kSmall, '\0');
  size_t n = archive::read_fully(from, buffer.data(), buffer.size());
  if (n < kSmall) {
    buffer.resize(n);
    return {add_bytes(buffer), n};
  }
  TemporaryFile file(temporary_name());
  Sha256 hash;
  uint64_t size = 0;
  while (n > 0) {
    hash.update(buffer.data(), n);
    write_fully(file.fd(), {buffer.data(), n}, file.name());
    size += n;
    n = from.read(buffer.data(), buffer.size());
  }
  file.close();
  Digest digest = hash.finish();
  if (!has(digest)) {
    place(file.name(), digest);
    file.kept();
  }
  return {digest, size};
}

Contents::Added Contents::add_file(int fd, std::string_view what) {
  struct stat st;
  if (fstat(fd, &st) != 0) fail_errno("stat {}", what);
  archive::FdSource source(fd, std::string(what));
  if (st.st_size < (1 << 20)) return add_stream(source);
  // The copy is what is hashed: the original may change meanwhile.
  TemporaryFile file(temporary_name());
  copy_contents(fd, file.fd(), static_cast<uint64_t>(st.st_size), what);
  if (lseek(file.fd(), 0, SEEK_SET) < 0) fail_errno("seek {}", file.name());
  archive::FdSource copy(file.fd(), file.name());
  archive::HashingSource hashing(copy);
  archive::drain(hashing);
  Added added{hashing.digest(), hashing.size()};
  file.close();
  if (!has(added.digest)) {
    place(file.name(), added.digest);
    file.kept();
  }
  return added;
}

namespace {
// The way from contents/ab/abcd... to a file of the store.
std::string way_to(const std::string& directory, const std::string& file) {
  std::string store = HostPath{directory}.parent() + "/";
  if (!file.starts_with(store)) fail(ErrorCode::kInternal, "{} is outside the store {}", file, store);
  return "../../" + file.substr(store.size());
}
}  // namespace

void Contents::set_home(const Digest& digest, const std::string& file) {
  lease_.hold(Held::kContent, digest);
  std::string way = way_to(directory_, file);
  std::string name = temporary_name();
  if (symlink(way.c_str(), name.c_str()) == 0) {
    try {
      place(name, digest);
    } catch (...) {
      unlink(name.c_str());
      throw;
    }
    return;
  }
  // A path that is too long for a link: the bytes are copied.
  if (errno != ENAMETOOLONG) fail_errno("store content {}", digest.to_string());
  UniqueFd fd = open_file(file, O_RDONLY);
  if (add_file(fd.get(), file).digest != digest)
    fail(ErrorCode::kCorrupt, "{}: changed while it was stored", file);
}

void Contents::leave_home(const Digest& digest, const std::string& directory) {
  std::string name = path(digest), way(4096, '\0');
  ssize_t n = readlink(name.c_str(), way.data(), way.size());
  if (n <= 0) return;
  way.resize(static_cast<size_t>(n));
  std::string above = way_to(directory_, directory) + "/";
  if (!way.starts_with(above)) return;
  std::string file = directory + "/" + way.substr(above.size());
  // A second name first: the body stays whole until it has another name itself, so a kill leaves none with
  // holes.
  std::string second = temporary_name();
  if (link(file.c_str(), second.c_str()) != 0) fail_errno("store content {}", digest.to_string());
  try {
    place(second, digest);
  } catch (...) {
    unlink(second.c_str());
    throw;
  }
}

Contents::Homes Contents::homes() const {
  Homes homes;
  for_each_named(directory_, [&](const std::string& path, const std::string& name) {
    auto digest = Digest::try_parse("sha256:" + name);
    std::string way(4096, '\0');
    ssize_t n = readlink(path.c_str(), way.data(), way.size());
    if (!digest || n <= 0) return;
    // ../../dirs/ab/BODY/...
    std::vector<std::string> parts = split(way.substr(0, static_cast<size_t>(n)), '/');
    if (parts.size() > 5 && parts[2] == "dirs") homes[parts[4]].push_back(*digest);
  });
  return homes;
}

}  // namespace corten::store
