#include "cache/buildkit_content.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "archive/source.h"
#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "dockerfile/ignore.h"

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
    return path.is_filtered() ? of_filtered(path) : of_path(path.path, path.follows_links);
  }

 private:
  // A file, or a directory's own header.
  struct Matched {
    std::string path;  // absolute, as it was asked for
    const Entry* entry = nullptr;
    bool follows = false;
    bool is_included = false;
    dockerfile::IgnoreMatcher::State includes, excludes;
  };
  struct Filter {
    const BuildkitPath& asked;
    std::string pattern;  // the whole path
    std::string shown;    // the part of it that was looked up, "" is the root
    dockerfile::IgnoreMatcher includes, excludes;
    std::string matched;  // what the pattern matched last
    std::vector<Matched> above, found;
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
  Digest of_filtered(const BuildkitPath& path) {
    Filter filter{.asked = path,
                  .pattern = RootfsPath(path.path).absolute(),
                  .shown = "",
                  .includes = dockerfile::IgnoreMatcher(path.includes),
                  .excludes = dockerfile::IgnoreMatcher(path.excludes),
                  .matched = "",
                  .above = {},
                  .found = {}};
    const std::vector<std::string> components = RootfsPath(path.path).components();
    RootfsPath prefix;
    for (const std::string& component : components) {
      if (path.is_pattern && is_buildkit_pattern(component)) break;
      prefix = prefix.child(component);
    }
    if (!prefix.is_root()) filter.shown = prefix.absolute();
    const Entry* start = tree_.find(store::resolve_links(tree_, prefix, path.is_pattern));
    if (!start) return Digest::of("");
    visit(*start, filter.shown, components.size() - prefix.components().size(), filter);
    return of_list(filter);
  }

  // Parents first. A directory that is left out may hold what is not; its header comes with the first of
  // these.
  void visit(const Entry& e, const std::string& path, size_t depth, Filter& filter) {
    Matched here{.path = path, .entry = &e};
    bool is_included = false, is_matched = true;
    if (filter.asked.is_pattern && (filter.matched.empty() || !path.starts_with(filter.matched + "/"))) {
      is_matched = match_glob(filter.pattern, path);
      if (is_matched) filter.matched = path;
    }
    // The header of a root that is named with its slash does not count.
    const bool is_named_root = path.empty();
    if (is_matched && !is_named_root) {
      const std::string& top = filter.asked.is_pattern ? filter.matched : filter.shown;
      const std::string relative = path.size() > top.size() ? path.substr(top.size() + 1) : "";
      is_included = is_wanted(relative, here, filter);
      here.follows = filter.above.empty() && filter.asked.follows_links;
      here.is_included = is_included;
      if (is_included) {
        for (Matched& parent : filter.above)
          if (!std::exchange(parent.is_included, true)) filter.found.push_back(parent);
        filter.found.push_back(here);
      }
    }
    if (!e.is_directory()) return;
    const bool is_header = is_matched && !is_named_root;
    if (!is_matched && depth == 0) return;
    if (is_header) filter.above.push_back(here);
    for (const Entry* child : children(e))
      visit(*child, path + "/" + std::string(child->path.filename()), depth ? depth - 1 : 0, filter);
    if (is_header) filter.above.pop_back();
  }

  static bool is_wanted(const std::string& relative, Matched& here, const Filter& filter) {
    const Matched none, &parent = filter.above.empty() ? none : filter.above.back();
    if (!filter.asked.includes.empty()) {
      auto match = filter.includes.match(relative, parent.includes);
      here.includes = std::move(match.state);
      if (!match.is_ignored) return false;
    }
    if (!filter.asked.excludes.empty()) {
      auto match = filter.excludes.match(relative, parent.excludes);
      here.excludes = std::move(match.state);
      if (match.is_ignored) return false;
    }
    return true;
  }

  Digest of_list(const Filter& filter) {
    if (filter.found.empty()) return Digest::of("");
    std::vector<const Entry*> files;
    for (const Matched& one : filter.found)
      if (one.entry->type == EntryType::kFile) files.push_back(one.entry);
    tree_.compute_digests(files);
    tree_.ingest(files);
    const auto digest = [&](const Matched& one) {
      return one.follows && one.entry->type == EntryType::kSymlink ? of_path(one.path, true)
                                                                   : own(*one.entry);
    };
    const auto name_of = [](const std::string& text) { return text.substr(text.rfind('/') + 1); };
    if (filter.found.size() == 1 && name_of(filter.pattern) == name_of(filter.found[0].path))
      return digest(filter.found[0]);
    Sha256 hash;
    for (const Matched& one : filter.found) {
      std::string key = one.path.substr(filter.shown.size());
      std::replace(key.begin(), key.end(), '/', '\0');
      if (key.empty()) key.assign(1, '\0');
      hash.update(key).update(digest(one).to_string());
    }
    return hash.finish();
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
    if (paths.empty()) digests.push_back(hasher.digest_of({"/"}).to_string());
    for (const BuildkitPath& path : paths) digests.push_back(hasher.digest_of(path).to_string());
    return Digest::of(join(digests, std::string_view("\0", 1)));
  } catch (const Unknown&) {
    return std::nullopt;
  }
}

}  // namespace corten::cache
