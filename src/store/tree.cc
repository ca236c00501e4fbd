#include "store/tree.h"

#include <map>

#include "base/error.h"
#include "base/strings.h"

namespace corten::store {

Entry default_root() {
  Entry root;
  root.type = EntryType::kDirectory;
  root.mode = 0755;
  return root;
}

EmptyTree::EmptyTree() : root_(default_root()) {}

RootfsView::RootfsView(std::vector<std::shared_ptr<const Manifest>> lowest_first)
    : layers_(std::move(lowest_first)), root_(default_root()) {}

namespace {
// Whether a layer hides what lower layers have at `path`: an ancestor is gone, is no directory, or is opaque.
bool hides(const Manifest& layer, const RootfsPath& path) {
  for (RootfsPath above = path; !above.is_root();) {
    above = above.parent();
    const Entry* entry = layer.find(above);
    if (entry && (!entry->is_directory() || entry->opaque)) return true;
  }
  return false;
}
}  // namespace

const Entry* RootfsView::find(const RootfsPath& path) const {
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    if (const Entry* entry = (*layer)->find(path))
      return entry->type == EntryType::kWhiteout ? nullptr : entry;
    if (hides(**layer, path)) return nullptr;
  }
  return path.is_root() ? &root_ : nullptr;
}

std::vector<const Entry*> RootfsView::list(const RootfsPath& directory) const {
  const Entry* itself = find(directory);
  if (!itself || !itself->is_directory()) return {};
  std::map<std::string_view, const Entry*> names;
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    const Manifest& manifest = **layer;
    for (const Entry* child : manifest.children(directory)) names.emplace(child->path.filename(), child);
    const Entry* here = manifest.find(directory);
    if ((here && (!here->is_directory() || here->opaque)) || hides(manifest, directory)) break;
  }
  std::vector<const Entry*> found;
  for (const auto& [name, entry] : names)
    if (entry->type != EntryType::kWhiteout) found.push_back(entry);
  return found;
}

RootfsPath resolve_links(const Tree& tree, const RootfsPath& path, bool follow_last) {
  constexpr int kMaxLinks = 255;
  std::vector<std::string> todo = path.components();
  std::reverse(todo.begin(), todo.end());
  RootfsPath here;
  for (int links = 0; !todo.empty();) {
    std::string name = std::move(todo.back());
    todo.pop_back();
    if (name == "..") {
      here = here.parent();
      continue;
    }
    RootfsPath next = here.child(name);
    const Entry* entry = tree.find(next);
    if (entry && entry->type == EntryType::kSymlink && (follow_last || !todo.empty())) {
      if (++links > kMaxLinks)
        fail(ErrorCode::kInvalid, "{}: too many levels of symbolic links", path.absolute());
      if (entry->link.starts_with('/')) here = RootfsPath();
      std::vector<std::string> parts = split(entry->link, '/');
      for (auto part = parts.rbegin(); part != parts.rend(); ++part)
        if (!part->empty() && *part != ".") todo.push_back(*part);
    } else {
      here = next;
    }
  }
  return here;
}

void walk(const Tree& tree, const RootfsPath& directory, const std::function<void(const Entry&)>& visit) {
  for (const Entry* entry : tree.list(directory)) {
    visit(*entry);
    if (entry->is_directory()) walk(tree, entry->path, visit);
  }
}

}  // namespace corten::store
