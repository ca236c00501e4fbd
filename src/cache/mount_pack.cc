#include "cache/mount_pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <future>
#include <map>
#include <optional>

#include <fmt/core.h>

#include "archive/compression.h"
#include "archive/source.h"
#include "archive/zstd_writer.h"
#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cache/chunker.h"

namespace corten::cache {

namespace {

constexpr const char* kData = "data";
constexpr const char* kSeen = "seen";
constexpr size_t kMaxPathBytes = 4095;
constexpr int kMaxDepth = 200;  // of directories: each has a descriptor

int64_t to_ns(const timespec& time) {
  return clamped_ns(time.tv_sec, time.tv_nsec);
}

bool is_same(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && to_ns(a.st_mtim) == to_ns(b.st_mtim) &&
         to_ns(a.st_ctim) == to_ns(b.st_ctim);
}

// Cuts, compresses and puts what is new.
class ChunkWriter {
 public:
  ChunkWriter(const PackOptions& options, PackedMount& packed, std::vector<MountChunk>& chunks)
      : options_(options), packed_(packed), chunks_(chunks) {}

  void write(std::string_view bytes) { chunker_.write(bytes); }
  void cut() { chunker_.cut(); }

 private:
  void take(std::string_view plain) {
    options_.cancellation.check();
    MountChunk chunk{.content = Digest::of(plain), .size = static_cast<uint32_t>(plain.size())};
    if (auto put = put_.find(chunk.content); put != put_.end()) {
      chunk.blob = put->second;
    } else if (auto known = options_.known.find(chunk.content); known != options_.known.end()) {
      chunk.blob = known->second;
    } else {
      archive::StringSink sink;
      archive::ZstdWriter writer(sink, options_.level);
      writer.write(plain);
      writer.finish();
      chunk.blob = oci::describe(kChunkMediaType, sink.bytes());
      put_.emplace(chunk.content, chunk.blob);
      packed_.put_bytes += chunk.blob.size;
      options_.put(chunk.blob, sink.take());
    }
    packed_.bytes += plain.size();
    if (packed_.bytes > kMaxMountBytes)
      fail(ErrorCode::kUnsupported, "cache mount: more than {} bytes do not travel", kMaxMountBytes);
    chunks_.push_back(std::move(chunk));
  }

  const PackOptions& options_;
  PackedMount& packed_;
  std::vector<MountChunk>& chunks_;
  KnownChunks put_;
  Chunker chunker_{[this](std::string_view plain) { take(plain); }};
};

class Packer {
 public:
  Packer(const std::string& directory, const PackOptions& options)
      : directory_(directory), options_(options), root_(open_file(directory, O_RDONLY | O_DIRECTORY)) {
    auto data = open_no_links(root_.get(), kData, O_RDONLY | O_DIRECTORY);
    if (!data) fail(ErrorCode::kNotFound, "cache mount {}: it has no {}", directory_, kData);
    data_ = std::move(*data);
  }

  PackedMount pack() {
    struct stat st;
    if (fstat(data_.get(), &st) != 0) fail_errno("stat {}/{}", directory_, kData);
    add(entry_of(MountEntry::Type::kDirectory, "", data_.get(), st));
    visit(data_, "", 0);
    // Its own chunks: it is another one after every build.
    chunks_.cut();
    pack_seen();
    chunks_.cut();
    packed_.recipe = emit_recipe(recipe_);
    if (packed_.recipe.size() > kMaxRecipeBytes)
      fail(ErrorCode::kUnsupported, "cache mount {}: its list of files is too long to travel", directory_);
    packed_.chunks = chunk_blobs(recipe_);
    return std::move(packed_);
  }

 private:
  void add(MountEntry entry) {
    if (recipe_.entries.size() >= kMaxMountEntries)
      fail(ErrorCode::kUnsupported, "cache mount {}: more than {} entries do not travel", directory_,
           kMaxMountEntries);
    recipe_.entries.push_back(std::move(entry));
  }

  MountEntry entry_of(MountEntry::Type type, std::string path, int fd, const struct stat& st) const {
    MountEntry e{.type = type, .path = std::move(path)};
    e.mode = st.st_mode & 07777;
    e.uid = st.st_uid;
    e.gid = st.st_gid;
    if (options_.owners.recorded) {
      RecordedOwner owner;
      if (fd >= 0) owner = read_recorded_owner(fmt::format("/proc/self/fd/{}", fd).c_str()).value_or(owner);
      e.uid = owner.uid;
      e.gid = owner.gid;
    }
    e.mtime_ns = to_ns(st.st_mtim);
    return e;
  }

  bool is_record_of_device(int fd) const {
    if (!options_.owners.recorded) return false;
    auto owner = read_recorded_owner(fmt::format("/proc/self/fd/{}", fd).c_str());
    return owner && owner->device_type != 0;
  }

  static std::vector<std::string> names_in(const UniqueFd& directory) {
    std::vector<std::string> names;
    DIR* stream = fdopendir(directory.duplicate().release());
    if (!stream) fail_errno("read a directory of a cache mount");
    while (dirent* item = readdir(stream))
      if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) names.emplace_back(item->d_name);
    closedir(stream);
    std::sort(names.begin(), names.end());
    return names;
  }

  // A directory stands right before what is in it: the order of RootfsPath, when names are sorted. Each level
  // keeps a descriptor, so no link that appears meanwhile is followed.
  void visit(const UniqueFd& directory, const std::string& path, int depth) {
    for (const std::string& name : names_in(directory)) {
      options_.cancellation.check();
      const std::string child = path.empty() ? name : path + "/" + name;
      struct stat st;
      bool is_taken = child.size() <= kMaxPathBytes &&
                      fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
      if (is_taken) {
        if (S_ISDIR(st.st_mode))
          is_taken = depth < kMaxDepth && add_directory(directory, name, child, depth);
        else if (S_ISREG(st.st_mode))
          is_taken = add_file(directory, name, child);
        else
          is_taken = S_ISLNK(st.st_mode) && add_link(directory, name, child, st);
      }
      if (!is_taken) packed_.left_out++;
    }
  }

  // Nothing for what is gone by now, is something else, or may not be read.
  static UniqueFd open_or_nothing(const UniqueFd& directory, const std::string& name, int flags) {
    UniqueFd fd(
        openat(directory.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags));
    if (!fd && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO))
      fail_errno("read {} of a cache mount", name);
    return fd;
  }

  bool add_directory(const UniqueFd& parent, const std::string& name, const std::string& path, int depth) {
    UniqueFd fd = open_or_nothing(parent, name, O_DIRECTORY);
    struct stat st;
    if (!fd || fstat(fd.get(), &st) != 0) return false;
    add(entry_of(MountEntry::Type::kDirectory, path, fd.get(), st));
    visit(fd, path, depth + 1);
    return true;
  }

  bool add_link(const UniqueFd& directory, const std::string& name, const std::string& path,
                const struct stat& st) {
    char target[4096];
    const ssize_t size = readlinkat(directory.get(), name.c_str(), target, sizeof target);
    if (size <= 0 || size == sizeof target) return false;
    MountEntry e = entry_of(MountEntry::Type::kSymlink, path, -1, st);
    e.mode = 0;
    e.link.assign(target, static_cast<size_t>(size));
    add(std::move(e));
    return true;
  }

  bool add_file(const UniqueFd& directory, const std::string& name, const std::string& path) {
    UniqueFd fd = open_or_nothing(directory, name, 0);
    struct stat st;
    if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || is_record_of_device(fd.get()))
      return false;
    if (st.st_nlink > 1)
      if (auto first = linked_.find({st.st_dev, st.st_ino}); first != linked_.end()) {
        add({.type = MountEntry::Type::kHardLink, .path = path, .link = first->second});
        return true;
      }
    MountEntry e = entry_of(MountEntry::Type::kFile, path, fd.get(), st);
    if (!add_contents(std::move(e), fd, st)) return false;
    if (st.st_nlink > 1) linked_.emplace(std::pair(st.st_dev, st.st_ino), path);
    return true;
  }

  void pack_seen() {
    UniqueFd fd = open_or_nothing(root_, kSeen, 0);
    struct stat st;
    if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return;
    if (!add_contents({.type = MountEntry::Type::kSeen}, fd, st)) packed_.left_out++;
  }

  // Its bytes go into the stream as they are read. When it changed meanwhile, they belong to nothing.
  bool add_contents(MountEntry e, const UniqueFd& fd, const struct stat& before) {
    uint64_t size = 0;
    while (size < static_cast<uint64_t>(before.st_size)) {
      const ssize_t n = read(fd.get(), buffer_.data(),
                             std::min<size_t>(buffer_.size(), static_cast<uint64_t>(before.st_size) - size));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      chunks_.write({buffer_.data(), static_cast<size_t>(n)});
      size += static_cast<uint64_t>(n);
    }
    struct stat after;
    const bool is_whole = size == static_cast<uint64_t>(before.st_size) && fstat(fd.get(), &after) == 0 &&
                          is_same(before, after);
    e.size = size;
    if (is_whole)
      add(std::move(e));
    else if (size > 0)
      add({.type = MountEntry::Type::kGap, .size = size});
    return is_whole;
  }

  const std::string& directory_;
  const PackOptions& options_;
  UniqueFd root_, data_;
  PackedMount packed_;
  MountRecipe recipe_;
  ChunkWriter chunks_{options_, packed_, recipe_.chunks};
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;  // files with several names, by the first
  std::string buffer_ = std::string(256 << 10, '\0');
};

timespec to_timespec(int64_t ns) {
  int64_t seconds = ns / 1'000'000'000, rest = ns % 1'000'000'000;
  if (rest < 0) seconds--, rest += 1'000'000'000;
  return {seconds, rest};
}

// The stream again: chunks are fetched some ahead, and verified twice, as blobs and as what they hold.
class ChunkReader {
 public:
  ChunkReader(const MountRecipe& recipe, const UnpackOptions& options)
      : recipe_(recipe), options_(options), pool_(std::max(1U, options.threads)) {}

  // 1 to `most` bytes.
  std::string_view next(uint64_t most) {
    while (rest_.empty()) {
      options_.cancellation.check();
      while (ahead_.size() <= options_.threads && begun_ < recipe_.chunks.size())
        begin(recipe_.chunks[begun_++]);
      if (ahead_.empty()) fail(ErrorCode::kInternal, "cache mount: the stream has ended");
      plain_ = ahead_.front().get();
      ahead_.pop_front();
      rest_ = plain_;
    }
    std::string_view bytes = rest_.substr(0, static_cast<size_t>(std::min<uint64_t>(most, rest_.size())));
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

 private:
  void begin(const MountChunk& chunk) {
    auto task = std::make_shared<std::packaged_task<std::string()>>([this, &chunk] { return read(chunk); });
    ahead_.push_back(task->get_future());
    pool_.submit([task] { (*task)(); });
  }

  std::string read(const MountChunk& chunk) const {
    options_.cancellation.check();
    const std::string blob = options_.fetch(chunk.blob);
    if (blob.size() != chunk.blob.size || Digest::of(blob) != chunk.blob.digest)
      fail(ErrorCode::kCorrupt, "cache mount: chunk {} has other bytes", chunk.blob.digest.to_string());
    archive::StringSource packed(blob);
    auto plain = archive::open_decompressor(packed, archive::Compression::kZstd);
    archive::VerifyingSource verified(*plain, chunk.content, chunk.size,
                                      "cache mount: chunk " + chunk.content.to_string());
    return archive::read_rest(verified, chunk.size);
  }

  const MountRecipe& recipe_;
  const UnpackOptions& options_;
  std::deque<std::future<std::string>> ahead_;
  size_t begun_ = 0;
  std::string plain_;
  std::string_view rest_;
  ThreadPool pool_;  // last: ended first
};

class Unpacker {
 public:
  Unpacker(const MountRecipe& recipe, const std::string& directory, const UnpackOptions& options)
      : recipe_(recipe), options_(options), root_(open_file(directory, O_RDONLY | O_DIRECTORY)) {}

  void unpack() {
    if (mkdirat(root_.get(), kData, 0700) != 0) fail_errno("make {} of a cache mount", kData);
    data_ = std::move(*open_no_links(root_.get(), kData, O_RDONLY | O_DIRECTORY));
    for (const MountEntry& e : recipe_.entries) {
      options_.cancellation.check();
      add(e);
    }
    // Modes and times of directories last, deepest first: a mode may keep us out, making a file sets the
    // time.
    for (auto e = recipe_.entries.rbegin(); e != recipe_.entries.rend(); ++e)
      if (e->type == MountEntry::Type::kDirectory) finish_directory(*e);
  }

 private:
  void add(const MountEntry& e) {
    if (e.type == MountEntry::Type::kGap) return write_contents(e, nullptr);
    if (e.type == MountEntry::Type::kSeen) return add_seen(e);
    if (e.path.empty()) return options_.owners.give(root_.get(), kData, {.uid = e.uid, .gid = e.gid}, "/");
    const RootfsPath path(e.path);
    const int dir = parent_of(path);
    const std::string name(path.filename());
    switch (e.type) {
      case MountEntry::Type::kDirectory:
        if (mkdirat(dir, name.c_str(), 0700) != 0) failed("make directory", e);
        options_.owners.give(dir, name, {.uid = e.uid, .gid = e.gid}, e.path);
        break;
      case MountEntry::Type::kSymlink:
        if (symlinkat(e.link.c_str(), dir, name.c_str()) != 0) failed("make link", e);
        if (!options_.owners.recorded) options_.owners.give(dir, name, {.uid = e.uid, .gid = e.gid}, e.path);
        set_time(dir, name, e);
        break;
      case MountEntry::Type::kHardLink:
        add_hard_link(dir, name, e);
        break;
      default:
        add_file(dir, name, e);
        break;
    }
  }

  void add_file(int dir, const std::string& name, const MountEntry& e) {
    UniqueFd fd = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    write_contents(e, &fd);
    options_.owners.give(dir, name, {.uid = e.uid, .gid = e.gid}, e.path);
    if (fchmod(fd.get(), e.mode) != 0) failed("set mode of", e);
    const timespec times[2] = {to_timespec(e.mtime_ns), to_timespec(e.mtime_ns)};
    if (futimens(fd.get(), times) != 0) failed("set time of", e);
    fd.close_checked(e.path);
  }

  void add_hard_link(int dir, const std::string& name, const MountEntry& e) {
    const RootfsPath first(e.link);
    auto from = open_no_links(data_.get(), first.parent().str(), O_PATH | O_DIRECTORY);
    if (!from || linkat(from->get(), std::string(first.filename()).c_str(), dir, name.c_str(), 0) != 0)
      failed("make hard link", e);
  }

  void add_seen(const MountEntry& e) {
    UniqueFd fd = open_at(root_.get(), kSeen, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    write_contents(e, &fd);
    fd.close_checked(kSeen);
  }

  // No file: the bytes are passed over.
  void write_contents(const MountEntry& e, const UniqueFd* fd) {
    for (uint64_t left = e.size; left > 0;) {
      std::string_view bytes = stream_.next(left);
      if (fd) write_fully(fd->get(), bytes, e.path);
      left -= bytes.size();
    }
  }

  int parent_of(const RootfsPath& path) {
    RootfsPath parent = path.parent();
    if (!parent_ || parent_path_ != parent) {
      parent_ = open_no_links(data_.get(), parent.str(), O_RDONLY | O_DIRECTORY);
      if (!parent_) fail(ErrorCode::kInternal, "cache mount: {} is no directory", parent.absolute());
      parent_path_ = std::move(parent);
    }
    return parent_->get();
  }

  void finish_directory(const MountEntry& e) {
    auto fd = open_no_links(data_.get(), e.path, O_RDONLY | O_DIRECTORY);
    if (!fd || fchmod(fd->get(), e.mode) != 0) failed("set mode of", e);
    const timespec times[2] = {to_timespec(e.mtime_ns), to_timespec(e.mtime_ns)};
    if (futimens(fd->get(), times) != 0) failed("set time of", e);
  }

  static void set_time(int dir, const std::string& name, const MountEntry& e) {
    const timespec times[2] = {to_timespec(e.mtime_ns), to_timespec(e.mtime_ns)};
    if (utimensat(dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) failed("set time of", e);
  }

  [[noreturn]] static void failed(std::string_view what, const MountEntry& e) {
    fail_errno("cache mount: {} {}", what, quote(e.path));
  }

  const MountRecipe& recipe_;
  const UnpackOptions& options_;
  UniqueFd root_, data_;
  ChunkReader stream_{recipe_, options_};
  std::optional<UniqueFd> parent_;
  RootfsPath parent_path_;
};

}  // namespace

PackedMount pack_mount(const std::string& directory, const PackOptions& options) {
  return Packer(directory, options).pack();
}

void unpack_mount(std::string_view recipe, const std::string& directory, const UnpackOptions& options) {
  const MountRecipe parsed = parse_recipe(recipe);
  Unpacker(parsed, directory, options).unpack();
}

}  // namespace corten::cache
