#include "cache/buildkit_content.h"

#include <algorithm>
#include <functional>
#include <map>

#include <fmt/core.h>

#include "archive/source.h"
#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"

namespace corten::cache {

using store::Entry;
using store::EntryType;

namespace {

constexpr size_t kReadBytes = 256 << 10;

// What is not known for sure: no digest at all.
struct Unknown {};

std::string header(const Entry& e) {
  char type = '0';
  switch (e.type) {
    case EntryType::kFile:
      break;
    case EntryType::kDirectory:
      type = '5';
      break;
    case EntryType::kSymlink:
      type = '2';
      break;
    case EntryType::kFifo:
      type = '6';
      break;
    default:
      throw Unknown();
  }
  const bool is_link = e.type == EntryType::kSymlink;
  std::string text = fmt::format("namemode{}uid{}gid{}size{}typeflag{}linkname{}unamegnamedevmajor0devminor0",
                                 is_link ? 0777 : e.mode, e.uid, e.gid,
                                 e.type == EntryType::kFile ? e.size : 0, type, is_link ? e.link : "");
  for (const auto& [name, value] : e.xattrs.map())
    if (name == "security.capability" || (!name.starts_with("security.") && !name.starts_with("system.")))
      text += name + value;
  return text;
}

// The bytes before which BuildKit's tree of paths has a seam of its own.
void check_name(std::string_view name) {
  if (name.empty() || name[0] == '\xff') throw Unknown();
}

class Hasher {
 public:
  Hasher(const BuildkitFiles& files, const store::Contents& contents)
      : tree_(*files.tree), is_context_(files.is_context), contents_(contents) {}

  Digest digest_of(const BuildkitPath& path) {
    return path.is_pattern ? of_pattern(path) : of_path(path.path, path.follows_links);
  }

 private:
  struct Matched {
    std::string path;  // absolute, as it was asked for
    Digest digest;
  };

  const Entry& entry_at(const RootfsPath& path, bool follows) {
    const Entry* e = tree_.find(store::resolve_links(tree_, path, follows));
    if (!e) throw Unknown();
    return *e;
  }

  Digest of_path(const std::string& path, bool follows) {
    const Entry& e = entry_at(RootfsPath(path), follows);
    fetch(e);
    return of(e);
  }

  // All bytes that will be read, at once.
  void fetch(const Entry& e) {
    std::vector<const Entry*> files;
    auto add = [&](const Entry& one) {
      if (one.type == EntryType::kFile) files.push_back(&one);
    };
    add(e);
    if (e.is_directory()) {
      tree_.expect(e.path);
      store::walk(tree_, e.path, add);
    }
    tree_.compute_digests(files);
    tree_.ingest(files);
  }

  Digest own(const Entry& e) {
    if (e.path.is_root() && is_context_) return Digest::of("");
    Sha256 hash;
    hash.update(header(e));
    if (e.type == EntryType::kFile && e.size > 0) {
      const UniqueFd fd = contents_.open(e.content);
      archive::FdSource from(fd.get(), e.path.absolute());
      std::string buffer(kReadBytes, '\0');
      while (const size_t n = from.read(buffer.data(), buffer.size())) hash.update(buffer.data(), n);
    }
    return hash.finish();
  }

  std::vector<const Entry*> children(const Entry& directory) {
    std::vector<const Entry*> list = tree_.list(directory.path);
    for (const Entry* child : list) check_name(child->path.filename());
    std::sort(list.begin(), list.end(),
              [](const Entry* a, const Entry* b) { return a->path.filename() < b->path.filename(); });
    return list;
  }

  // The entry with all that is below it.
  Digest of(const Entry& e) {
    if (!e.is_directory()) return own(e);
    Sha256 hash;
    hash.update(std::string_view("\0", 1)).update(own(e).to_string());
    for (const Entry* child : children(e)) {
      hash.update(std::string_view("\0", 1)).update(child->path.filename());
      hash.update(of(*child).to_string());
    }
    return hash.finish();
  }

  // Links are followed up to the first component with a wildcard, and at the end of what matches.
  Digest of_pattern(const BuildkitPath& path) {
    const std::string pattern = RootfsPath(path.path).absolute();
    const std::vector<std::string> components = RootfsPath(path.path).components();
    size_t plain = 0;
    while (plain < components.size() && !is_buildkit_pattern(components[plain])) plain++;
    RootfsPath prefix;
    for (size_t i = 0; i < plain; i++) prefix = prefix.child(components[i]);
    const std::string shown = prefix.is_root() ? "" : prefix.absolute();
    std::vector<Matched> matched;
    const Entry* start = tree_.find(store::resolve_links(tree_, prefix));
    if (start && start->is_directory())
      match(*start, shown, pattern, components.size() - plain, path.follows_links, matched);
    if (matched.empty()) return Digest::of("");
    const auto name_of = [](const std::string& text) { return text.substr(text.rfind('/') + 1); };
    if (matched.size() == 1 && name_of(pattern) == name_of(matched[0].path)) return matched[0].digest;
    Sha256 hash;
    for (const Matched& one : matched) {
      std::string key = one.path.substr(shown.size());
      std::replace(key.begin(), key.end(), '/', '\0');
      hash.update(key).update(one.digest.to_string());
    }
    return hash.finish();
  }

  void match(const Entry& directory, const std::string& shown, const std::string& pattern, size_t depth,
             bool follows, std::vector<Matched>& matched) {
    for (const Entry* child : children(directory)) {
      const std::string path = shown + "/" + std::string(child->path.filename());
      if (match_glob(pattern, path)) {
        if (child->type == EntryType::kSymlink && follows) {
          matched.push_back({path, of_path(path, true)});
        } else {
          fetch(*child);
          add_all(*child, path, matched);
        }
      } else if (depth > 1 && child->is_directory()) {
        match(*child, path, pattern, depth - 1, follows, matched);
      }
    }
  }

  // Each by itself: what lies in a directory, and the directory's own header.
  void add_all(const Entry& e, const std::string& path, std::vector<Matched>& matched) {
    matched.push_back({path, own(e)});
    if (e.is_directory())
      for (const Entry* child : children(e))
        add_all(*child, path + "/" + std::string(child->path.filename()), matched);
  }

  const store::Tree& tree_;
  const bool is_context_;
  const store::Contents& contents_;
};

}  // namespace

std::optional<Digest> buildkit_content_digest(const BuildkitFiles& files,
                                              const std::vector<BuildkitPath>& paths,
                                              const store::Contents& contents) {
  try {
    Hasher hasher(files, contents);
    std::vector<std::string> digests;
    if (paths.empty()) digests.push_back(hasher.digest_of({"/", false, false}).to_string());
    for (const BuildkitPath& path : paths) digests.push_back(hasher.digest_of(path).to_string());
    return Digest::of(join(digests, std::string_view("\0", 1)));
  } catch (const Unknown&) {
    return std::nullopt;
  }
}

}  // namespace corten::cache
