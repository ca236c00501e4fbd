#include "cache/buildkit_match.h"

#include <algorithm>
#include <deque>
#include <set>

#include "base/error.h"

namespace corten::cache {

BuildkitMatcher::BuildkitMatcher(const BuildkitGraph& graph, const BuildkitRecords& records,
                                 ContentOf content, uint64_t max_looks)
    : graph_(graph),
      records_(records),
      content_(std::move(content)),
      looks_left_(max_looks),
      keys_(graph.nodes().size()),
      standing_on_(graph.nodes().size()) {
  for (size_t i = 0; i < graph.nodes().size(); i++) {
    const BuildkitNode& node = graph.nodes()[i];
    if (node.base)
      standing_on_[static_cast<size_t>(node.inputs[*node.base].node)].push_back(
          static_cast<BuildkitNodeId>(i));
  }
}

void BuildkitMatcher::look_at(size_t links) {
  if (links >= looks_left_) {
    looks_left_ = 0;
    fail(ErrorCode::kInvalid, "its records repeat each other too often");
  }
  looks_left_ -= links + 1;
}

// By key, or by content: a record of content stands for itself and has no inputs.
bool BuildkitMatcher::has_input(const BuildkitRecord& record, size_t index, const BuildkitInput& input) {
  const std::vector<size_t>& keys = *keys_[static_cast<size_t>(input.node)];
  const std::vector<BuildkitRecord::Link>& links = record.inputs[index];
  look_at(links.size());
  for (const BuildkitRecord::Link& link : links)
    if (link.selector == input.selector && std::binary_search(keys.begin(), keys.end(), link.record))
      return true;
  if (!input.content) return false;
  const bool has_roots = std::any_of(links.begin(), links.end(), [&](const BuildkitRecord::Link& link) {
    return link.selector.empty() && records_.records()[link.record].inputs.empty();
  });
  if (!has_roots) return false;
  const auto content = content_(input.node, *input.content);
  if (!content) return false;
  const Digest wanted = buildkit_record_digest(*content, -1);
  return std::any_of(links.begin(), links.end(), [&](const BuildkitRecord::Link& link) {
    const BuildkitRecord& root = records_.records()[link.record];
    return link.selector.empty() && root.inputs.empty() && root.digest == wanted;
  });
}

std::vector<size_t> BuildkitMatcher::match(const BuildkitNode& node) {
  std::vector<size_t> found;
  for (const Digest& digest : node.digests)
    for (const size_t candidate : records_.with(buildkit_record_digest(digest, 0))) {
      const BuildkitRecord& record = records_.records()[candidate];
      bool is_known = record.inputs.size() == node.inputs.size();
      for (size_t i = 0; is_known && i < node.inputs.size(); i++)
        is_known = has_input(record, i, node.inputs[i]);
      if (is_known) found.push_back(candidate);
    }
  std::sort(found.begin(), found.end());
  return found;
}

// Inputs first. A build may be ten thousand operations deep, so this does not call itself.
const std::vector<size_t>& BuildkitMatcher::keys_of(BuildkitNodeId id) {
  std::vector<BuildkitNodeId> todo{id};
  while (!todo.empty()) {
    const BuildkitNodeId next = todo.back();
    auto& keys = keys_[static_cast<size_t>(next)];
    if (keys) {
      todo.pop_back();
      continue;
    }
    const size_t before = todo.size();
    for (const BuildkitInput& input : graph_.node(next).inputs)
      if (!keys_[static_cast<size_t>(input.node)]) todo.push_back(input.node);
    if (todo.size() == before) keys = match(graph_.node(next));
  }
  return *keys_[static_cast<size_t>(id)];
}

const BuildkitLayer* BuildkitMatcher::layer_in(const std::vector<size_t>& stack,
                                               const std::vector<std::optional<DiffId>>& below) const {
  if (stack.size() <= below.size()) return nullptr;
  for (size_t i = 0; i < below.size(); i++) {
    const auto& theirs = records_.layers()[stack[i]].diff_id;
    if (!theirs || !below[i] || *theirs != *below[i]) return nullptr;
  }
  const BuildkitLayer& layer = records_.layers()[stack[below.size()]];
  return layer.diff_id ? &layer : nullptr;
}

// A result of the record itself is one layer higher than what is below. Without one, a record of an operation
// of this build that stands on it and has one is as good: its stack has this layer at the same place.
const BuildkitLayer* BuildkitMatcher::find(BuildkitNodeId id,
                                           const std::vector<std::optional<DiffId>>& below) {
  struct Candidate {
    BuildkitNodeId node;
    size_t record;
    size_t height;  // layers above the one that is looked for
  };
  std::deque<Candidate> todo;
  std::set<std::pair<BuildkitNodeId, size_t>> seen;
  for (const size_t record : keys_of(id)) todo.push_back({id, record, 0});
  while (!todo.empty()) {
    const Candidate at = todo.front();
    todo.pop_front();
    if (!seen.emplace(at.node, at.record).second) continue;
    look_at(records_.records()[at.record].results.size());
    for (const std::vector<size_t>& stack : records_.records()[at.record].results)
      if (stack.size() == below.size() + 1 + at.height)
        if (const BuildkitLayer* layer = layer_in(stack, below)) return layer;
    for (const BuildkitNodeId above : standing_on_[static_cast<size_t>(at.node)]) {
      const BuildkitNode& node = graph_.node(above);
      const std::string& selector = node.inputs[*node.base].selector;
      for (const Digest& digest : node.digests)
        for (const size_t candidate : records_.with(buildkit_record_digest(digest, 0))) {
          const BuildkitRecord& record = records_.records()[candidate];
          if (record.inputs.size() != node.inputs.size()) continue;
          const auto& links = record.inputs[*node.base];
          look_at(links.size());
          if (std::find(links.begin(), links.end(), BuildkitRecord::Link{selector, at.record}) != links.end())
            todo.push_back({above, candidate, at.height + 1});
        }
    }
  }
  return nullptr;
}

}  // namespace corten::cache
