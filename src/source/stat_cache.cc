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

StatCache::Record StatCache::record_of(const struct stat& st) {
  Record r;
  r.device = st.st_dev;
  r.inode = st.st_ino;
  r.size = static_cast<uint64_t>(st.st_size);
  r.mtime_ns = clamped_ns(st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  r.ctime_ns = clamped_ns(st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
  r.mode = st.st_mode;
  return r;
}

StatCache::StatCache(std::string file) : file_(std::move(file)) {
  TraceSpan span("read the stat cache");
  if (!path_exists(file_)) return;
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
    is_whole_ = body && read_records(*body);
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

bool StatCache::read_records(std::string_view rest) {
  auto take = [&](void* to, size_t size) {
    if (rest.size() < size) return false;
    std::memcpy(to, rest.data(), size);
    rest.remove_prefix(size);
    return true;
  };
  constexpr size_t kUsualBytes = 120;  // of a record
  known_.reserve(known_.size() + rest.size() / kUsualBytes);
  while (!rest.empty()) {
    uint32_t length = 0;
    Record r;
    std::array<uint8_t, kSumBytes> raw;
    if (!take(&length, 4) || rest.size() < length) return false;
    std::string_view path = rest.substr(0, length);
    rest.remove_prefix(length);
    if (!take(&r.device, 8) || !take(&r.inode, 8) || !take(&r.size, 8) || !take(&r.mtime_ns, 8) ||
        !take(&r.ctime_ns, 8) || !take(&r.hashed_at_ns, 8) || !take(&r.mode, 4) ||
        !take(raw.data(), raw.size()))
      return false;
    r.digest = Digest(raw);
    known_[path] = r;
    records_in_file_++;
  }
  return true;
}

std::optional<Digest> StatCache::find(const std::string& path, const struct stat& st, int64_t now_ns) const {
  std::optional<Record> found;
  if (has_fresh_) {
    std::lock_guard lock(mutex_);
    if (auto at = fresh_.find(path); at != fresh_.end()) found = at->second;
  }
  if (auto at = known_.find(path); !found && at != known_.end()) found = at->second;
  if (!found) return std::nullopt;
  const Record& then = *found;
  Record now = record_of(st);
  bool same = now.device == then.device && now.inode == then.inode && now.size == then.size &&
              now.mtime_ns == then.mtime_ns && now.ctime_ns == then.ctime_ns && now.mode == then.mode;
  if (!same || std::max(then.mtime_ns, then.ctime_ns) + kRacyNs > then.hashed_at_ns) return std::nullopt;
  if (then.hashed_at_ns > now_ns) return std::nullopt;
  return then.digest;
}

void StatCache::remember(const std::string& path, const struct stat& st, const Digest& digest,
                         int64_t hashed_at_ns) {
  std::lock_guard lock(mutex_);
  Record r = record_of(st);
  r.digest = digest;
  r.hashed_at_ns = hashed_at_ns;
  fresh_[path] = r;
  has_fresh_ = is_changed_ = true;
}

void StatCache::put(std::string& to, std::string_view path, const Record& r) {
  auto bytes = [&](const void* from, size_t size) { to.append(static_cast<const char*>(from), size); };
  uint32_t length = static_cast<uint32_t>(path.size());
  bytes(&length, 4);
  to += path;
  for (const auto* number : {&r.device, &r.inode, &r.size}) bytes(number, 8);
  for (const auto* time : {&r.mtime_ns, &r.ctime_ns, &r.hashed_at_ns}) bytes(time, 8);
  bytes(&r.mode, 4);
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
  TraceSpan span("write the stat cache");
  std::lock_guard lock(mutex_);
  if (!is_changed_ || file_.empty()) return;
  if (!is_whole_ || records_in_file_ + fresh_.size() > 2 * known_.size() + kMostOvertaken) {
    rewrite();
  } else {
    std::string body;
    for (const auto& [path, record] : fresh_) put(body, path, record);
    // In one piece: another build may add its own at the same time.
    UniqueFd file(::open(file_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (!file) return;  // pruned meanwhile
    write_fully(file.get(), block_of(body), file_);
    records_in_file_ += fresh_.size();
  }
  is_changed_ = false;
}

void StatCache::rewrite() {
  constexpr size_t kBlockBytes = 64 << 20;
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
    if (!fresh_.contains(path)) add(path, record);
  for (const auto& [path, record] : fresh_) add(path, record);
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
