// The writable directory of an overlay before a process sees it.
#pragma once
#include <string>

#include "store/owners.h"
#include "store/tree.h"

namespace corten::store {

// Makes it. The upper's own directory shows through as "/": it gets owner and mode of the root below.
void make_upper(const std::string& upper, const Tree& below, const Owners& owners);
// Makes what is missing of a working directory in the upper. Error(kInvalid) when a part of it is no
// directory.
void make_working_directory(const std::string& upper, const RootfsPath& directory, const Tree& below,
                            const Owners& owners);

}  // namespace corten::store
