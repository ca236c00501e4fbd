#include "store/manifest.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace corten::store {

const Xattrs::Map& Xattrs::map() const {
  static const Map kNone;
  return map_ ? *map_ : kNone;
}

namespace {

constexpr std::string_view kMagic = "corten-layer-1\n";
constexpr uint64_t kMaxEntries = 20'000'000;

// Numbers are LEB128, strings are a length and bytes: see docs/formats/layers.md.
void put_number(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void put_string(std::string& out, std::string_view text) {
  put_number(out, text.size());
  out += text;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  uint64_t number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    corrupt();
  }
  uint32_t small() {
    uint64_t value = number();
    if (value > UINT32_MAX) corrupt();
    return static_cast<uint32_t>(value);
  }
  std::string_view string() { return take(number()); }
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) corrupt();
    std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  bool at_end() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }
  [[noreturn]] static void corrupt() { fail(ErrorCode::kCorrupt, "layer manifest: malformed"); }

 private:
  std::string_view rest_;
};

enum Flag : uint64_t { kOpaque = 1, kTime = 2, kHardLink = 4, kXattrs = 8 };

uint64_t zigzag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
int64_t unzigzag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

void put_entry(std::string& out, const Entry& e, const EntryForm& form = {}) {
  const bool has_time = e.time_ns && form.times;
  put_string(out, e.path.str());
  out += static_cast<char>(e.type);
  put_number(out, (e.opaque && form.opaque ? uint64_t{kOpaque} : 0) | (has_time ? uint64_t{kTime} : 0) |
                      (e.is_hard_link() ? uint64_t{kHardLink} : 0) |
                      (e.xattrs.empty() ? 0 : uint64_t{kXattrs}));
  if (e.type == EntryType::kWhiteout) return;
  put_number(out, e.mode);
  put_number(out, e.uid);
  put_number(out, e.gid);
  if (e.type == EntryType::kFile) {
    put_number(out, e.size);
    out.append(reinterpret_cast<const char*>(e.content.bytes().data()), 32);
  } else if (e.type == EntryType::kSymlink) {
    put_string(out, e.link);
  } else if (e.type == EntryType::kCharDevice || e.type == EntryType::kBlockDevice) {
    put_number(out, e.device_major);
    put_number(out, e.device_minor);
  }
  if (has_time) put_number(out, zigzag(*e.time_ns));
  if (e.is_hard_link()) put_string(out, e.hard_link.str());
  if (!e.xattrs.empty()) {
    put_number(out, e.xattrs.map().size());
    for (const auto& [name, value] : e.xattrs.map()) put_string(out, name), put_string(out, value);
  }
}

RootfsPath read_path(std::string_view text) {
  RootfsPath path(text);
  if (path.str() != text) Reader::corrupt();
  return path;
}

Entry read_entry(Reader& in) {
  Entry e;
  e.path = read_path(in.string());
  uint8_t type = static_cast<uint8_t>(in.take(1)[0]);
  if (type > static_cast<uint8_t>(EntryType::kWhiteout)) Reader::corrupt();
  e.type = static_cast<EntryType>(type);
  uint64_t flags = in.number();
  if (flags > (kOpaque | kTime | kHardLink | kXattrs)) Reader::corrupt();
  e.opaque = flags & kOpaque;
  if (e.type == EntryType::kWhiteout) {
    if (flags) Reader::corrupt();
    return e;
  }
  e.mode = in.small();
  e.uid = in.small();
  e.gid = in.small();
  if (e.type == EntryType::kFile) {
    e.size = in.number();
    std::array<uint8_t, 32> bytes;
    std::string_view raw = in.take(32);
    std::copy(raw.begin(), raw.end(), bytes.begin());
    e.content = Digest(bytes);
  } else if (e.type == EntryType::kSymlink) {
    e.link = in.string();
  } else if (e.type == EntryType::kCharDevice || e.type == EntryType::kBlockDevice) {
    e.device_major = in.small();
    e.device_minor = in.small();
  }
  if (flags & kTime) e.time_ns = unzigzag(in.number());
  if (flags & kHardLink) e.hard_link = read_path(in.string());
  if (flags & kXattrs)
    for (uint64_t left = in.number(); left > 0; left--) {
      std::string name(in.string());
      e.xattrs[name] = in.string();
    }
  return e;
}

// Goes over an entry as read_entry() reads it; gives its path.
std::string_view skip_entry(Reader& in) {
  std::string_view path = in.string();
  auto type = static_cast<EntryType>(in.take(1)[0]);
  uint64_t flags = in.number();
  if (!RootfsPath::is_clean(path) || type > EntryType::kWhiteout) Reader::corrupt();
  if (flags > (type == EntryType::kWhiteout ? 0 : kOpaque | kTime | kHardLink | kXattrs)) Reader::corrupt();
  if (type == EntryType::kWhiteout) return path;
  for (int i = 0; i < 3; i++) in.small();  // mode, uid, gid
  if (type == EntryType::kFile) {
    in.number();
    in.take(32);
  } else if (type == EntryType::kSymlink) {
    in.string();
  } else if (type == EntryType::kCharDevice || type == EntryType::kBlockDevice) {
    in.small();
    in.small();
  }
  if (flags & kTime) in.number();
  if (flags & kHardLink && !RootfsPath::is_clean(in.string())) Reader::corrupt();
  if (flags & kXattrs)
    for (uint64_t left = in.number(); left > 0; left--) {
      in.string();
      in.string();
    }
  return path;
}

// The number of entries, and where they begin.
uint64_t read_head(std::string_view& bytes) {
  if (!bytes.starts_with(kMagic)) Reader::corrupt();
  Reader in(bytes.substr(kMagic.size()));
  uint64_t count = in.number();
  if (count > kMaxEntries) Reader::corrupt();
  bytes = in.rest();
  return count;
}

}  // namespace

Manifest::Manifest() = default;

Manifest::Manifest(std::vector<Entry> entries) : entries_(std::move(entries)) {
  auto before = [](const Entry& a, const Entry& b) { return a.path < b.path; };
  auto not_before = [](const Entry& a, const Entry& b) { return a.path >= b.path; };
  if (std::adjacent_find(entries_.begin(), entries_.end(), not_before) == entries_.end()) return;
  std::sort(entries_.begin(), entries_.end(), before);
  auto twice = std::adjacent_find(entries_.begin(), entries_.end(), not_before);
  if (twice != entries_.end())
    fail(ErrorCode::kInternal, "layer manifest: {} stands twice", quote(twice->path.str()));
}

const Entry* Manifest::find(const RootfsPath& path) const {
  auto at = std::lower_bound(entries_.begin(), entries_.end(), path,
                             [](const Entry& e, const RootfsPath& p) { return e.path < p; });
  return at == entries_.end() || at->path != path ? nullptr : &*at;
}

std::vector<const Entry*> Manifest::children(const RootfsPath& directory) const {
  std::vector<const Entry*> found;
  auto at = std::upper_bound(entries_.begin(), entries_.end(), directory,
                             [](const RootfsPath& p, const Entry& e) { return p < e.path; });
  size_t prefix = directory.is_root() ? 0 : directory.str().size() + 1;
  while (at != entries_.end() && at->path.is_within(directory)) {
    // A child without an entry of its own may still have entries below it: they are skipped as one.
    std::string_view rest = std::string_view(at->path.str()).substr(prefix);
    size_t slash = rest.find('/');
    if (slash == std::string_view::npos) found.push_back(&*at);
    RootfsPath child(at->path.str().substr(0, prefix + std::min(slash, rest.size())));
    at = std::partition_point(at, entries_.end(),
                              [&](const Entry& e) { return e.path.is_within(child) || e.path < child; });
  }
  return found;
}

static std::string begin_bytes(size_t entries) {
  constexpr size_t kUsualBytes = 96;  // of an entry
  std::string out(kMagic);
  out.reserve(entries * kUsualBytes);
  put_number(out, entries);
  return out;
}

std::string Manifest::serialize() const {
  std::string out = begin_bytes(entries_.size());
  for (const Entry& entry : entries_) put_entry(out, entry);
  return out;
}

std::string serialize_entries(std::span<const Entry* const> entries, const EntryForm& form) {
  std::string out = begin_bytes(entries.size());
  for (const Entry* entry : entries) put_entry(out, *entry, form);
  return out;
}

ManifestCursor::ManifestCursor(std::string_view bytes) : rest_(bytes) {
  left_ = read_head(rest_);
}

bool ManifestCursor::next() {
  if (left_ == 0) {
    if (!rest_.empty()) Reader::corrupt();
    return false;
  }
  left_--;
  Reader in(rest_);
  std::string_view path = skip_entry(in);
  if (!raw_.empty() && RootfsPath::compare(path_, path) >= 0) Reader::corrupt();
  path_ = path;
  raw_ = rest_.substr(0, rest_.size() - in.rest().size());
  rest_ = in.rest();
  return true;
}

Entry ManifestCursor::entry() const {
  Reader in(raw_);
  return read_entry(in);
}

Manifest Manifest::parse(std::string_view bytes) {
  uint64_t count = read_head(bytes);
  Reader in(bytes);
  std::vector<Entry> entries;
  entries.reserve(std::min<uint64_t>(count, bytes.size() / 4));
  for (uint64_t i = 0; i < count; i++) {
    entries.push_back(read_entry(in));
    if (i > 0 && !(entries[i - 1].path < entries[i].path)) Reader::corrupt();
  }
  if (!in.at_end()) Reader::corrupt();
  Manifest manifest;
  manifest.entries_ = std::move(entries);
  return manifest;
}

Digest Manifest::id() const {
  return Digest::of(serialize());
}

uint64_t Manifest::content_bytes() const {
  uint64_t sum = 0;
  for (const Entry& e : entries_)
    if (e.type == EntryType::kFile && !e.is_hard_link()) sum += e.size;
  return sum;
}

std::optional<int64_t> Manifest::newest_time_ns() const {
  std::optional<int64_t> newest;
  for (const Entry& e : entries_)
    if (e.time_ns && (!newest || *e.time_ns > *newest)) newest = e.time_ns;
  return newest;
}

bool Manifest::has_symbolic_times() const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const Entry& e) { return !e.time_ns && e.type != EntryType::kWhiteout; });
}

Digest rootfs_digest(const Rootfs& rootfs) {
  std::string text = "corten-rootfs-1\n";
  for (const LayerRef& layer : rootfs) text += fmt::format("{} {}\n", layer.id.hex(), layer.time);
  return Digest::of(text);
}

}  // namespace corten::store
