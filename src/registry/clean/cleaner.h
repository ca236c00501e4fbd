// Reads a repository, and takes away what a plan says: looking again before each deletion.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "registry/clean/graph.h"
#include "registry/clean/repository.h"

namespace corten::registry::clean {

// A manifest's bytes as a node; never throws: what it cannot understand is unreadable.
Node parse_node(const std::string& digest, std::string_view bytes);

// Everything that tags, the list of manifests and what is in use lead to. Ages are read from configurations
// when a rule needs them and the registry does not tell. Error(kNoSpace) beyond a bound, and whatever the
// repository throws: a snapshot with holes is none.
Snapshot read_snapshot(Repository& repository, const Rules& rules);

struct Cleaned {
  size_t removed = 0, untagged = 0;
  uint64_t bytes = 0;           // told by the plan, less what stayed
  std::vector<Verdict> kept;    // that were to go, and why they did not
  std::vector<Verdict> failed;  // the registry's words
};

// Each deletion is preceded by a new listing: when tags moved or came meanwhile, what they reach is read, the
// plan is made again, and only what both plans delete is deleted. `said` is called for each thing that was
// done.
Cleaned carry_out(Repository& repository, const Rules& rules, const Snapshot& snapshot, const Plan& plan,
                  const Clock& clock, const std::function<void(const Verdict&)>& said);

}  // namespace corten::registry::clean
