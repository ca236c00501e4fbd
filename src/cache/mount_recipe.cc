#include "cache/mount_recipe.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "archive/compression.h"
#include "archive/source.h"
#include "archive/zstd_writer.h"
#include "base/error.h"
#include "base/path.h"
#include "cache/chunker.h"

namespace corten::cache {

namespace {

constexpr std::string_view kMagic = "corten-mount-1\n";
constexpr size_t kMaxPathBytes = 4095, kMaxNameBytes = 255;
constexpr size_t kChunkRecordBytes = 32 + 4 + 32 + 8;
constexpr size_t kLeastEntryBytes = 1 + 2;

[[noreturn]] void refuse(std::string_view why) {
  fail(ErrorCode::kCorrupt, "recipe of a cache mount: {}", why);
}

// zstd makes what it cannot compress a little larger.
uint64_t largest_blob(uint64_t plain) {
  return plain + plain / 128 + 1024;
}

template <typename T>
void put(std::string& to, T value) {
  for (size_t i = 0; i < sizeof(T); i++) to += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
}
void put_text(std::string& to, std::string_view text) {
  put(to, static_cast<uint16_t>(text.size()));
  to += text;
}
void put_digest(std::string& to, const Digest& digest) {
  to.append(reinterpret_cast<const char*>(digest.bytes().data()), digest.bytes().size());
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  std::string_view take(size_t size) {
    if (rest_.size() < size) refuse("it is cut short");
    std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  template <typename T>
  T number() {
    uint64_t value = 0;
    std::string_view bytes = take(sizeof(T));
    for (size_t i = 0; i < sizeof(T); i++) value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
    return static_cast<T>(value);
  }
  std::string text() { return std::string(take(number<uint16_t>())); }
  Digest digest() {
    std::array<uint8_t, 32> bytes;
    std::string_view raw = take(bytes.size());
    std::copy(raw.begin(), raw.end(), bytes.begin());
    return Digest(bytes);
  }
  // A count of records, of which each has at least so many bytes.
  size_t count(size_t least_bytes, size_t most) {
    const auto value = number<uint32_t>();
    if (value > most || value > rest_.size() / least_bytes) refuse("it says to have more than it has");
    return value;
  }
  bool is_at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

bool has_size(MountEntry::Type type) {
  return type == MountEntry::Type::kFile || type == MountEntry::Type::kGap || type == MountEntry::Type::kSeen;
}
bool has_path(MountEntry::Type type) {
  return type != MountEntry::Type::kGap && type != MountEntry::Type::kSeen;
}
bool has_link(MountEntry::Type type) {
  return type == MountEntry::Type::kSymlink || type == MountEntry::Type::kHardLink;
}
// A hard link has those of its file.
bool has_metadata(MountEntry::Type type) {
  return has_path(type) && type != MountEntry::Type::kHardLink;
}

// What must hold of entries in their order.
class Checker {
 public:
  void check(const MountEntry& e) {
    if (has_path(e.type)) check_path(e);
    if (has_metadata(e.type) && (e.mode > 07777 || e.uid == UINT32_MAX || e.gid == UINT32_MAX))
      refuse("a mode or owner that cannot be");
    if (has_link(e.type)) check_link(e);
    if (e.type == MountEntry::Type::kSeen && std::exchange(has_seen_, true))
      refuse("two records of what was seen");
    if (e.type == MountEntry::Type::kFile) files_.insert(e.path);
    if (e.size > kMaxMountBytes || bytes_ + e.size > kMaxMountBytes) refuse("too many bytes");
    bytes_ += e.size;
    is_first_ = false;
  }
  uint64_t bytes() const { return bytes_; }
  bool is_empty() const { return is_first_; }

 private:
  void check_path(const MountEntry& e) {
    if (is_first_ != e.path.empty() || (is_first_ && e.type != MountEntry::Type::kDirectory))
      refuse("the first entry, and no other, is what is mounted");
    if (e.path.size() > kMaxPathBytes || e.path.find('\0') != e.path.npos || !RootfsPath::is_clean(e.path) ||
        e.path.starts_with('/'))
      refuse("a path that is none");
    if (!is_first_ && RootfsPath::compare(last_path_, e.path) >= 0) refuse("paths are not in order");
    const size_t slash = e.path.rfind('/');
    const std::string parent = slash == e.path.npos ? "" : e.path.substr(0, slash);
    if (e.path.size() - (slash == e.path.npos ? 0 : slash + 1) > kMaxNameBytes)
      refuse("a name that is too long");
    // Of the directories before, those that this path lies in are the only ones that can still get more.
    while (!parents_.empty() && parents_.back() != parent) parents_.pop_back();
    if (!is_first_ && parents_.empty()) refuse("an entry that lies in no directory");
    if (e.type == MountEntry::Type::kDirectory) parents_.push_back(e.path);
    last_path_ = e.path;
  }
  void check_link(const MountEntry& e) {
    if (e.link.empty() || e.link.size() > kMaxPathBytes || e.link.find('\0') != e.link.npos)
      refuse("a link to nothing");
    if (e.type == MountEntry::Type::kHardLink && !files_.contains(e.link))
      refuse("a hard link to what is no file before it");
  }

  bool is_first_ = true, has_seen_ = false;
  std::string last_path_;
  std::vector<std::string> parents_;
  std::unordered_set<std::string> files_;
  uint64_t bytes_ = 0;
};

MountChunk read_chunk(Reader& reader) {
  MountChunk chunk;
  chunk.content = reader.digest();
  chunk.size = reader.number<uint32_t>();
  chunk.blob.media_type = kChunkMediaType;
  chunk.blob.digest = reader.digest();
  chunk.blob.size = reader.number<uint64_t>();
  if (chunk.size == 0 || chunk.size > kMaxChunkBytes || chunk.blob.size > largest_blob(chunk.size))
    refuse("a chunk of a size that none has");
  return chunk;
}

MountEntry read_entry(Reader& reader) {
  const auto type = reader.number<uint8_t>();
  if (type > static_cast<uint8_t>(MountEntry::Type::kSeen)) refuse("an entry of no type that we know");
  MountEntry e;
  e.type = static_cast<MountEntry::Type>(type);
  if (has_path(e.type)) e.path = reader.text();
  if (has_metadata(e.type)) {
    e.mode = reader.number<uint16_t>();
    e.uid = reader.number<uint32_t>();
    e.gid = reader.number<uint32_t>();
    e.mtime_ns = reader.number<int64_t>();
  }
  if (has_size(e.type)) e.size = reader.number<uint64_t>();
  if (has_link(e.type)) e.link = reader.text();
  return e;
}

}  // namespace

uint64_t MountRecipe::bytes() const {
  uint64_t sum = 0;
  for (const MountChunk& chunk : chunks) sum += chunk.size;
  return sum;
}

std::string emit_recipe_body(const MountRecipe& recipe) {
  std::string body;
  put(body, static_cast<uint32_t>(recipe.chunks.size()));
  for (const MountChunk& chunk : recipe.chunks) {
    put_digest(body, chunk.content);
    put(body, chunk.size);
    put_digest(body, chunk.blob.digest);
    put(body, chunk.blob.size);
  }
  put(body, static_cast<uint32_t>(recipe.entries.size()));
  for (const MountEntry& e : recipe.entries) {
    put(body, static_cast<uint8_t>(e.type));
    if (has_path(e.type)) put_text(body, e.path);
    if (has_metadata(e.type)) {
      put(body, static_cast<uint16_t>(e.mode));
      put(body, e.uid);
      put(body, e.gid);
      put(body, e.mtime_ns);
    }
    if (has_size(e.type)) put(body, e.size);
    if (has_link(e.type)) put_text(body, e.link);
  }
  return body;
}

MountRecipe parse_recipe_body(std::string_view body) {
  Reader reader(body);
  MountRecipe recipe;
  const size_t chunks = reader.count(kChunkRecordBytes, kMaxRecipeBytes);
  recipe.chunks.reserve(chunks);
  for (size_t i = 0; i < chunks; i++) recipe.chunks.push_back(read_chunk(reader));
  const size_t entries = reader.count(kLeastEntryBytes, kMaxMountEntries);
  Checker checker;
  for (size_t i = 0; i < entries; i++) {
    recipe.entries.push_back(read_entry(reader));
    checker.check(recipe.entries.back());
  }
  if (!reader.is_at_end()) refuse("bytes behind its end");
  if (checker.is_empty()) refuse("it has no entry");
  if (checker.bytes() != recipe.bytes()) refuse("its files and its chunks have different sizes");
  return recipe;
}

std::string emit_recipe(const MountRecipe& recipe) {
  archive::StringSink sink;
  sink.write(kMagic);
  archive::ZstdWriter writer(sink);
  writer.write(emit_recipe_body(recipe));
  writer.finish();
  return sink.take();
}

MountRecipe parse_recipe(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) refuse("it is none");
  archive::StringSource packed(bytes.substr(kMagic.size()));
  auto plain = archive::open_decompressor(packed, archive::Compression::kZstd);
  archive::LimitedSource limited(*plain, kMaxRecipeBytes, "recipe of a cache mount");
  return parse_recipe_body(archive::read_rest(limited, kMaxRecipeBytes));
}

KnownChunks known_chunks(const MountRecipe& recipe) {
  KnownChunks known;
  for (const MountChunk& chunk : recipe.chunks) known.emplace(chunk.content, chunk.blob);
  return known;
}

std::vector<oci::Descriptor> chunk_blobs(const MountRecipe& recipe) {
  std::vector<oci::Descriptor> blobs;
  std::set<Digest> seen;
  for (const MountChunk& chunk : recipe.chunks)
    if (seen.insert(chunk.blob.digest).second) blobs.push_back(chunk.blob);
  return blobs;
}

}  // namespace corten::cache
