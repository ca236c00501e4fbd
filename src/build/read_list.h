// What a step read of a tree, in full: the list behind a digest of its key, kept so that `why` can name the
// file that differed and not only say that one did.
//
// A list is written down when its step missed, in the store's lists/ under the digest that the key holds. It
// is no part of what the digest is made of; a list that is lost or damaged costs a name in an explanation.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "build/copy.h"
#include "build/why.h"
#include "store/manifest.h"

namespace corten::build {

struct ReadList {
  std::string manifest;  // its bytes: entries by path; of a path that was selected twice the last
};

// docs/formats.md, "Read list".
std::string serialize_list(const Selection& selection);
// Empty for anything that serialize_list() would not write.
std::optional<ReadList> parse_list(std::string_view bytes);

// The paths that differ, in order, with the field in which they do: at most `most` of them; `more` counts the
// rest. `place` begins the name of each: "context".
std::vector<Difference> compare_lists(const ReadList& before, const ReadList& after, std::string_view place,
                                      size_t most, size_t& more);

}  // namespace corten::build
