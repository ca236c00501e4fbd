#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "build/copy.h"
#include "dockerfile/ignore.h"

namespace corten::build {

using store::Entry;
using store::EntryType;

std::vector<const Entry*> Selection::files() const {
  std::vector<const Entry*> found;
  for (const Selected& item : items) {
    if (item.is_remote) continue;
    if (item.entry->type == EntryType::kFile) found.push_back(item.entry);
    for (const Entry* e : item.below)
      if (e->type == EntryType::kFile) found.push_back(e);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

namespace {

[[noreturn]] void not_found(const store::Tree& tree, std::string_view place, const RootfsPath& path) {
  Error error(
      ErrorCode::kNotFound,
      fmt::format("failed to compute cache key: failed to calculate checksum of ref {}: {}: not found", place,
                  quote(path.absolute())));
  std::vector<std::string> names;
  for (const Entry* sibling : tree.list(path.parent())) names.emplace_back(sibling->path.filename());
  if (auto near = suggest(path.filename(), names))
    error.set_hint(fmt::format("did you mean {}?", path.parent().child(*near).absolute()));
  else
    error.set_hint(fmt::format("paths are looked up in {}; an ignore file may hide them", place));
  throw error;
}

class Selector {
 public:
  Selector(const CopyStep& step, const store::Tree& tree, std::string_view place)
      : step_(step), tree_(tree), place_(place), excludes_(step.excludes) {}

  Selection run(const std::map<size_t, RemoteTree>& remotes) {
    for (size_t i = 0; i < step_.sources.size(); i++) {
      const std::string& source = step_.sources[i];
      if (auto remote = remotes.find(i); remote != remotes.end())
        add_remote(remote->second);
      else if (step_.parents)
        with_parents(source);
      else if (has_wildcard(source))
        wildcard(source);
      else
        literal(source);
    }
    return std::move(selection_);
  }

 private:
  // A backslash alone makes no wildcard (as BuildKit has it).
  static bool has_wildcard(std::string_view text) {
    return text.find_first_of("*?[") != std::string_view::npos;
  }

  void literal(const std::string& source) {
    selection_.wildcard_only = false;
    RootfsPath path(source);
    const Entry* entry = tree_.find(store::resolve_links(tree_, path));
    if (!entry) not_found(tree_, place_, path);
    add(*entry, std::string(path.filename()));
  }

  void wildcard(const std::string& source) {
    std::vector<std::string> components = RootfsPath(source).components();
    for (const std::string& component : components)
      match_glob(component, "");  // a bad pattern is an error in any case
    match(components, 0, RootfsPath());
  }

  void match(const std::vector<std::string>& components, size_t index, const RootfsPath& directory) {
    const std::string& pattern = components[index];
    bool is_last = index + 1 == components.size();
    if (!has_wildcard(pattern)) {
      // Links are followed in the literal part before the first wildcard only.
      bool is_prefix = std::none_of(components.begin(), components.begin() + static_cast<long>(index),
                                    [](const std::string& c) { return has_wildcard(c); });
      std::string name = unescaped(pattern);
      RootfsPath path = directory.child(name);
      if (is_prefix && !is_last) path = store::resolve_links(tree_, path);
      const Entry* entry = tree_.find(path);
      if (!entry) return;
      if (is_last)
        matched(*entry, name);
      else if (entry->is_directory())
        match(components, index + 1, path);
      return;
    }
    for (const Entry* child : tree_.list(directory)) {
      std::string name(child->path.filename());
      if (!match_glob(pattern, name)) continue;
      if (is_last)
        matched(*child, name);
      else if (child->is_directory())
        match(components, index + 1, child->path);
    }
  }

  static std::string unescaped(std::string_view pattern) {
    std::string text;
    for (size_t i = 0; i < pattern.size(); i++) {
      if (pattern[i] == '\\' && i + 1 < pattern.size()) i++;
      text += pattern[i];
    }
    return text;
  }

  void matched(const Entry& entry, const std::string& name) {
    const Entry* target = &entry;
    if (entry.type == EntryType::kSymlink) {
      target = tree_.find(store::resolve_links(tree_, entry.path));
      if (!target) not_found(tree_, place_, entry.path);
    }
    add(*target, name);
  }

  void add_remote(const RemoteTree& remote) {
    selection_.wildcard_only = false;
    Selector inside(step_, *remote.tree, place_);
    inside.add(*remote.tree->find(remote.file.empty() ? RootfsPath() : RootfsPath().child(remote.file)),
               remote.file);
    for (Selected& item : inside.selection_.items) {
      item.is_remote = true;
      selection_.items.push_back(std::move(item));
    }
  }

  void add(const Entry& entry, std::string name) {
    Selected item;
    item.entry = &entry;
    item.name = std::move(name);
    if (entry.is_directory()) {
      if (step_.excludes.empty()) tree_.expect(entry.path);
      gather(entry.path, entry.path, {}, item.below);
    }
    selection_.items.push_back(std::move(item));
  }

  // --parents: patterns are relative to the base, and apply to what is named too.
  void add_with_base(const Entry& entry, const RootfsPath& base) {
    std::string relative = base.is_root()       ? entry.path.str()
                           : entry.path == base ? ""
                                                : entry.path.str().substr(base.str().size() + 1);
    if (!relative.empty() && excludes_.is_ignored(relative) &&
        (!entry.is_directory() || excludes_.can_prune(relative)))
      return;
    Selected item;
    item.entry = &entry;
    item.name = std::string(entry.path.filename());
    item.base = base;
    if (entry.is_directory()) {
      dockerfile::IgnoreMatcher::State state;
      RootfsPath here;
      for (const std::string& component : RootfsPath(relative).components()) {
        here = here.child(component);
        state = excludes_.match(here.str(), state).state;
      }
      gather(base, entry.path, state, item.below);
    }
    selection_.items.push_back(std::move(item));
  }

  // Patterns of --exclude are relative to each source; they never apply to the source itself.
  void gather(const RootfsPath& root, const RootfsPath& directory,
              const dockerfile::IgnoreMatcher::State& state, std::vector<const Entry*>& into) {
    for (const Entry* child : tree_.list(directory)) {
      std::string relative =
          root.is_root() ? child->path.str() : child->path.str().substr(root.str().size() + 1);
      auto match = excludes_.match(relative, state);
      if (match.is_ignored && (!child->is_directory() || excludes_.can_prune(relative))) continue;
      size_t before = into.size();
      into.push_back(child);
      if (child->is_directory()) gather(root, child->path, match.state, into);
      if (match.is_ignored && into.size() == before + 1) into.pop_back();
    }
  }

  // `a/b/./c/*`: what matches c/* below a/b, with its directories from there.
  void with_parents(const std::string& source) {
    std::string text = source;
    while (text.starts_with('/')) text.erase(0, 1);
    std::string prefix;
    if (text.starts_with("./")) {
      text.erase(0, 2);
    } else if (size_t pivot = text.find("/./"); pivot != std::string::npos) {
      prefix = text.substr(0, pivot);
      text = text.substr(pivot + 3);
    }
    RootfsPath base(prefix);
    bool is_pattern = has_wildcard(text);
    if (!is_pattern) selection_.wildcard_only = false;
    std::vector<RootfsPath> bases;
    if (has_wildcard(prefix))
      bases = directories_matching(base.components(), 0, RootfsPath());
    else
      bases.push_back(base);
    for (const RootfsPath& directory : bases) {
      const Entry* at = tree_.find(directory);
      if (!at || !at->is_directory()) {
        if (is_pattern || has_wildcard(prefix)) continue;
        not_found(tree_, place_, RootfsPath(source));
      }
      RootfsPath rest(text);
      if (!is_pattern) {
        RootfsPath path = rest.is_root() ? directory : RootfsPath::join(directory, rest.str());
        const Entry* entry = tree_.find(path);
        if (!entry) {
          if (has_wildcard(prefix)) continue;
          not_found(tree_, place_, RootfsPath(source));
        }
        add_with_base(*entry, directory);
      } else {
        dockerfile::IgnoreMatcher includes({rest.str()});
        included(directory, directory, includes, {});
      }
    }
  }

  std::vector<RootfsPath> directories_matching(const std::vector<std::string>& components, size_t index,
                                               const RootfsPath& directory) {
    if (index == components.size()) return {directory};
    std::vector<RootfsPath> found;
    for (const Entry* child : tree_.list(directory))
      if (child->is_directory() && match_glob(components[index], child->path.filename()))
        for (RootfsPath& path : directories_matching(components, index + 1, child->path))
          found.push_back(std::move(path));
    return found;
  }

  void included(const RootfsPath& base, const RootfsPath& directory,
                const dockerfile::IgnoreMatcher& includes, const dockerfile::IgnoreMatcher::State& state) {
    for (const Entry* child : tree_.list(directory)) {
      std::string relative =
          base.is_root() ? child->path.str() : child->path.str().substr(base.str().size() + 1);
      auto match = includes.match(relative, state);
      if (match.is_ignored) {
        add_with_base(*child, base);
      } else if (child->is_directory()) {
        included(base, child->path, includes, match.state);
      }
    }
  }

  const CopyStep& step_;
  const store::Tree& tree_;
  std::string_view place_;
  dockerfile::IgnoreMatcher excludes_;
  Selection selection_;
};

}  // namespace

Selection select_sources(const CopyStep& step, const store::Tree& tree, std::string_view place,
                         const std::map<size_t, RemoteTree>& remotes) {
  return Selector(step, tree, place).run(remotes);
}

namespace {

// Which name of a file is the first in its tree depends on what was read before: here it is the item's first.
std::vector<Entry> with_own_first_names(std::span<const Entry* const> entries) {
  std::vector<Entry> copies;
  std::map<RootfsPath, RootfsPath> first_names;
  for (const Entry* e : entries) {
    copies.push_back(*e);
    if (e->type != EntryType::kFile) continue;
    auto [first, is_first] = first_names.emplace(e->is_hard_link() ? e->hard_link : e->path, e->path);
    copies.back().hard_link = is_first ? RootfsPath() : first->second;
  }
  return copies;
}

}  // namespace

Digest selection_digest(const Selection& selection, bool with_times) {
  Sha256 hash;
  for (const Selected& item : selection.items) {
    std::vector<const Entry*> entries = {item.entry};
    entries.insert(entries.end(), item.below.begin(), item.below.end());
    std::vector<Entry> renamed;
    if (std::any_of(entries.begin(), entries.end(), [](const Entry* e) { return e->is_hard_link(); })) {
      renamed = with_own_first_names(entries);
      for (size_t i = 0; i < entries.size(); i++) entries[i] = &renamed[i];
    }
    hash.update(item.name).update("\n", 1).update(item.base.str()).update("\n", 1);
    hash.update(store::serialize_entries(entries, {.times = with_times || item.is_remote, .opaque = false}));
  }
  return hash.finish();
}

}  // namespace corten::build
