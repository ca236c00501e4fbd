#include "store/layer_builder.h"

#include <algorithm>

#include "base/error.h"

namespace corten::store {

bool LayerBuilder::hidden_here(const RootfsPath& path) const {
  for (RootfsPath above = path; !above.is_root();) {
    above = above.parent();
    auto change = changes_.find(above);
    if (change != changes_.end() && (!change->second.is_directory() || change->second.opaque)) return true;
  }
  return false;
}

const Entry* LayerBuilder::find(const RootfsPath& path) const {
  auto change = changes_.find(path);
  if (change != changes_.end())
    return change->second.type == EntryType::kWhiteout ? nullptr : &change->second;
  return hidden_here(path) ? nullptr : below_.find(path);
}

std::vector<const Entry*> LayerBuilder::list(const RootfsPath& directory) const {
  const Entry* itself = find(directory);
  if (!itself || !itself->is_directory()) return {};
  std::map<std::string_view, const Entry*> names;
  for (auto at = changes_.upper_bound(directory); at != changes_.end() && at->first.is_within(directory);
       ++at)
    if (at->first.parent() == directory) names[at->first.filename()] = &at->second;
  if (!itself->opaque && !hidden_here(directory))
    for (const Entry* child : below_.list(directory)) names.emplace(child->path.filename(), child);
  std::vector<const Entry*> found;
  for (const auto& [name, entry] : names)
    if (entry->type != EntryType::kWhiteout) found.push_back(entry);
  return found;
}

bool LayerBuilder::below_has_directory(const RootfsPath& path) const {
  if (hidden_here(path)) return false;
  const Entry* entry = below_.find(path);
  return entry && entry->is_directory();
}

// Drops the changes at and below a path. A hard link elsewhere that names a dropped file becomes the file
// itself.
void LayerBuilder::forget(const RootfsPath& path) {
  auto first = changes_.lower_bound(path), last = first;
  bool files = false;
  while (last != changes_.end() && last->first.is_within(path))
    files |= (last++)->second.type == EntryType::kFile;
  changes_.erase(first, last);
  if (!files) return;
  std::map<RootfsPath, RootfsPath> heirs;  // a dropped first name to the name that takes its part
  for (auto& [name, entry] : changes_) {
    if (!entry.is_hard_link() || !entry.hard_link.is_within(path)) continue;
    auto [heir, is_new] = heirs.emplace(entry.hard_link, name);
    entry.hard_link = is_new ? RootfsPath() : heir->second;
  }
}

void LayerBuilder::put(Entry entry) {
  if (!entry.path.is_root()) {
    Entry parent = default_root();
    make_directories(entry.path.parent(), parent);
  }
  const Entry* old = find(entry.path);
  if (entry.is_directory()) {
    if (old && old->is_directory()) {
      entry.opaque = old == below_.find(entry.path) ? false : old->opaque;
    } else {
      entry.opaque = below_has_directory(entry.path);
      forget(entry.path);
    }
  } else {
    forget(entry.path);
  }
  RootfsPath path = entry.path;
  changes_[path] = std::move(entry);
}

void LayerBuilder::replace(Entry entry) {
  RootfsPath path = entry.path;
  changes_[path] = std::move(entry);
}

void LayerBuilder::remove(const RootfsPath& path) {
  if (!find(path)) return;
  forget(path);
  if (hidden_here(path) || !below_.find(path)) return;
  Entry whiteout;
  whiteout.path = path;
  whiteout.type = EntryType::kWhiteout;
  changes_[path] = std::move(whiteout);
}

std::vector<RootfsPath> LayerBuilder::make_directories(const RootfsPath& path, const Entry& like) {
  const Entry* here = find(path);
  if (here) {
    if (!here->is_directory())
      fail(ErrorCode::kInvalid, "cannot make directory {}: it exists and is no directory", path.absolute());
    return {};
  }
  std::vector<RootfsPath> made;
  if (!path.is_root()) made = make_directories(path.parent(), like);
  Entry directory = like;
  directory.path = path;
  directory.type = EntryType::kDirectory;
  directory.opaque = below_has_directory(path);
  changes_[path] = std::move(directory);
  made.push_back(path);
  return made;
}

namespace {
// Hard links point to the first name in path order, whatever order the archive had.
Manifest with_ordered_hard_links(Manifest manifest) {
  std::map<RootfsPath, std::vector<const Entry*>> groups;
  for (const Entry& e : manifest.entries())
    if (e.is_hard_link()) groups[e.hard_link].push_back(&e);
  bool in_order = std::all_of(groups.begin(), groups.end(),
                              [](const auto& group) { return group.first < group.second.front()->path; });
  if (in_order) return manifest;
  std::map<RootfsPath, RootfsPath> first_of;
  for (const auto& [original, names] : groups) {
    RootfsPath first = std::min(original, names.front()->path);
    first_of[original] = first;
    for (const Entry* name : names) first_of[name->path] = first;
  }
  std::vector<Entry> entries = manifest.entries();
  for (Entry& e : entries)
    if (auto first = first_of.find(e.path); first != first_of.end())
      e.hard_link = first->second == e.path ? RootfsPath() : first->second;
  return Manifest(std::move(entries));
}

}  // namespace

// A layer stands in an overlay as a directory of its own, and of a directory that several layers have, the
// topmost says whose it is: so a layer holds every directory on the way to what it changes, as it is below.
void LayerBuilder::add_parents() {
  std::map<RootfsPath, Entry> parents;
  for (const auto& [path, entry] : changes_) {
    bool is_direct = true;
    for (RootfsPath above = path; !above.is_root(); is_direct = false) {
      above = above.parent();
      if (changes_.contains(above)) break;
      auto known = parents.find(above);
      if (known != parents.end()) {
        if (is_direct) known->second.time_ns.reset();
        break;
      }
      const Entry* below = below_.find(above);
      if (!below || !below->is_directory()) continue;
      Entry copy = *below;
      copy.path = above;
      copy.opaque = false;
      if (is_direct) copy.time_ns.reset();  // something was made in it
      Entry plain = default_root();
      if (above.is_root() && copy.mode == plain.mode && copy.uid == plain.uid && copy.gid == plain.gid)
        continue;
      parents.emplace(above, std::move(copy));
    }
  }
  changes_.merge(parents);
}

Manifest LayerBuilder::finish() {
  add_parents();
  std::vector<Entry> entries;
  entries.reserve(changes_.size());
  for (auto& [path, entry] : changes_) entries.push_back(std::move(entry));
  changes_.clear();
  return with_ordered_hard_links(Manifest(std::move(entries)));
}

}  // namespace corten::store
