#include "source/stat_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/trace.h"
#include "base/unique_fd.h"

namespace corten::source {

static constexpr std::string_view kMagic = "corten-stat-cache-2\n";
static constexpr size_t kSumBytes = 32;
static constexpr int64_t kRacyNs = 2'000'000'000;
static constexpr size_t kMostOvertaken = 1000;  // records, besides as many as there are paths

FileStamp::FileStamp(const struct stat& st)
    : device(st.st_dev),
      inode(st.st_ino),
      size(static_cast<uint64_t>(st.st_size)),
      mtime_ns(clamped_ns(st.st_mtim.tv_sec, st.st_mtim.tv_nsec)),
      ctime_ns(clamped_ns(st.st_ctim.tv_sec, st.st_ctim.tv_nsec)),
      mode(st.st_mode) {}

StatCache::StatCache(std::string file) : file_(std::move(file)) {
  if (!path_exists(file_)) return;
  is_loaded_ = false;
  loader_ = std::jthread([this] {
    load();
    is_loaded_ = true;
    is_loaded_.notify_all();
  });
}

void StatCache::load() {
  TraceSpan span("read the stat cache");
  try {
    bytes_ = read_file(file_, size_t{1} << 30);
  } catch (const Error&) {
    return;  // a cache that cannot be read is an empty one
  }
  std::string_view rest = bytes_;
  if (!rest.starts_with(kMagic)) return;
  rest.remove_prefix(kMagic.size());
  is_whole_ = true;
  // A block that a crash cut short ends what is believed.
  while (is_whole_ && !rest.empty()) {
    auto body = take_block(rest);
    auto count = body ? read_records(*body, known_) : std::nullopt;
    records_in_file_ += count.value_or(0);
    is_whole_ = count.has_value();
  }
}

std::optional<std::string_view> StatCache::take_block(std::string_view& bytes) {
  uint32_t length = 0;
  if (bytes.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (bytes.size() - sizeof length < kSumBytes || bytes.size() - sizeof length - kSumBytes < length)
    return std::nullopt;
  std::string_view summed = bytes.substr(0, sizeof length + length);
  if (std::memcmp(bytes.data() + summed.size(), Digest::of(summed).bytes().data(), kSumBytes) != 0)
    return std::nullopt;
  bytes.remove_prefix(summed.size() + kSumBytes);
  return summed.substr(sizeof length);
}

std::optional<size_t> StatCache::read_records(std::string_view rest, Records& into) {
  auto take = [&](void* to, size_t size) {
    if (rest.size() < size) return false;
    std::memcpy(to, rest.data(), size);
    rest.remove_prefix(size);
    return true;
  };
  constexpr size_t kUsualBytes = 120;  // of a record
  into.reserve(into.size() + rest.size() / kUsualBytes);
  size_t count = 0;
  for (; !rest.empty(); count++) {
    uint32_t length = 0;
    Record r;
    FileStamp& s = r.stamp;
    std::array<uint8_t, kSumBytes> raw;
    if (!take(&length, 4) || rest.size() < length) return std::nullopt;
    std::string_view path = rest.substr(0, length);
    rest.remove_prefix(length);
    if (!take(&s.device, 8) || !take(&s.inode, 8) || !take(&s.size, 8) || !take(&s.mtime_ns, 8) ||
        !take(&s.ctime_ns, 8) || !take(&r.hashed_at_ns, 8) || !take(&s.mode, 4) ||
        !take(raw.data(), raw.size()))
      return std::nullopt;
    r.digest = Digest(raw);
    into[path] = r;
  }
  return count;
}

std::optional<Digest> StatCache::find(std::string_view path, const FileStamp& stamp, int64_t now_ns) const {
  is_loaded_.wait(false);
  auto found = known_.find(path);
  if (found == known_.end()) return std::nullopt;
  const Record& then = found->second;
  if (stamp != then.stamp) return std::nullopt;
  if (std::max(stamp.mtime_ns, stamp.ctime_ns) + kRacyNs > then.hashed_at_ns) return std::nullopt;
  if (then.hashed_at_ns > now_ns) return std::nullopt;
  return then.digest;
}

void StatCache::remember(std::string_view path, const FileStamp& stamp, const Digest& digest,
                         int64_t hashed_at_ns) {
  if (file_.empty()) return;
  std::lock_guard lock(mutex_);
  put(fresh_, path, {.stamp = stamp, .hashed_at_ns = hashed_at_ns, .digest = digest});
  fresh_records_++;
}

void StatCache::put(std::string& to, std::string_view path, const Record& r) {
  auto bytes = [&](const void* from, size_t size) { to.append(static_cast<const char*>(from), size); };
  uint32_t length = static_cast<uint32_t>(path.size());
  bytes(&length, 4);
  to += path;
  const FileStamp& s = r.stamp;
  for (const auto* number : {&s.device, &s.inode, &s.size}) bytes(number, 8);
  for (const auto* time : {&s.mtime_ns, &s.ctime_ns, &r.hashed_at_ns}) bytes(time, 8);
  bytes(&s.mode, 4);
  bytes(r.digest.bytes().data(), kSumBytes);
}

namespace {
std::string block_of(const std::string& body) {
  uint32_t length = static_cast<uint32_t>(body.size());
  std::string block(reinterpret_cast<const char*>(&length), sizeof length);
  block += body;
  Digest sum = Digest::of(block);
  block.append(reinterpret_cast<const char*>(sum.bytes().data()), kSumBytes);
  return block;
}
}  // namespace

void StatCache::save() {
  is_loaded_.wait(false);
  TraceSpan span("write the stat cache");
  std::lock_guard lock(mutex_);
  if (fresh_.empty()) return;
  if (!is_whole_ || records_in_file_ + fresh_records_ > 2 * known_.size() + kMostOvertaken) {
    rewrite();
  } else {
    // In one piece: another build may add its own at the same time.
    UniqueFd file(::open(file_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (!file) return;  // pruned meanwhile
    write_fully(file.get(), block_of(fresh_), file_);
    records_in_file_ += fresh_records_;
  }
  fresh_.clear();
  fresh_records_ = 0;
}

void StatCache::rewrite() {
  constexpr size_t kBlockBytes = 64 << 20;
  Records newest;
  if (!read_records(fresh_, newest)) fail(ErrorCode::kInternal, "the stat cache wrote half a record");
  std::string bytes(kMagic), body;
  auto end_block = [&] {
    if (!body.empty()) bytes += block_of(body);
    body.clear();
  };
  records_in_file_ = 0;
  auto add = [&](std::string_view path, const Record& record) {
    records_in_file_++;
    put(body, path, record);
    if (body.size() > kBlockBytes) end_block();
  };
  for (const auto& [path, record] : known_)
    if (!newest.contains(path)) add(path, record);
  for (const auto& [path, record] : newest) add(path, record);
  end_block();
  write_file_atomic(file_, bytes, 0600, Durable::kNo);
  is_whole_ = true;
}

bool has_stable_inodes(int64_t file_system) {
  // linux/magic.h, and those that only their drivers name.
  switch (static_cast<uint32_t>(file_system)) {
    case 0x65735546:  // FUSE, virtiofs
    case 0x01021997:  // 9p
    case 0x6969:      // NFS
    case 0x517B:      // SMB
    case 0xFF534D42:  // CIFS
    case 0xFE534D42:  // SMB2
    case 0x00C36400:  // Ceph
    case 0x5346414F:  // AFS
    case 0x4D44:      // FAT
    case 0x2011BAB0:  // exFAT
    case 0x786F4256:  // VirtualBox's shared folders
    case 0xBACBACBC:  // VMware's
      return false;
    default:
      return true;
  }
}

}  // namespace corten::source
