// The writable directory of an overlay before a process sees it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "store/owners.h"
#include "store/tree.h"

namespace corten::store {

// Makes it. The upper's own directory shows through as "/": it gets owner and mode of the root below.
void make_upper(const std::string& upper, const Tree& below, const Owners& owners);
// Makes what is missing of a working directory in the upper. Error(kInvalid) when a part of it is no
// directory.
void make_working_directory(const std::string& upper, const RootfsPath& directory, const Tree& below,
                            const Owners& owners);

// The links and fifos of a tree, which carry no record of their owner, where that is not the given one.
struct SpecialOwner {
  RootfsPath path;
  uint32_t uid = 0, gid = 0;
};
std::vector<SpecialOwner> special_owners(const Tree& view, uint32_t uid, uint32_t gid);

}  // namespace corten::store
