// Files that can be looked at by path, wherever they lie: a stack of layers, a build context, a layer in the
// making.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/manifest.h"

namespace corten::store {

// Entries that are given out live as long as the tree. Thread-safe to read.
class Tree {
 public:
  virtual ~Tree() = default;
  // The entry itself, no link followed; nullptr when absent. The root is always there.
  virtual const Entry* find(const RootfsPath& path) const = 0;
  // What is in the directory, by name; empty for anything else.
  virtual std::vector<const Entry*> list(const RootfsPath& directory) const = 0;
  // All that is below the directory will be asked for: a tree that reads when it is asked may read it now.
  virtual void expect(const RootfsPath& /*directory*/) const {}
  // Makes Entry::content of these files valid (a context hashes lazily).
  virtual void compute_digests(std::span<const Entry* const>) const {}
  // Makes sure that the store has the contents of these files. Error(kIo) names a file that changed since it
  // was hashed.
  // What a manifest that is held names is there (`known`, may be null), and is not looked for.
  virtual void ingest(std::span<const Entry* const>, const Manifest* /*known*/ = nullptr) const {}
};

// An empty tree.
class EmptyTree : public Tree {
 public:
  EmptyTree();
  const Entry* find(const RootfsPath& path) const override { return path.is_root() ? &root_ : nullptr; }
  std::vector<const Entry*> list(const RootfsPath&) const override { return {}; }

 private:
  Entry root_;
};

// A stack of layers seen as one: looking up a path walks the manifests; no disk is touched.
class RootfsView : public Tree {
 public:
  explicit RootfsView(std::vector<std::shared_ptr<const Manifest>> lowest_first);
  const Entry* find(const RootfsPath& path) const override;
  std::vector<const Entry*> list(const RootfsPath& directory) const override;

 private:
  std::vector<std::shared_ptr<const Manifest>> layers_;
  Entry root_;
};

// The root directory where nothing says otherwise: 0755, 0:0.
Entry default_root();

// The path with links followed, as a process in that root would (at most 255 links; Error(kInvalid) beyond).
// What does not exist is kept as it is written, after the links before it. `follow_last` false leaves a link
// at the end.
RootfsPath resolve_links(const Tree& tree, const RootfsPath& path, bool follow_last = true);

// Everything below a directory, parents first; the directory itself is not given.
void walk(const Tree& tree, const RootfsPath& directory, const std::function<void(const Entry&)>& visit);

}  // namespace corten::store
