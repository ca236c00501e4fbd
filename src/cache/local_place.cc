#include "cache/local_place.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "archive/source.h"
#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "oci/layout.h"
#include "oci/media_type.h"

namespace corten::cache {

namespace {

constexpr const char* kBlobs = "blobs/sha256";
constexpr const char* kIngest = "ingest";
constexpr const char* kWritersLock = "corten.lock";
constexpr const char* kIndexLock = "index.json.lock";  // of BuildKit's client/ociindex
constexpr int64_t kYoungNs = 3600 * int64_t{1'000'000'000};
constexpr int64_t kLongestWaitNs = 60 * int64_t{1'000'000'000};
constexpr int kMaxDepth = 4;              // of indexes in indexes
constexpr size_t kMaxManifests = 10'000;  // that are looked into for what they name

std::string index_name() {
  return std::string(oci::kLayoutIndexName);
}

// Ours has no full image name beside the tag; an image that somebody put here may have.
const oci::Descriptor* find_tag(const oci::Index& index, const std::string& tag) {
  const oci::Descriptor* found = nullptr;
  for (const oci::Descriptor& entry : index.manifests) {
    if (entry.annotation(oci::kRefNameAnnotation) != tag) continue;
    if (!found || entry.annotation(oci::kImageNameAnnotation).empty()) found = &entry;
  }
  return found;
}

}  // namespace

// A new file in ingest/, which is gone unless it gets its name.
struct LocalPlace::Temporary {
  int root = -1;
  std::string name;
  UniqueFd fd;
  Temporary(int root_fd, std::string at, UniqueFd file)
      : root(root_fd), name(std::move(at)), fd(std::move(file)) {}
  Temporary(Temporary&& other) noexcept
      : root(other.root), name(std::exchange(other.name, {})), fd(std::move(other.fd)) {}
  ~Temporary() {
    if (!name.empty()) unlinkat(root, name.c_str(), 0);
  }
  void become(const std::string& target) {
    fd.close_checked(target);
    if (renameat(root, name.c_str(), root, target.c_str()) != 0) fail_errno("rename to {}", target);
    name.clear();
  }
};

LocalPlace::LocalPlace(std::string directory, LocalOptions options)
    : directory_(std::move(directory)), options_(std::move(options)) {
  if (options_.is_written) make_directories_on_host(directory_);
  if (!options_.is_written && !path_exists(directory_)) return;
  root_ = open_file(directory_, O_RDONLY | O_DIRECTORY);
  if (!options_.is_written) return;
  is_fresh_ = options_.is_reset;
  if (!is_fresh_) read_index();  // what cannot be read is not replaced: better now than after the build
  make_directories(root_.get(), kBlobs);
  make_directories(root_.get(), kIngest);
  writers_lock_ = lock(kWritersLock, LOCK_SH);
}

std::string LocalPlace::name() const {
  if (options_.digest) return "local " + directory_ + "@" + options_.digest->to_string();
  return "local " + directory_ + (options_.tag == "latest" ? "" : ":" + options_.tag);
}

void LocalPlace::need_writing() const {
  if (!options_.is_written) fail(ErrorCode::kInternal, "{} was opened for reading", name());
}

// The file may be removed when it is released, as BuildKit does: then the lock was on nothing, and is taken
// again.
UniqueFd LocalPlace::lock(const std::string& file, int how) const {
  const int64_t until = monotonic_ns() + kLongestWaitNs;
  while (true) {
    auto fd = open_no_links(root_.get(), file, O_RDWR | O_CREAT | O_NONBLOCK, 0666);
    struct stat ours, there;
    if (!fd || fstat(fd->get(), &ours) != 0 || !S_ISREG(ours.st_mode))
      fail(ErrorCode::kInvalid, "{}: {} is not a regular file", name(), file);
    while (flock(fd->get(), how | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) fail_errno("lock {} of {}", file, name());
      options_.cancellation.check();
      if (monotonic_ns() > until)
        fail(ErrorCode::kIo, "{}: {} is held by somebody else for a minute", name(), file);
      usleep(5'000);
    }
    if (fstatat(root_.get(), file.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_ino == ours.st_ino &&
        there.st_dev == ours.st_dev)
      return std::move(*fd);
  }
}

std::optional<UniqueFd> LocalPlace::open_regular(const std::string& file) const {
  if (!root_) return std::nullopt;
  auto fd = open_no_links(root_.get(), file, O_RDONLY | O_NONBLOCK);
  if (!fd) return std::nullopt;
  struct stat st;
  if (fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode))
    fail(ErrorCode::kInvalid, "{}: {} is not a regular file", name(), file);
  return fd;
}

UniqueFd LocalPlace::open_blob(const oci::Descriptor& blob) const {
  auto fd = open_regular(oci::blob_path(blob.digest));
  if (!fd) fail(ErrorCode::kNotFound, "{}: no blob {}", name(), blob.digest.to_string());
  return std::move(*fd);
}

std::optional<oci::Index> LocalPlace::read_index() const {
  auto fd = open_regular(index_name());
  if (!fd) return std::nullopt;
  try {
    if (auto layout = open_regular(std::string(oci::kLayoutFileName)))
      oci::check_layout_file(read_all(layout->get(), name(), 4096));
    return oci::parse_index(read_all(fd->get(), name(), oci::kMaxManifestBytes));
  } catch (Error& error) {
    error.add_context(name() + ": index.json");
    error.set_hint("what lies there is no cache that Corten can read: name another directory");
    throw;
  }
}

std::optional<std::string> LocalPlace::read_manifest(const Digest& digest) const {
  auto fd = open_regular(oci::blob_path(digest));
  if (!fd) return std::nullopt;
  std::string bytes = read_all(fd->get(), name(), oci::kMaxManifestBytes);
  if (Digest::of(bytes) != digest)
    fail(ErrorCode::kCorrupt, "{}: the manifest {} has other bytes", name(), digest.to_string());
  return bytes;
}

std::optional<std::string> LocalPlace::manifest() {
  {
    std::lock_guard guard(mutex_);
    if (is_fresh_) return std::nullopt;
  }
  if (options_.digest) return read_manifest(*options_.digest);
  // Somebody may put another manifest, and drop this one, between the two looks.
  for (int attempt = 0; attempt < 5; attempt++) {
    const auto index = read_index();
    const oci::Descriptor* entry = index ? find_tag(*index, options_.tag) : nullptr;
    if (!entry) return std::nullopt;
    if (auto bytes = read_manifest(entry->digest)) return bytes;
  }
  fail(ErrorCode::kNotFound, "{}: the manifest of {} is missing", name(), options_.tag);
}

LocalPlace::Temporary LocalPlace::begin_file() const {
  uint64_t random = 0;
  if (getentropy(&random, sizeof random) != 0) fail_errno("random bytes");
  std::string path = fmt::format("{}/corten-{}-{:016x}", kIngest, getpid(), random);
  auto fd = open_no_links(root_.get(), path, O_WRONLY | O_CREAT | O_EXCL, 0644);
  if (!fd) {  // whoever empties the directory under us
    make_directories(root_.get(), kBlobs);
    make_directories(root_.get(), kIngest);
    fd = open_no_links(root_.get(), path, O_WRONLY | O_CREAT | O_EXCL, 0644);
  }
  if (!fd) fail(ErrorCode::kInvalid, "{}: ingest is not a directory", name());
  return {root_.get(), std::move(path), std::move(*fd)};
}

void LocalPlace::write_root_file(const std::string& file, std::string_view bytes) const {
  Temporary fresh = begin_file();
  write_fully(fresh.fd.get(), bytes, file);
  if (fsync(fresh.fd.get()) != 0) fail_errno("sync {} of {}", file, name());
  fresh.become(file);
}

// All of them now: their bytes are on the way to the disk since they were written, so the first sync that
// waits for the journal waits for all.
void LocalPlace::sync_blobs() {
  std::vector<Digest> put;
  {
    std::lock_guard guard(mutex_);
    put.swap(unsynced_);
  }
  for (const Digest& digest : put)
    if (auto fd = open_regular(oci::blob_path(digest)); fd && fdatasync(fd->get()) != 0)
      fail_errno("sync blob {} of {}", digest.to_string(), name());
  if (auto fd = open_no_links(root_.get(), kBlobs, O_RDONLY | O_DIRECTORY); fd && fsync(fd->get()) != 0)
    fail_errno("sync {} of {}", kBlobs, name());
}

void LocalPlace::put_manifest(std::string_view bytes) {
  need_writing();
  oci::Descriptor entry = oci::describe(oci::detect_manifest_type(bytes), bytes);
  put_blob({entry, [bytes](uint64_t offset) {
              return std::make_unique<archive::StringSource>(bytes.substr(offset));
            }});
  sync_blobs();
  entry.annotations[std::string(oci::kRefNameAnnotation)] = options_.tag;
  entry.annotations[std::string(oci::kCreatedAnnotation)] = format_rfc3339(SystemClock().now_s());

  std::lock_guard guard(mutex_);
  UniqueFd held = lock(kIndexLock, LOCK_EX);
  oci::Index index;
  if (!is_fresh_) index = read_index().value_or(oci::Index{});
  // One with a full name of its own is an image that somebody put here; the tag is ours all the same.
  std::erase_if(index.manifests, [&](const oci::Descriptor& other) {
    return other.annotation(oci::kRefNameAnnotation) == options_.tag &&
           other.annotation(oci::kImageNameAnnotation).empty();
  });
  index.manifests.push_back(std::move(entry));
  if (is_fresh_ || !open_regular(std::string(oci::kLayoutFileName)))
    write_root_file(std::string(oci::kLayoutFileName), oci::emit_layout_file());
  write_root_file(index_name(), oci::emit_index(index));
  if (fsync(root_.get()) != 0) fail_errno("sync {}", name());
  is_fresh_ = false;
}

bool LocalPlace::has_blob(const oci::Descriptor& blob) {
  auto fd = open_regular(oci::blob_path(blob.digest));
  struct stat st;
  if (!fd || fstat(fd->get(), &st) != 0 || static_cast<uint64_t>(st.st_size) != blob.size) return false;
  if (options_.is_written) futimens(fd->get(), nullptr);  // young again; may be refused, which is no harm
  return true;
}

std::string LocalPlace::read_blob(const oci::Descriptor& blob, size_t max_bytes) {
  UniqueFd fd = open_blob(blob);
  archive::FdSource from(fd.get(), name());
  archive::VerifyingSource verified(from, blob.digest, blob.size,
                                    name() + ": blob " + blob.digest.to_string());
  return archive::read_rest(verified, max_bytes);
}

std::string LocalPlace::read_part(const oci::Descriptor& blob, uint64_t offset, size_t size) {
  UniqueFd fd = open_blob(blob);
  if (lseek(fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) fail_errno("seek {}", name());
  archive::FdSource from(fd.get(), name());
  archive::BoundedSource part(from, size);
  return archive::read_rest(part, size);
}

void LocalPlace::fetch_blob(const oci::Descriptor& blob, int fd) {
  UniqueFd file = open_blob(blob);
  archive::FdSource from(file.get(), name());
  archive::VerifyingSource verified(from, blob.digest, blob.size,
                                    name() + ": blob " + blob.digest.to_string());
  archive::FdSink to(fd, "blob " + blob.digest.to_string());
  archive::copy_all(verified, to);
}

void LocalPlace::put_blob(const NewBlob& blob) {
  need_writing();
  if (has_blob(blob.descriptor)) return;
  Temporary fresh = begin_file();
  auto from = blob.open(0);
  archive::VerifyingSource verified(*from, blob.descriptor.digest, blob.descriptor.size,
                                    "blob " + blob.descriptor.digest.to_string());
  archive::FdSink to(fresh.fd.get(), name());
  archive::copy_all(verified, to);
  sync_file_range(fresh.fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE);  // begins, and waits for nothing
  fresh.become(oci::blob_path(blob.descriptor.digest));
  std::lock_guard guard(mutex_);
  unsynced_.push_back(blob.descriptor.digest);
}

// Everything that an entry of index.json leads to. One that cannot be read ends it with an error, since what
// it names cannot be told from what nobody names; one that is missing names nothing any more.
std::vector<Digest> LocalPlace::reached() const {
  std::set<Digest> seen;
  size_t manifests = 0;
  std::function<void(const oci::Descriptor&, int)> visit = [&](const oci::Descriptor& entry, int depth) {
    if (!seen.insert(entry.digest).second) return;
    const bool is_index = oci::is_index_type(entry.media_type);
    if (!is_index && !oci::is_manifest_type(entry.media_type)) return;
    if (depth > kMaxDepth || ++manifests > kMaxManifests)
      fail(ErrorCode::kInvalid, "{}: too many manifests, or too deep", name());
    options_.cancellation.check();
    const auto bytes = read_manifest(entry.digest);
    if (!bytes) return;
    if (is_index) {
      for (const oci::Descriptor& member : oci::parse_index(*bytes, entry.media_type).manifests)
        visit(member, depth + 1);
      return;
    }
    const oci::Manifest manifest = oci::parse_manifest(*bytes, entry.media_type);
    seen.insert(manifest.config.digest);
    for (const oci::Descriptor& layer : manifest.layers) seen.insert(layer.digest);
  };
  if (const auto index = read_index())
    for (const oci::Descriptor& entry : index->manifests) visit(entry, 0);
  return {seen.begin(), seen.end()};
}

uint64_t LocalPlace::drop_files(const std::string& directory,
                                const std::function<bool(const std::string& name)>& may_go) const {
  auto fd = open_no_links(root_.get(), directory, O_RDONLY | O_DIRECTORY);
  if (!fd) return 0;
  std::vector<std::string> names;
  DIR* stream = fdopendir(fd->duplicate().release());
  if (!stream) fail_errno("read {} of {}", directory, name());
  while (dirent* item = readdir(stream)) names.emplace_back(item->d_name);
  closedir(stream);
  const int64_t young_from = SystemClock().now_ns() - kYoungNs;
  uint64_t bytes = 0;
  for (const std::string& file : names) {
    options_.cancellation.check();
    struct stat st;
    if (!may_go(file) || fstatat(fd->get(), file.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode) || clamped_ns(st.st_mtim.tv_sec, st.st_mtim.tv_nsec) > young_from)
      continue;
    if (unlinkat(fd->get(), file.c_str(), 0) == 0) bytes += static_cast<uint64_t>(st.st_size);
  }
  return bytes;
}

uint64_t LocalPlace::drop_unreachable() {
  need_writing();
  std::lock_guard guard(mutex_);
  if (flock(writers_lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    // A failed conversion may have given up the shared lock (flock(2)). Nothing that we put is lost meanwhile
    // unless it has not been named for an hour.
    while (flock(writers_lock_.get(), LOCK_SH) != 0)
      if (errno != EINTR) fail_errno("lock {}", name());
    return 0;
  }
  struct Shared {
    int fd;
    ~Shared() { flock(fd, LOCK_SH); }
  } again{writers_lock_.get()};
  UniqueFd held = lock(kIndexLock, LOCK_EX);
  const std::vector<Digest> kept = reached();
  uint64_t bytes = drop_files(kBlobs, [&](const std::string& file) {
    const auto digest = Digest::try_parse("sha256:" + file);
    return digest && !std::binary_search(kept.begin(), kept.end(), *digest);
  });
  return bytes + drop_files(kIngest, [](const std::string& file) { return file.starts_with("corten-"); });
}

}  // namespace corten::cache
