#include "build/cache_memory.h"

#include <algorithm>
#include <cstring>

#include "base/beneath.h"
#include "base/error.h"

namespace corten::build {

static constexpr std::string_view kMagic = "corten-seen-1\n";
// Of a time in a record; room is left for what appears after it.
static constexpr int64_t kLatestNs = INT64_MAX / 2;

CacheMemory::CacheMemory(std::string directory) : directory_(std::move(directory)) {}

// magic, "known" byte, newest, then path length, path, digest, time; SHA-256 of all that at the end.
CacheMemory::Record CacheMemory::load() const {
  Record record;
  std::string path = directory_ + "/seen";
  if (!path_exists(path)) return record;
  std::string bytes = read_file(path, size_t{1} << 30);
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + 9 + 32) return record;
  std::string_view body(bytes.data(), bytes.size() - 32);
  if (std::memcmp(bytes.data() + body.size(), Digest::of(body).bytes().data(), 32) != 0) return record;
  std::string_view rest = body.substr(kMagic.size());
  auto take = [&](void* to, size_t size) {
    if (rest.size() < size) return false;
    std::memcpy(to, rest.data(), size);
    rest.remove_prefix(size);
    return true;
  };
  char known = 0;
  take(&known, 1);
  take(&record.newest_ns, 8);
  if (record.newest_ns > kLatestNs) return {};
  while (!rest.empty()) {
    uint32_t length = 0;
    std::array<uint8_t, 32> raw;
    int64_t time = 0;
    if (!take(&length, 4) || rest.size() < length) return {};
    RootfsPath name(rest.substr(0, length));
    rest.remove_prefix(length);
    if (!take(raw.data(), 32) || !take(&time, 8) || time > kLatestNs) return {};
    record.paths.emplace_hint(record.paths.end(), std::move(name), std::pair(Digest(raw), time));
  }
  record.is_known = known == 1;
  return record;
}

void CacheMemory::save(const Record& record) const {
  std::string bytes(kMagic);
  auto put = [&](const void* from, size_t size) { bytes.append(static_cast<const char*>(from), size); };
  bytes += record.is_known ? '\1' : '\0';
  put(&record.newest_ns, 8);
  for (const auto& [path, seen] : record.paths) {
    uint32_t length = static_cast<uint32_t>(path.str().size());
    put(&length, 4);
    bytes += path.str();
    put(seen.first.bytes().data(), 32);
    put(&seen.second, 8);
  }
  Digest sum = Digest::of(bytes);
  put(sum.bytes().data(), 32);
  write_file_atomic(directory_ + "/seen", bytes, 0600);
}

SeenTimes CacheMemory::begin(const SeenPaths& paths, bool is_empty, int64_t now_ns) {
  // Who is alone holds the lock exclusively for a moment, then shares it; who is not alone makes the record
  // unknown for all.
  FileLock gate = FileLock::exclusive(directory_ + "/gate");
  bool is_alone = FileLock::try_exclusive(directory_ + "/users", in_use_);
  in_use_ = FileLock();
  Record old = load();
  in_use_ = FileLock::shared(directory_ + "/users");

  Record record;
  record.is_known = is_alone;
  bool all_new = !is_alone || !old.is_known;
  if (is_empty && is_alone) all_new = false;
  // Later than every time this mount has shown, also when the clock went back.
  int64_t appears_ns = std::max(now_ns, old.newest_ns + 1'000'000'000);
  SeenTimes times;
  for (const auto& [path, digest] : paths) {
    int64_t time = 0;
    if (all_new) {
      time = appears_ns;
    } else if (!is_empty) {
      auto before = old.paths.find(path);
      time = before != old.paths.end() && before->second.first == digest ? before->second.second : appears_ns;
    }
    record.paths.emplace_hint(record.paths.end(), path, std::pair(digest, time));
    if (time != 0) times[path] = time;
  }
  record.newest_ns = old.newest_ns;
  for (const auto& [path, time] : times) record.newest_ns = std::max(record.newest_ns, time);
  save(record);
  return times;
}

}  // namespace corten::build
