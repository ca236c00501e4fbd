#include "source/debian/package.h"

#include <fcntl.h>

#include <map>
#include <set>

#include "archive/ar.h"
#include "archive/compression.h"
#include "archive/tar.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "source/debian/control.h"

namespace corten::source::debian {

namespace {

using archive::TarHeader;
using archive::TarType;
using store::Entry;
using store::EntryType;

constexpr uint64_t kMaxFilesBytes = uint64_t{16} << 30;
constexpr uint64_t kMaxControlBytes = 64 << 20;
constexpr size_t kMaxControlFile = 16 << 20;
constexpr size_t kMaxEntries = 1'000'000;
constexpr std::string_view kExtraction = "corten debian package 1\n";

void read_control(archive::ByteSource& tar, Package& package) {
  archive::TarReader reader(tar);
  while (auto header = reader.next()) {
    std::string name = RootfsPath(header->path).str();
    if (header->type != TarType::kFile) continue;
    if (name == "control") package.control = archive::read_rest(reader.data(), kMaxControlFile);
    if (name == "md5sums") package.md5sums = archive::read_rest(reader.data(), kMaxControlFile);
  }
}

class FilesReader {
 public:
  explicit FilesReader(store::Contents& contents) : contents_(contents) {}

  store::Manifest read(archive::ByteSource& tar) {
    archive::TarReader reader(tar);
    while (auto header = reader.next()) add(*header, reader);
    std::vector<Entry> list;
    for (auto& [path, entry] : entries_) list.push_back(std::move(entry));
    return store::Manifest(std::move(list));
  }

 private:
  void add(const TarHeader& header, archive::TarReader& reader) {
    if (entries_.size() >= kMaxEntries) fail(ErrorCode::kInvalid, "more than {} files", kMaxEntries);
    for (const std::string& part : split(header.path, '/')) {
      if (part == "..") fail(ErrorCode::kInvalid, "a name with ..: {}", quote(header.path));
      if (part.starts_with(".wh."))
        fail(ErrorCode::kInvalid, "a name that layers use as a mark: {}", quote(header.path));
    }
    if (header.path.find('\0') != std::string::npos) fail(ErrorCode::kInvalid, "a name with a zero byte");
    Entry e;
    e.path = RootfsPath(header.path);
    if (e.path.is_root()) return;
    if (auto old = entries_.find(e.path); old != entries_.end()) {
      if (header.type == TarType::kDirectory && old->second.is_directory()) return;
      fail(ErrorCode::kInvalid, "{} stands twice", e.path.absolute());
    }
    e.mode = header.mode & 07777;
    e.uid = header.uid;
    e.gid = header.gid;
    e.time_ns = clamped_ns(header.mtime, header.mtime_ns);
    if (auto capability = header.xattrs.find("security.capability"); capability != header.xattrs.end())
      e.xattrs[capability->first] = capability->second;
    switch (header.type) {
      case TarType::kDirectory:
        e.type = EntryType::kDirectory;
        break;
      case TarType::kSymlink:
        e.type = EntryType::kSymlink;
        e.link = header.link;
        e.mode = 0;
        break;
      case TarType::kFifo:
        e.type = EntryType::kFifo;
        break;
      case TarType::kFile: {
        store::Contents::Added added = contents_.add_stream(reader.data());
        e.content = added.digest;
        e.size = added.size;
        break;
      }
      case TarType::kHardlink: {
        auto target = entries_.find(RootfsPath(header.link));
        if (target == entries_.end() || target->second.type != EntryType::kFile)
          fail(ErrorCode::kInvalid, "{} is a hard link to {}, which is no file before it", e.path.absolute(),
               quote(header.link));
        RootfsPath path = e.path,
                   first = target->second.is_hard_link() ? target->second.hard_link : target->first;
        e = target->second;
        e.path = path;
        e.hard_link = first;
        break;
      }
      default:
        fail(ErrorCode::kUnsupported, "{} is a device node", e.path.absolute());
    }
    RootfsPath path = e.path;
    entries_.emplace(std::move(path), std::move(e));
  }

  store::Contents& contents_;
  std::map<RootfsPath, Entry> entries_;
};

// A hard link must name the first of its group in path order, in every manifest.
store::Manifest ordered(const store::Manifest& manifest) {
  store::EmptyTree nothing;
  store::LayerBuilder builder(nothing);
  for (const Entry& e : manifest.entries()) builder.put(e);
  return builder.finish();
}

// What the store keeps of an extracted package: its files below data/, its control data, and the package
// itself, so that all of it stays as long as the action does.
store::Manifest as_layer(const Package& package, const LockedPackage& locked, store::Contents& contents) {
  std::vector<Entry> entries;
  auto directory = [&](std::string_view path) {
    Entry e = store::default_root();
    e.path = RootfsPath(path);
    entries.push_back(std::move(e));
  };
  auto file = [&](std::string_view path, const std::string& text) {
    Entry e;
    e.path = RootfsPath(path);
    e.mode = 0644;
    e.size = text.size();
    e.content = contents.add_bytes(text);
    entries.push_back(std::move(e));
  };
  directory("control");
  file("control/control", package.control);
  file("control/md5sums", package.md5sums);
  directory("data");
  Entry deb;
  deb.path = RootfsPath("package.deb");
  deb.mode = 0644;
  deb.size = locked.size;
  deb.content = locked.digest;
  entries.push_back(std::move(deb));
  RootfsPath data("data");
  for (Entry e : package.files.entries()) {
    if (e.is_hard_link()) e.hard_link = RootfsPath::join(data, e.hard_link.str());
    e.path = RootfsPath::join(data, e.path.str());
    entries.push_back(std::move(e));
  }
  return store::Manifest(std::move(entries));
}

Package from_layer(const store::Manifest& layer, const store::Contents& contents) {
  Package package;
  RootfsPath data("data");
  std::vector<Entry> entries;
  auto text = [&](std::string_view path) {
    const Entry* e = layer.find(RootfsPath(path));
    return e ? contents.read(e->content, kMaxControlFile) : "";
  };
  package.control = text("control/control");
  package.md5sums = text("control/md5sums");
  for (Entry e : layer.entries()) {
    if (!e.path.is_within(data) || e.path == data) continue;
    e.path = RootfsPath(e.path.str().substr(5));
    if (e.is_hard_link()) e.hard_link = RootfsPath(e.hard_link.str().substr(5));
    entries.push_back(std::move(e));
  }
  package.files = store::Manifest(std::move(entries));
  return package;
}

}  // namespace

Package read_package(archive::ByteSource& deb, std::string_view name, store::Contents& contents) {
  Package package;
  try {
    archive::ArReader members(deb);
    auto first = members.next();
    if (!first || first->name != "debian-binary")
      fail(ErrorCode::kCorrupt, "not a Debian package: debian-binary is not its first member");
    if (std::string version = archive::read_rest(members.data(), 100); !version.starts_with("2."))
      fail(ErrorCode::kUnsupported, "package format {}", quote(trim(version)));
    bool has_control = false, has_data = false;
    while (auto member = members.next()) {
      bool is_control = member->name.starts_with("control.tar"),
           is_data = member->name.starts_with("data.tar");
      if (is_control ? std::exchange(has_control, true) : is_data && std::exchange(has_data, true))
        fail(ErrorCode::kCorrupt, "member {} stands twice", quote(member->name));
      if (!is_control && !is_data) continue;
      auto expanded = archive::open_decompressor(members.data());
      archive::LimitedSource limited(*expanded, is_control ? kMaxControlBytes : kMaxFilesBytes, member->name);
      if (is_control)
        read_control(limited, package);
      else
        package.files = ordered(FilesReader(contents).read(limited));
      archive::drain(limited);
    }
    if (!has_control || !has_data || package.control.empty())
      fail(ErrorCode::kCorrupt, "not a Debian package: control or data is missing");
  } catch (Error& error) {
    error.add_context(fmt::format("package {}", name));
    throw;
  }
  return package;
}

Package load_package(const LockedPackage& locked, store::Store& store) {
  Digest key = Digest::of(std::string(kExtraction) + locked.digest.to_string());
  if (auto known = store.find_action(key); known && store.layers().has(known->layer.id))
    return from_layer(*store.layers().load(known->layer.id), store.contents());
  UniqueFd fd = store.contents().open(locked.digest);
  archive::FdSource from(fd.get(), locked.path);
  Package package = read_package(from, locked.name, store.contents());
  parse_paragraphs(package.control, locked.name + "/control", [&](const Paragraph& p) {
    if (p.get("Package") != locked.name || p.get("Version") != locked.version)
      fail(ErrorCode::kCorrupt, "package {} {}: its control file says {} {}", locked.name, locked.version,
           p.get("Package"), p.get("Version"));
  });
  store::Action action;
  action.key = key;
  action.kind = "exact";
  action.layer = {store.layers().save(as_layer(package, locked, store.contents())), 0};
  action.record =
      Json::object({{"step", "extract " + locked.name}, {"package", locked.digest.to_string()}}).dump();
  store.record_action(action);
  return package;
}

void place_package(const Package& package, store::LayerBuilder& into,
                   const std::function<bool(const RootfsPath&)>& wanted) {
  std::map<RootfsPath, RootfsPath> placed;  // first names of hard links, where they went
  for (Entry e : package.files.entries()) {
    if (wanted && !wanted(e.path)) continue;
    RootfsPath original = e.path;
    e.path = store::resolve_links(into, e.path.parent()).child(e.path.filename());
    const Entry* old = into.find(e.path);
    if (e.is_directory()) {
      RootfsPath target = store::resolve_links(into, e.path);
      const Entry* there = into.find(target);
      if (there && there->is_directory()) continue;
      if (old && !old->is_directory()) e.path = target;  // a link to a directory that is yet to be made
    } else if (old && old->is_directory() && e.type == EntryType::kSymlink) {
      // A package that ships /bin as a link where others put files in /bin: only when the directory is empty.
      if (!into.list(e.path).empty()) continue;
    }
    if (e.is_hard_link()) {
      auto first = placed.find(e.hard_link);
      e.hard_link = first == placed.end() ? RootfsPath() : first->second;
      if (first == placed.end()) placed[package.files.find(original)->hard_link] = e.path;
    } else if (e.type == EntryType::kFile) {
      placed[original] = e.path;
    }
    if (!e.is_directory()) into.remove(e.path);
    into.put(std::move(e));
  }
}

void make_merged_usr(std::string_view architecture, store::LayerBuilder& into) {
  std::vector<std::string> names = {"bin", "sbin", "lib"};
  if (architecture == "amd64" || architecture == "ppc64el" || architecture == "mips64el")
    names.push_back("lib64");
  for (const std::string& name : names) {
    Entry directory = store::default_root();
    directory.path = RootfsPath("usr/" + name);
    into.put(directory);
    Entry link;
    link.path = RootfsPath(name);
    link.type = EntryType::kSymlink;
    link.link = "usr/" + name;
    into.put(link);
  }
}

}  // namespace corten::source::debian
