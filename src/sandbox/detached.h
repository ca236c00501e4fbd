// Mounts that are nowhere yet: made by us with all our means (strings, exceptions), attached by the child,
// which has none.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "sandbox/spec.h"

namespace corten::sandbox {

struct TmpfsOptions {
  std::optional<uint64_t> size_bytes;
  mode_t mode = 0755;
  uint64_t attributes = 0;  // MOUNT_ATTR_*
};
UniqueFd make_tmpfs(const TmpfsOptions& options, std::string_view what);

// What is at the source, with all that is mounted below it.
UniqueFd clone_tree(const Source& source, std::string_view what);
// Sets MOUNT_ATTR_* bits on the mount and all below it.
void set_attributes(int mount, uint64_t attributes, std::string_view what);

// The source as a descriptor that can be looked at (O_PATH).
UniqueFd open_source(const Source& source, std::string_view what);

struct OverlayOptions {
  std::vector<Source> lowers;            // top first; none: an empty one is made
  HostPath upper, work;                  // both unset: in memory
  std::optional<uint64_t> memory_bytes;  // limit of an upper in memory
  uint64_t attributes = 0;
};
// An overlay with userxattr (marks of one form on every rung; without it a user namespace mounts something
// that fails later) and volatile (the caller's own sync makes a layer durable).
UniqueFd make_overlay(const OverlayOptions& options, std::string_view what);

}  // namespace corten::sandbox
