#include "store/contents.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <memory>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/eager_writeback.h"
#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "store/shelves.h"

namespace corten::store {

// Read whole before it is written.
static constexpr size_t kSmall = 64 << 10;

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
// Gives an open file a name. Only who has CAP_DAC_READ_SEARCH may name a descriptor; others go by /proc
// (open(2), O_TMPFILE).
bool give_name(int fd, const std::string& name) {
  if (linkat(fd, "", AT_FDCWD, name.c_str(), AT_EMPTY_PATH) == 0) return true;
  if (errno == EEXIST) return false;
  std::string link = fmt::format("/proc/self/fd/{}", fd);
  return linkat(AT_FDCWD, link.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
}
}  // namespace

// A content in the making. It has no name until it is whole, where the file system knows such files: one
// entry of a directory less to write and to take away again, which is a third of what a small file costs.
class Contents::NewFile {
 public:
  explicit NewFile(Contents& contents) : contents_(contents) {
    if (can_be_nameless_) {
      std::string directory = contents.lease_.temporary();
      fd_ = UniqueFd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644));
      if (fd_) return;
      // Who knows no such files says so in many ways; what is wrong with all files, open_named() says.
      if (errno != EMFILE && errno != ENFILE && errno != ENOSPC && errno != EDQUOT) can_be_nameless_ = false;
    }
    open_named();
  }
  ~NewFile() {
    if (!name_.empty()) unlink(name_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  int fd() const { return fd_.get(); }

  // The file is written: it becomes this content.
  void become(const Digest& digest) {
    if (name_.empty()) {
      std::string target = contents_.path(digest);
      if (give_name(fd(), target)) return;
      if (errno == ENOENT) {
        make_directories_on_host(HostPath{target}.parent(), 0700);
        if (give_name(fd(), target)) return;
      }
      if (errno == EEXIST && contents_.exists(digest)) return;
      take_name();
    }
    fd_.close_checked(name_);
    contents_.place(name_, digest);
    name_.clear();
  }

 private:
  void open_named() {
    name_ = contents_.temporary_name();
    fd_ = open_file(name_, O_RDWR | O_CREAT | O_EXCL, 0644);
  }
  // Something that is not it has its place (a link to a lost home), or it cannot be named at all.
  void take_name() {
    std::string name = contents_.temporary_name();
    if (give_name(fd(), name)) {
      name_ = std::move(name);
      return;
    }
    if (errno != ENOENT && errno != EPERM && errno != EACCES && errno != EXDEV && errno != EOPNOTSUPP)
      fail_errno("store a content as {}", name);
    can_be_nameless_ = false;
    UniqueFd nameless = std::move(fd_);
    struct stat st;
    if (fstat(nameless.get(), &st) != 0 || lseek(nameless.get(), 0, SEEK_SET) < 0)
      fail_errno("read a file of the store");
    open_named();
    copy_contents(nameless.get(), fd(), static_cast<uint64_t>(st.st_size), name_);
  }

  Contents& contents_;
  std::string name_;  // "": none
  UniqueFd fd_;
};

void Contents::write(std::string_view bytes, const Digest& digest) {
  NewFile file(*this);
  write_fully(file.fd(), bytes, "a file of the store");
  file.become(digest);
}

Digest Contents::add_bytes(std::string_view bytes) {
  Digest digest = Digest::of(bytes);
  if (!has(digest)) write(bytes, digest);
  return digest;
}

Contents::Added Contents::add_stream(archive::ByteSource& from) {
  auto buffer = std::make_unique_for_overwrite<char[]>(kSmall);
  size_t n = archive::read_fully(from, buffer.get(), kSmall);
  if (n < kSmall) return {add_bytes({buffer.get(), n}), n};
  NewFile file(*this);
  Sha256 hash;
  EagerWriteback writeback;
  uint64_t size = 0;
  while (n > 0) {
    hash.update(buffer.get(), n);
    write_fully(file.fd(), {buffer.get(), n}, "a file of the store");
    size += n;
    writeback.reached(file.fd(), size);
    n = from.read(buffer.get(), kSmall);
  }
  Digest digest = hash.finish();
  if (!has(digest)) file.become(digest);
  return {digest, size};
}

Contents::Added Contents::add_file(int fd, std::string_view what) {
  struct stat st;
  if (fstat(fd, &st) != 0) fail_errno("stat {}", what);
  archive::FdSource source(fd, std::string(what));
  if (st.st_size < (1 << 20)) return add_stream(source);
  // The copy is what is hashed: the original may change meanwhile.
  NewFile file(*this);
  copy_contents(fd, file.fd(), static_cast<uint64_t>(st.st_size), what);
  if (lseek(file.fd(), 0, SEEK_SET) < 0) fail_errno("seek a file of the store");
  archive::FdSource copy(file.fd(), "a file of the store");
  archive::HashingSource hashing(copy);
  archive::drain(hashing);
  Added added{hashing.digest(), hashing.size()};
  if (!has(added.digest)) file.become(added.digest);
  return added;
}

bool Contents::add_missing(int fd, const Digest& digest, std::string_view what) {
  auto buffer = std::make_unique_for_overwrite<char[]>(kSmall);
  archive::FdSource source(fd, std::string(what));
  size_t n = archive::read_fully(source, buffer.get(), kSmall);
  if (n == kSmall) {
    if (lseek(fd, 0, SEEK_SET) < 0) fail_errno("seek {}", what);
    return add_file(fd, what).digest == digest;
  }
  std::string_view bytes(buffer.get(), n);
  if (Digest::of(bytes) != digest) return false;
  write(bytes, digest);
  return true;
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
