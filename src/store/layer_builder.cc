#include "store/layer_builder.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace corten::store {

// A path that is changed, or that something changed lies below. There may be a million: most have no
// children, and the path stands once, in the entry.
struct LayerBuilder::Node {
  struct ByName {
    using is_transparent = void;
    bool operator()(const Node* a, const Node* b) const { return a->name() < b->name(); }
    bool operator()(const Node* a, std::string_view name) const { return a->name() < name; }
    bool operator()(std::string_view name, const Node* a) const { return name < a->name(); }
  };
  using Children = std::set<Node*, ByName>;

  Entry entry;              // its path is what the node is found by
  bool is_changed = false;  // the rest of the entry counts
  bool hides = false;       // what the tree below has in it is not seen
  Node* parent = nullptr;   // nullptr for the root's
  std::unique_ptr<Children> own_children;

  std::string_view path() const { return entry.path.str(); }
  std::string_view name() const { return entry.path.filename(); }
  const Children& children() const {
    static const Children kNone;
    return own_children ? *own_children : kNone;
  }
  // Most often they come in order.
  void adopt(Node& child) {
    child.parent = this;
    if (!own_children) own_children = std::make_unique<Children>();
    own_children->insert(own_children->end(), &child);
  }
};

namespace {
std::string_view parent_of(std::string_view path) {
  size_t slash = path.find_last_of('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}
}  // namespace

LayerBuilder::LayerBuilder(const Tree& below) : below_(below) {}
LayerBuilder::~LayerBuilder() = default;

size_t LayerBuilder::ByPath::operator()(const std::unique_ptr<Node>& node) const {
  return (*this)(node->path());
}
bool LayerBuilder::ByPath::operator()(const std::unique_ptr<Node>& a, const std::unique_ptr<Node>& b) const {
  return a->path() == b->path();
}
bool LayerBuilder::ByPath::operator()(const std::unique_ptr<Node>& a, std::string_view path) const {
  return a->path() == path;
}
bool LayerBuilder::ByPath::operator()(std::string_view path, const std::unique_ptr<Node>& a) const {
  return a->path() == path;
}

LayerBuilder::Node* LayerBuilder::node_at(std::string_view path) const {
  auto at = nodes_.find(path);
  return at == nodes_.end() ? nullptr : at->get();
}

LayerBuilder::Node& LayerBuilder::add_node(std::string_view path) {
  auto node = std::make_unique<Node>();
  node->entry.path = RootfsPath(path);
  return **nodes_.insert(std::move(node)).first;
}

// Entries come directory by directory, so the last one's parent is most often the next one's.
LayerBuilder::Node* LayerBuilder::parent_node_of(std::string_view path) const {
  std::string_view parent = parent_of(path);
  if (!last_parent_ || last_parent_->path() != parent) last_parent_ = node_at(parent);
  return last_parent_;
}

LayerBuilder::Node& LayerBuilder::make_node(const RootfsPath& path) {
  if (Node* there = node_at(path.str())) return *there;
  if (Node* parent = path.is_root() ? nullptr : parent_node_of(path.str())) {
    Node& made = add_node(path.str());
    made.hides = parent->hides;
    parent->adopt(made);
    return made;
  }
  std::string_view missing = path.str();
  std::vector<Node*> made;  // the deepest first
  Node* above = nullptr;    // the nearest one that is there
  while (!above) {
    made.push_back(&add_node(missing));
    if (missing.empty()) break;
    missing = parent_of(missing);
    above = node_at(missing);
  }
  for (auto node = made.rbegin(); node != made.rend(); ++node) {
    if (above) above->adopt(**node);
    (*node)->hides = above && above->hides;
    above = *node;
  }
  return *made.front();
}

// Whether the changes above a path hide what the tree below has there. The parent is asked first, then the
// nodes from the root down: climbing would cost the square of the depth where a long path is missing.
bool LayerBuilder::is_hidden(const RootfsPath& path) const {
  if (path.is_root()) return false;
  if (const Node* parent = parent_node_of(path.str())) return parent->hides;
  const Node* nearest = node_at({});
  for (std::string_view rest = path.str(); nearest; rest.remove_prefix(rest.find('/') + 1)) {
    auto child = nearest->children().find(rest.substr(0, rest.find('/')));
    if (child == nearest->children().end()) return nearest->hides;
    nearest = *child;
  }
  return false;
}

const Entry* LayerBuilder::find(const RootfsPath& path) const {
  const Node* node = node_at(path.str());
  if (node && node->is_changed) return node->entry.type == EntryType::kWhiteout ? nullptr : &node->entry;
  return is_hidden(path) ? nullptr : below_.find(path);
}

std::vector<const Entry*> LayerBuilder::list(const RootfsPath& directory) const {
  const Entry* itself = find(directory);
  if (!itself || !itself->is_directory()) return {};
  std::map<std::string_view, const Entry*> names;
  const Node* node = node_at(directory.str());
  if (node)
    for (const Node* child : node->children())
      if (child->is_changed) names.emplace_hint(names.end(), child->name(), &child->entry);
  if (node ? !node->hides : !is_hidden(directory))
    for (const Entry* child : below_.list(directory)) names.emplace(child->path.filename(), child);
  std::vector<const Entry*> found;
  for (const auto& [name, entry] : names)
    if (entry->type != EntryType::kWhiteout) found.push_back(entry);
  return found;
}

bool LayerBuilder::below_has_directory(const RootfsPath& path) const {
  if (is_hidden(path)) return false;
  const Entry* entry = below_.find(path);
  return entry && entry->is_directory();
}

void LayerBuilder::unlink_name(const Entry& entry) {
  auto names = other_names_.find(entry.hard_link.str());
  if (names == other_names_.end()) return;
  names->second.erase(entry.path);
  if (names->second.empty()) other_names_.erase(names);
}

void LayerBuilder::set(Entry entry) {
  Node& node = make_node(entry.path);
  if (node.is_changed && node.entry.is_hard_link()) unlink_name(node.entry);
  if (!node.is_changed) change_count_++;
  if (entry.is_hard_link()) other_names_[entry.hard_link.str()].insert(entry.path);
  node.hides = (node.parent && node.parent->hides) || !entry.is_directory() || entry.opaque ||
               !below_.find(entry.path);
  node.entry = std::move(entry);
  node.is_changed = true;
}

// Drops what a node and those below it say, and the nodes below it. Gives the files among them that may have
// other names.
void LayerBuilder::drop(Node& top, std::vector<Entry>& files) {
  std::vector<Node*> nodes = {&top};
  for (size_t i = 0; i < nodes.size(); i++)
    for (Node* child : nodes[i]->children()) nodes.push_back(child);
  for (Node* node : nodes) {
    if (!node->is_changed) continue;
    if (node->entry.is_hard_link())
      unlink_name(node->entry);
    else if (node->entry.type == EntryType::kFile)
      files.push_back(node->entry);
    change_count_--;
    node->is_changed = false;
  }
  top.own_children.reset();
  last_parent_ = nullptr;
  for (size_t i = nodes.size(); i-- > 1;) nodes_.erase(nodes_.find(nodes[i]->path()));
  top.hides = top.parent && top.parent->hides;
}

// Drops the changes at and below a path. A hard link elsewhere that names a dropped file becomes the file
// itself.
void LayerBuilder::forget(const RootfsPath& path) {
  Node* node = node_at(path.str());
  if (!node) return;
  // An archive that replaces the names of one file one by one would take the square of their number.
  constexpr uint64_t kMostRenamed = 5'000'000;
  std::vector<Entry> files;
  drop(*node, files);
  for (const Entry& file : files) {
    auto names = other_names_.find(file.path.str());
    if (names == other_names_.end()) continue;
    renamed_ += names->second.size();
    if (renamed_ > kMostRenamed)
      fail(ErrorCode::kInvalid, "{}: too many hard links are replaced one after the other",
           quote(file.path.absolute()));
    std::set<RootfsPath> heirs = std::move(names->second);
    other_names_.erase(names);
    RootfsPath heir = heirs.extract(heirs.begin()).value();
    Entry& successor = node_at(heir.str())->entry;
    successor.hard_link = RootfsPath();
    successor.mode = file.mode;
    successor.uid = file.uid;
    successor.gid = file.gid;
    for (const RootfsPath& name : heirs) node_at(name.str())->entry.hard_link = heir;
    if (!heirs.empty()) other_names_[heir.str()] = std::move(heirs);
  }
}

void LayerBuilder::put(Entry entry) {
  const Node* parent = entry.path.is_root() ? nullptr : parent_node_of(entry.path.str());
  bool is_in_place = entry.path.is_root() || (parent && parent->is_changed && parent->entry.is_directory());
  if (!is_in_place) make_directories(entry.path.parent(), default_root());
  const Entry* old = find(entry.path);
  if (entry.is_directory()) {
    if (old && old->is_directory()) {
      const Node* node = node_at(entry.path.str());
      entry.opaque = node && node->is_changed && node->entry.opaque;
    } else {
      entry.opaque = below_has_directory(entry.path);
      forget(entry.path);
    }
  } else {
    forget(entry.path);
  }
  set(std::move(entry));
}

void LayerBuilder::replace(Entry entry) {
  set(std::move(entry));
}

void LayerBuilder::remove(const RootfsPath& path) {
  if (!find(path)) return;
  forget(path);
  if (is_hidden(path) || !below_.find(path)) return;
  Entry whiteout;
  whiteout.path = path;
  whiteout.type = EntryType::kWhiteout;
  set(std::move(whiteout));
}

std::vector<RootfsPath> LayerBuilder::make_directories(const RootfsPath& path, const Entry& like) {
  std::vector<RootfsPath> missing;  // the deepest first
  for (RootfsPath here = path;; here = here.parent()) {
    const Entry* there = find(here);
    if (there) {
      if (!there->is_directory())
        fail(ErrorCode::kInvalid, "cannot make directory {}: it exists and is no directory", here.absolute());
      break;
    }
    missing.push_back(here);
    if (here.is_root()) break;
  }
  std::reverse(missing.begin(), missing.end());
  for (const RootfsPath& here : missing) {
    Entry directory = like;
    directory.path = here;
    directory.type = EntryType::kDirectory;
    directory.opaque = below_has_directory(here);
    set(std::move(directory));
  }
  return missing;
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
std::unordered_map<const LayerBuilder::Node*, std::optional<Entry>> LayerBuilder::parents_on_the_way() const {
  std::unordered_map<const Node*, std::optional<Entry>> parents;
  for (const auto& node : nodes_) {
    if (!node->is_changed) continue;
    const Node* above = node->parent;
    for (bool is_direct = true; above && !above->is_changed; above = above->parent, is_direct = false) {
      auto [parent, is_new] = parents.try_emplace(above);
      if (is_new) {
        const Entry* below = below_.find(above->entry.path);
        Entry plain = default_root();
        if (below && below->is_directory() &&
            !(above->path().empty() && below->mode == plain.mode && below->uid == plain.uid &&
              below->gid == plain.gid)) {
          parent->second = *below;
          parent->second->path = above->entry.path;
          parent->second->opaque = false;
        }
      }
      if (is_direct && parent->second) parent->second->time_ns.reset();  // something was made in it
      if (!is_new) break;
    }
  }
  return parents;
}

void LayerBuilder::even_out_links() {
  for (const auto& [first, names] : other_names_) {
    const Node* node = node_at(first);
    if (!node || !node->is_changed || node->entry.type != EntryType::kFile) continue;
    for (const RootfsPath& name : names) {
      Entry& entry = node_at(name.str())->entry;
      entry.mode = node->entry.mode;
      entry.uid = node->entry.uid;
      entry.gid = node->entry.gid;
    }
  }
}

Manifest LayerBuilder::finish() {
  even_out_links();
  auto parents = parents_on_the_way();
  std::vector<Entry> entries;
  entries.reserve(parents.size() + change_count_);
  // From the root down, which is the order of a manifest.
  std::vector<Node*> next;
  if (Node* root = node_at({})) next.push_back(root);
  while (!next.empty()) {
    Node* node = next.back();
    next.pop_back();
    for (auto child = node->children().rbegin(); child != node->children().rend(); ++child)
      next.push_back(*child);
    // From here on no node is found by its path.
    if (node->is_changed)
      entries.push_back(std::move(node->entry));
    else if (auto parent = parents.find(node); parent != parents.end() && parent->second)
      entries.push_back(std::move(*parent->second));
  }
  nodes_.clear();
  last_parent_ = nullptr;
  other_names_.clear();
  change_count_ = 0;
  return with_ordered_hard_links(Manifest(std::move(entries)));
}

}  // namespace corten::store
