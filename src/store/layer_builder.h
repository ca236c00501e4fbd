// A layer in the making: changes on top of a tree, with the rules by which paths replace each other.
//
// The changes lie in a tree of nodes that are found by their whole path: what a change hides is known at its
// node, so that a look-up need not climb, and what lies below a path is reached through its node, so that
// replacing it costs what is replaced. A hostile archive may nest 2,000 directories and name everything
// twice; the cost stays linear in the bytes of its names.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "store/tree.h"

namespace corten::store {

// Not thread-safe. `below` must outlive it.
class LayerBuilder : public Tree {
 public:
  explicit LayerBuilder(const Tree& below);
  ~LayerBuilder() override;
  LayerBuilder(const LayerBuilder&) = delete;
  LayerBuilder& operator=(const LayerBuilder&) = delete;

  // The tree with the changes so far.
  const Entry* find(const RootfsPath& path) const override;
  std::vector<const Entry*> list(const RootfsPath& directory) const override;

  // Sets a path. A non-directory takes the place of whatever is there; a directory is merged into a
  // directory, and takes the place of anything else. Missing parents are made (0755, 0:0). Error(kInvalid)
  // when a parent is no directory. Other names of a replaced hard link keep the file. Mode and owner of a
  // file with several names are those of its first name: finish() gives them to the others.
  void put(Entry entry);
  // Changes an entry that put() has set, without touching what names it.
  void replace(Entry entry);
  // Takes a path away, with all below it; nothing happens when it is absent.
  void remove(const RootfsPath& path);
  // Makes the missing directories of a path, itself included, as `like` (path and type are set); gives those
  // that it made, the topmost first.
  std::vector<RootfsPath> make_directories(const RootfsPath& path, const Entry& like);

  bool empty() const { return change_count_ == 0; }
  Manifest finish();

 private:
  struct Node;
  struct PathHash {
    using is_transparent = void;
    size_t operator()(std::string_view path) const { return std::hash<std::string_view>{}(path); }
  };
  struct ByPath : PathHash {
    using PathHash::operator();
    size_t operator()(const std::unique_ptr<Node>& node) const;
    bool operator()(const std::unique_ptr<Node>& a, const std::unique_ptr<Node>& b) const;
    bool operator()(const std::unique_ptr<Node>& a, std::string_view path) const;
    bool operator()(std::string_view path, const std::unique_ptr<Node>& a) const;
  };

  Node* node_at(std::string_view path) const;
  Node* parent_node_of(std::string_view path) const;
  Node& make_node(const RootfsPath& path);
  Node& add_node(std::string_view path);
  bool is_hidden(const RootfsPath& path) const;
  bool below_has_directory(const RootfsPath& path) const;
  void set(Entry entry);
  void forget(const RootfsPath& path);
  void drop(Node& node, std::vector<Entry>& files);
  void unlink_name(const Entry& entry);
  // Nothing: a directory that is not kept.
  std::unordered_map<const Node*, std::optional<Entry>> parents_on_the_way() const;
  void even_out_links();

  const Tree& below_;
  std::unordered_set<std::unique_ptr<Node>, ByPath, ByPath> nodes_;
  mutable Node* last_parent_ = nullptr;  // that was looked up
  size_t change_count_ = 0;
  // The names of a file beside its first: by the first name, those that are hard links to it.
  std::unordered_map<std::string, std::set<RootfsPath>, PathHash, std::equal_to<>> other_names_;
  uint64_t renamed_ = 0;  // names that were given another first name
};

}  // namespace corten::store
