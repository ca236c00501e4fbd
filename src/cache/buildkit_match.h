// Looks a build's operations up in BuildKit's caches.
//
// An operation is known by records: those of its digest whose every input is known by a record that stands
// there, or by content. What such a record has as its result are whole stacks of layers. A step of ours gives
// one layer on those of its base, so a stack counts when what is under its uppermost layer is, tar for tar,
// what the step really stands on. BuildKit would take the stack as it is; we refuse what our own layers are
// not the beginning of. A record without a result (`mode=min` leaves them out) takes what records that stand
// on it have at its place.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "cache/buildkit_content.h"
#include "cache/buildkit_graph.h"
#include "cache/buildkit_records.h"

namespace corten::cache {

// The files of a node's result; nothing for one that has none of its own here.
using BuildkitFilesOf = std::function<std::optional<BuildkitFiles>(BuildkitNodeId)>;

// Of one cache. Not thread-safe. The graph and the records are borrowed. Error(kInvalid) once it has looked
// at more links than any true cache makes it look at: records that repeat each other would make it search for
// hours.
class BuildkitMatcher {
 public:
  // `content`: the digest of parts of a node's result. Asked only for inputs of what is looked up.
  using ContentOf = std::function<std::optional<Digest>(BuildkitNodeId, const std::vector<BuildkitPath>&)>;
  static constexpr uint64_t kMaxLooks = 100'000'000;
  BuildkitMatcher(const BuildkitGraph& graph, const BuildkitRecords& records, ContentOf content,
                  uint64_t max_looks = kMaxLooks);

  // The layer that the operation gave on these, by the digests of their tars; one is nothing when it is not
  // known. All operations before this one are done.
  const BuildkitLayer* find(BuildkitNodeId node, const std::vector<std::optional<DiffId>>& below);

 private:
  void look_at(size_t links);
  const std::vector<size_t>& keys_of(BuildkitNodeId node);
  std::vector<size_t> match(const BuildkitNode& node);
  bool has_input(const BuildkitRecord& record, size_t index, const BuildkitInput& input);
  const BuildkitLayer* layer_in(const std::vector<size_t>& stack,
                                const std::vector<std::optional<DiffId>>& below) const;

  const BuildkitGraph& graph_;
  const BuildkitRecords& records_;
  ContentOf content_;
  uint64_t looks_left_;
  std::vector<std::optional<std::vector<size_t>>> keys_;  // by node
  std::vector<std::vector<BuildkitNodeId>> standing_on_;  // by node: those whose base it is
};

}  // namespace corten::cache
