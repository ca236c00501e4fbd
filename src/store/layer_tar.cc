#include "store/layer_tar.h"

#include <fcntl.h>

#include <functional>
#include <map>
#include <set>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::store {

namespace {

using archive::TarHeader;
using archive::TarType;

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueName = ".wh..wh..opq";

TarType tar_type(const Entry& e) {
  if (e.is_hard_link()) return TarType::kHardlink;
  switch (e.type) {
    case EntryType::kDirectory:
      return TarType::kDirectory;
    case EntryType::kSymlink:
      return TarType::kSymlink;
    case EntryType::kCharDevice:
      return TarType::kCharDevice;
    case EntryType::kBlockDevice:
      return TarType::kBlockDevice;
    case EntryType::kFifo:
      return TarType::kFifo;
    default:
      return TarType::kFile;
  }
}

void set_time(TarHeader& header, int64_t ns, const std::optional<int64_t>& clamp) {
  int64_t seconds = ns / 1'000'000'000, rest = ns % 1'000'000'000;
  if (rest < 0) seconds--, rest += 1'000'000'000;
  if (clamp && seconds >= *clamp) seconds = *clamp, rest = 0;
  header.mtime = seconds;
  header.mtime_ns = static_cast<uint32_t>(rest);
}

}  // namespace

namespace {

// Calls `member` for each member of the entry; `is_file` when the content is to follow.
void for_each_member(const Entry& e, const TarTimes& times,
                     const std::function<void(const TarHeader&, bool is_file)>& member) {
  int64_t layer_ns = clamped_ns(times.time);
  auto marker = [&](const RootfsPath& directory, std::string_view name, int64_t ns) {
    TarHeader header;
    header.path = directory.child(name).str();
    header.mode = 0;
    set_time(header, ns, times.clamp);
    member(header, false);
  };
  if (e.type == EntryType::kWhiteout) {
    marker(e.path.parent(), std::string(kWhiteoutPrefix) + std::string(e.path.filename()), layer_ns);
    return;
  }
  TarHeader header;
  header.path = e.path.is_root() ? "./" : e.path.str();
  header.type = tar_type(e);
  header.mode = e.type == EntryType::kSymlink ? 0777 : e.mode;
  header.uid = e.uid;
  header.gid = e.gid;
  header.link = e.is_hard_link() ? e.hard_link.str() : e.link;
  header.device_major = e.device_major;
  header.device_minor = e.device_minor;
  header.xattrs = e.xattrs.map();
  set_time(header, e.time_ns.value_or(layer_ns), times.clamp);
  bool is_file = header.type == TarType::kFile && e.size > 0;
  if (is_file) header.size = e.size;
  member(header, is_file);
  if (e.opaque) marker(e.path, kOpaqueName, e.time_ns.value_or(layer_ns));
}

class NullSink : public archive::ByteSink {
 public:
  void write(std::string_view) override {}
};

}  // namespace

void write_layer_entry(const Entry& entry, const TarTimes& times, const Contents& contents,
                       archive::TarWriter& to, bool verify) {
  for_each_member(entry, times, [&](const TarHeader& header, bool is_file) {
    if (!is_file) {
      to.add(header, std::string_view());
      return;
    }
    UniqueFd fd = contents.open(entry.content);
    archive::FdSource source(fd.get(), entry.path.absolute());
    if (!verify) return to.add(header, source);
    archive::VerifyingSource verified(source, entry.content, entry.size, entry.path.absolute());
    to.add(header, verified);
  });
}

void write_layer_tar(const Manifest& manifest, const TarTimes& times, const Contents& contents,
                     archive::TarWriter& to) {
  for (const Entry& entry : manifest.entries()) write_layer_entry(entry, times, contents, to);
}

std::vector<uint64_t> layer_tar_offsets(const Manifest& manifest, const TarTimes& times) {
  NullSink nowhere;
  archive::TarWriter writer(nowhere);
  std::vector<uint64_t> offsets;
  for (const Entry& entry : manifest.entries()) {
    offsets.push_back(writer.offset());
    for_each_member(entry, times, [&](const TarHeader& header, bool) { writer.pass(header); });
  }
  offsets.push_back(writer.offset());
  return offsets;
}

namespace {

// A directory of a tree as a root of its own: an archive's absolute links lead no farther up than its
// destination.
class Subtree : public Tree {
 public:
  Subtree(const Tree& tree, const RootfsPath& top) : tree_(tree), top_(top) {}
  const Entry* find(const RootfsPath& path) const override { return tree_.find(inside(path)); }
  std::vector<const Entry*> list(const RootfsPath& directory) const override {
    return tree_.list(inside(directory));
  }
  RootfsPath inside(const RootfsPath& path) const { return RootfsPath::join(top_, path.str()); }

 private:
  const Tree& tree_;
  const RootfsPath& top_;
};

// Counts what an archive unpacks to: the bytes of the tar, and those of its files, since a sparse file's
// holes cost the tar nothing.
class UnpackedSource : public archive::ByteSource {
 public:
  // `stored`: of the tar, so far; for what may have holes.
  UnpackedSource(archive::ByteSource& from, const ExtractOptions& options, uint64_t& seen,
                 const uint64_t* stored = nullptr)
      : from_(from), options_(options), seen_(seen), stored_(stored) {}
  size_t read(void* data, size_t size) override {
    size_t count = from_.read(data, size);
    seen_ += count;
    if (seen_ > options_.max_bytes)
      throw Error(ErrorCode::kInvalid,
                  fmt::format("{}: it unpacks to more than {} bytes", options_.name, options_.max_bytes))
          .with_hint("CORTEN_MAX_UNPACKED sets the limit: CORTEN_MAX_UNPACKED=200GB");
    if (stored_ && seen_ > *stored_ && seen_ - *stored_ > options_.max_hole_bytes)
      throw Error(ErrorCode::kInvalid, fmt::format("{}: its sparse files have holes of more than {} bytes",
                                                   options_.name, options_.max_hole_bytes))
          .with_hint("a layer's holes are bounded, an archive's limit is set by CORTEN_MAX_UNPACKED");
    return count;
  }

 private:
  archive::ByteSource& from_;
  const ExtractOptions& options_;
  uint64_t& seen_;
  const uint64_t* stored_;
};

// What the names of an archive may take in memory.
class NameBudget {
 public:
  explicit NameBudget(const ExtractOptions& options) : options_(options) {}
  // Empty files with long names take next to nothing in a compressed archive, and memory here; so do the
  // directories on the way to them that have no member of their own.
  void count(size_t name_bytes) {
    // An entry, its node in the builder, its place among those that were seen: each with its path.
    constexpr uint64_t kEntryBytes = 1000, kPaths = 3;
    bytes_ += kEntryBytes + kPaths * name_bytes;
    if (bytes_ > options_.max_memory_bytes)
      throw Error(ErrorCode::kInvalid,
                  fmt::format("{}: it holds too many files, or too long names", options_.name))
          .with_hint(options_.max_bytes == UINT64_MAX
                         ? "a layer may have some four million files"
                         : "some four million are the usual limit; CORTEN_MAX_UNPACKED sets it: a file "
                           "counts for 16 kB");
  }

 private:
  const ExtractOptions& options_;
  uint64_t bytes_ = 0;
};

// The members of an archive in their order, the contents of files in the store.
class MemberReader {
 public:
  MemberReader(archive::ByteSource& tar, Contents& contents, const ExtractOptions& options, NameBudget& names)
      : contents_(contents),
        options_(options),
        names_(names),
        counted_(tar, options, tar_bytes_),
        reader_(counted_) {}

  std::optional<LayerMember> next() {
    auto header = reader_.next();
    if (!header) return std::nullopt;
    check_name(header->path);
    check_name(header->link);
    names_.count(header->path.size() + header->link.size());
    LayerMember member;
    member.header = std::move(*header);
    if (member.header.type == TarType::kFile) {
      UnpackedSource data(reader_.data(), options_, content_bytes_, &tar_bytes_);
      member.content = contents_.add_stream(data);
    }
    return member;
  }

 private:
  // What no file system takes is refused here, before a path of ten thousand components costs time.
  static void check_name(std::string_view name) {
    constexpr size_t kMaxPathBytes = 4095, kMaxComponentBytes = 255;
    if (name.find('\0') != std::string_view::npos)
      fail(ErrorCode::kCorrupt, "archive: a name with a zero byte");
    bool fits = name.size() <= kMaxPathBytes;
    for (const std::string& component : split(name.substr(0, fits ? name.size() : 0), '/'))
      fits &= component.size() <= kMaxComponentBytes;
    if (!fits) fail(ErrorCode::kInvalid, "archive: {}...: file name too long", quote(name.substr(0, 60)));
  }

  Contents& contents_;
  const ExtractOptions& options_;
  NameBudget& names_;
  uint64_t tar_bytes_ = 0, content_bytes_ = 0;
  UnpackedSource counted_;
  archive::TarReader reader_;
};

// Puts members where they belong, on what is there.
class Extractor {
 public:
  Extractor(LayerBuilder& into, const ExtractOptions& options, NameBudget& names, bool whiteouts)
      : into_(into), options_(options), names_(names), whiteouts_(whiteouts) {}

  void add(const LayerMember& member) {
    const TarHeader& header = member.header;
    RootfsPath path = place_of(header.path);
    if (path == options_.destination && !(whiteouts_ && path.is_root() && header.type == TarType::kDirectory))
      return;
    std::string name(path.filename());
    if (whiteouts_ && name.starts_with(kWhiteoutPrefix)) {
      whiteout(path, name);
      return;
    }
    Entry e = entry_of(header, path);
    if (header.type == TarType::kHardlink) {
      link(header, e);
      return;
    }
    if (e.type == EntryType::kFile) {
      e.content = member.content.digest;
      e.size = member.content.size;
    }
    make_way(path);
    if (!e.is_directory() && !path.is_root()) into_.remove(path);
    into_.put(std::move(e));
  }

 private:
  // Where a member goes: its name below the destination, links of its parents followed inside the root.
  RootfsPath place_of(std::string_view name) const {
    RootfsPath clean(name);
    if (clean.is_root()) return options_.destination;
    Subtree destination(into_, options_.destination);
    return destination.inside(resolve_links(destination, clean.parent())).child(clean.filename());
  }

  // A layer's own marks: they speak of lower layers, and of this one where it already put something there.
  void whiteout(const RootfsPath& path, const std::string& name) {
    RootfsPath directory = path.parent();
    if (name == kOpaqueName) {
      // What is in it the second time is this layer's own.
      if (!opaque_.insert(directory).second) return;
      for (const Entry* child : into_.list(directory))
        if (!seen_.contains(child->path)) into_.remove(RootfsPath(child->path));
      return;
    }
    if (name.starts_with(".wh..wh.")) return;  // AUFS's own files
    into_.remove(directory.child(name.substr(kWhiteoutPrefix.size())));
  }

  Entry entry_of(const TarHeader& header, const RootfsPath& path) {
    Entry e;
    e.path = path;
    switch (header.type) {
      case TarType::kDirectory:
        e.type = EntryType::kDirectory;
        break;
      case TarType::kSymlink:
        e.type = EntryType::kSymlink;
        e.link = header.link;
        break;
      case TarType::kCharDevice:
        e.type = EntryType::kCharDevice;
        break;
      case TarType::kBlockDevice:
        e.type = EntryType::kBlockDevice;
        break;
      case TarType::kFifo:
        e.type = EntryType::kFifo;
        break;
      default:
        e.type = EntryType::kFile;
    }
    e.mode = e.type == EntryType::kSymlink ? 0 : header.mode & 07777;
    e.uid = options_.owner ? options_.owner->first : header.uid;
    e.gid = options_.owner ? options_.owner->second : header.gid;
    e.device_major = header.device_major;
    e.device_minor = header.device_minor;
    if (auto capability = header.xattrs.find("security.capability"); capability != header.xattrs.end()) {
      constexpr size_t kMost = 64;  // linux/capability.h: 24 bytes in its third version
      if (capability->second.size() > kMost)
        fail(ErrorCode::kInvalid, "archive: {}: a security.capability of {} bytes", quote(path.absolute()),
             capability->second.size());
      e.xattrs[capability->first] = capability->second;
    }
    // A device 0/0 is a whiteout to an overlay; nobody else makes one.
    if (e.type == EntryType::kCharDevice && e.device_major == 0 && e.device_minor == 0)
      fail(ErrorCode::kUnsupported, "archive: {} is a character device 0/0", path.absolute());
    e.time_ns = clamped_ns(header.mtime, header.mtime_ns);
    seen_.insert(path);
    return e;
  }

  const Entry& file_at(const RootfsPath& target, const Entry& link) const {
    const Entry* file = into_.find(target);
    if (!file || file->is_directory())
      fail(ErrorCode::kCorrupt, "archive: {} is a hard link to {}, which is no file before it",
           link.path.absolute(), target.absolute());
    return *file;
  }

  // The name under which a file's entry is to be found. That of a lower layer may be gone meanwhile, or be
  // another file.
  RootfsPath first_name(const Entry& file) const {
    if (!file.is_hard_link()) return file.path;
    const Entry* first = into_.find(file.hard_link);
    bool is_same = first && first->type == EntryType::kFile && first->content == file.content;
    return is_same ? file.hard_link : file.path;
  }

  void link(const TarHeader& header, const Entry& e) {
    RootfsPath target = place_of(header.link);
    bool is_same_file = first_name(file_at(target, e)) == e.path;
    if (target == e.path) return;
    // What stands there goes first: the target may lie in it, or be another name of it.
    make_way(e.path);
    if (!is_same_file) into_.remove(e.path);
    Entry copy = file_at(target, e);
    if (copy.type != EntryType::kFile) {
      copy.path = e.path;
      into_.put(std::move(copy));
      return;
    }
    // A hard link's member has a mode and an owner too; unpacking sets them on the one file that all names
    // are. LayerBuilder gives the first name's to the others.
    RootfsPath first = first_name(copy);
    Entry original = *into_.find(first);
    original.hard_link = RootfsPath();
    original.mode = e.mode;
    original.uid = e.uid;
    original.gid = e.gid;
    // A file of a lower layer comes up, so that both names are in this layer.
    if (seen_.insert(first).second)
      into_.put(std::move(original));
    else
      into_.replace(std::move(original));
    if (is_same_file) return;
    copy.path = e.path;
    copy.hard_link = first;
    into_.put(std::move(copy));
  }

  // What is no directory on the way to a member goes; what is missing will be made, and counts.
  void make_way(const RootfsPath& path) {
    for (RootfsPath above = path.parent(); !above.is_root(); above = above.parent()) {
      const Entry* e = into_.find(above);
      if (e && e->is_directory()) break;
      names_.count(above.str().size());
      if (e) into_.remove(above);
    }
  }

  LayerBuilder& into_;
  const ExtractOptions& options_;
  NameBudget& names_;
  bool whiteouts_;
  std::set<RootfsPath> seen_, opaque_;
};

ExtractOptions layer_options(uint64_t max_hole_bytes) {
  ExtractOptions options;
  options.max_bytes = UINT64_MAX;  // whoever opened the blob has its limit
  options.max_hole_bytes = max_hole_bytes;
  options.name = "layer";
  return options;
}

}  // namespace

std::vector<LayerMember> read_layer_members(archive::ByteSource& tar, Contents& contents,
                                            uint64_t max_hole_bytes) {
  const ExtractOptions options = layer_options(max_hole_bytes);
  NameBudget names(options);
  MemberReader reader(tar, contents, options, names);
  std::vector<LayerMember> members;
  while (auto member = reader.next()) members.push_back(std::move(*member));
  return members;
}

Manifest build_layer(const std::vector<LayerMember>& members, const Tree& below) {
  const ExtractOptions options = layer_options(kUsualUnpackedBytes);
  NameBudget names(options);
  LayerBuilder builder(below);
  Extractor extractor(builder, options, names, true);
  for (const LayerMember& member : members) extractor.add(member);
  return builder.finish();
}

Manifest read_layer_tar(archive::ByteSource& tar, const Tree& below, Contents& contents,
                        uint64_t max_hole_bytes) {
  return build_layer(read_layer_members(tar, contents, max_hole_bytes), below);
}

void read_layer_contents(archive::ByteSource& tar, Contents& contents, uint64_t max_hole_bytes) {
  const ExtractOptions options = layer_options(max_hole_bytes);
  NameBudget names(options);
  MemberReader reader(tar, contents, options, names);
  while (reader.next()) {
  }
}

void extract_tar(archive::ByteSource& tar, const ExtractOptions& options, LayerBuilder& into,
                 Contents& contents) {
  into.make_directories(options.destination, options.parent_like);
  NameBudget names(options);
  MemberReader reader(tar, contents, options, names);
  Extractor extractor(into, options, names, false);
  while (auto member = reader.next()) extractor.add(*member);
}

}  // namespace corten::store
