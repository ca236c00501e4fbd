// Why a step was not cached: its key's record compared with that of the nearest earlier run. Pure.
//
// Records hold inputs by name (key.h), so the answer is a name: a file and its field, a variable, the base, a
// mount, a flag, with what it was and what it is. What may be a secret is named and never shown.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"

namespace corten::build {

struct Difference {
  std::string input;          // "context file", "variable", "base image", "command", "mount", ...
  std::string name;           // path, variable, target; "" where the input says it all
  std::string field;          // "content", "mode", "owner", "added", "removed", ...; "" for the value itself
  std::string before, after;  // for people; both empty where there is nothing to show
  bool operator==(const Difference&) const = default;
};

struct Miss {
  enum class Reason {
    kInput,         // see `differences`
    kFirst,         // nothing like it was ever run here
    kNoCache,       // --no-cache, --no-cache-filter
    kFailedBefore,  // the same inputs: that run gave no layer
    kForgotten,     // the same inputs: the result is no longer in the store
  } reason = Reason::kFirst;
  std::vector<Difference> differences;  // the first is the one that is told
  size_t more = 0;                      // differences that are left out
  std::string build, step;              // the run that it was compared with
  int64_t when_ns = 0;                  // and when that was

  Json to_json() const;
  static Miss from_json(const Json& json);  // Error(kInvalid) for a member of another type
};

// What lists.h knows of two digests; empty when one of the lists is not there.
using CompareLists = std::function<std::optional<std::vector<Difference>>(
    const Digest& before, const Digest& after, std::string_view place, size_t& more)>;

// What differs between two records of the same kind of step, in the order of the record: at most some dozens.
std::vector<Difference> compare_records(const Json& before, const Json& after, const CompareLists& lists,
                                        size_t& more);
// How many members two records have in common, for a search of the nearest.
size_t equal_members(const Json& a, const Json& b);

// The record as it may be kept: values of variables that look like secrets are digests, made by `digest`.
Json without_secrets(Json record, const std::function<std::string(std::string_view)>& digest);

// One line: `src/a.c of the context has other content (1a2b (3B) -> 4c5d (4B))`.
std::string difference_text(const Difference& difference);
// One line: the first difference, how many more, and when the other run was; "" for a first run.
std::string miss_text(const Miss& miss, int64_t now_ns);

}  // namespace corten::build
