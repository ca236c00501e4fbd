// A layer in the making: changes on top of a tree, with the rules by which paths replace each other.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "store/tree.h"

namespace corten::store {

// Not thread-safe. `below` must outlive it.
class LayerBuilder : public Tree {
 public:
  explicit LayerBuilder(const Tree& below) : below_(below) {}

  // The tree with the changes so far.
  const Entry* find(const RootfsPath& path) const override;
  std::vector<const Entry*> list(const RootfsPath& directory) const override;

  // Sets a path. A non-directory takes the place of whatever is there; a directory is merged into a
  // directory, and takes the place of anything else. Missing parents are made (0755, 0:0). Error(kInvalid)
  // when a parent is no directory. Other names of a replaced hard link keep the file.
  void put(Entry entry);
  // Changes an entry that put() has set, without touching what names it.
  void replace(Entry entry);
  // Takes a path away, with all below it; nothing happens when it is absent.
  void remove(const RootfsPath& path);
  // Makes the missing directories of a path, itself included, as `like` (path and type are set); gives those
  // that it made.
  std::vector<RootfsPath> make_directories(const RootfsPath& path, const Entry& like);

  bool empty() const { return changes_.empty(); }
  Manifest finish();

 private:
  void add_parents();
  bool below_has_directory(const RootfsPath& path) const;
  void forget(const RootfsPath& path);
  bool hidden_here(const RootfsPath& path) const;

  const Tree& below_;
  std::map<RootfsPath, Entry> changes_;
};

}  // namespace corten::store
