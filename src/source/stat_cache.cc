#include "source/stat_cache.h"

#include <cstring>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/trace.h"
#include "base/unique_fd.h"

namespace corten::source {

static constexpr std::string_view kMagic = "corten-stat-cache-1\n";
static constexpr int64_t kRacyNs = 2'000'000'000;

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
  std::string bytes;
  try {
    bytes = read_file(file_, size_t{1} << 30);
  } catch (const Error&) {
    return;  // a cache that cannot be read is an empty one
  }
  std::string_view rest = bytes;
  if (!rest.starts_with(kMagic) || rest.size() < kMagic.size() + 32) return;
  std::string_view body = rest.substr(0, rest.size() - 32);
  Digest sum = Digest::of(body);
  if (std::memcmp(rest.data() + body.size(), sum.bytes().data(), 32) != 0) return;
  rest = body.substr(kMagic.size());
  auto take = [&](void* to, size_t size) {
    if (rest.size() < size) return false;
    std::memcpy(to, rest.data(), size);
    rest.remove_prefix(size);
    return true;
  };
  while (!rest.empty()) {
    uint32_t length = 0;
    Record r;
    std::array<uint8_t, 32> raw;
    if (!take(&length, 4) || rest.size() < length) return;
    std::string path(rest.substr(0, length));
    rest.remove_prefix(length);
    if (!take(&r.device, 8) || !take(&r.inode, 8) || !take(&r.size, 8) || !take(&r.mtime_ns, 8) ||
        !take(&r.ctime_ns, 8) || !take(&r.hashed_at_ns, 8) || !take(&r.mode, 4) || !take(raw.data(), 32))
      return;
    r.digest = Digest(raw);
    records_.emplace_hint(records_.end(), std::move(path), r);
  }
}

std::optional<Digest> StatCache::find(const std::string& path, const struct stat& st, int64_t now_ns) const {
  std::lock_guard lock(mutex_);
  auto at = records_.find(path);
  if (at == records_.end()) return std::nullopt;
  Record now = record_of(st);
  const Record& then = at->second;
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
  records_[path] = r;
  changed_ = true;
}

void StatCache::save() {
  TraceSpan span("write the stat cache");
  std::lock_guard lock(mutex_);
  if (!changed_ || file_.empty()) return;
  std::string bytes(kMagic);
  auto put = [&](const void* from, size_t size) { bytes.append(static_cast<const char*>(from), size); };
  for (const auto& [path, r] : records_) {
    uint32_t length = static_cast<uint32_t>(path.size());
    put(&length, 4);
    bytes += path;
    put(&r.device, 8), put(&r.inode, 8), put(&r.size, 8), put(&r.mtime_ns, 8), put(&r.ctime_ns, 8),
        put(&r.hashed_at_ns, 8);
    put(&r.mode, 4), put(r.digest.bytes().data(), 32);
  }
  Digest sum = Digest::of(bytes);
  put(sum.bytes().data(), 32);
  write_file_atomic(file_, bytes, 0600);
  changed_ = false;
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
