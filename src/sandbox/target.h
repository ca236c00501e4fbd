// Where a mount goes, found and made in the child: nothing is allocated here.
#pragma once
#include "sandbox/plan.h"

namespace corten::sandbox {

struct Target {
  int fd = -1;        // O_PATH
  bool made = false;  // it was not there
};

// Resolves `path` (relative to the root) with links followed inside the root, and makes what is missing:
// parents, and the last part as a directory or an empty file. What is made in the root itself is noted in the
// report. 0 or -errno; -ELOOP after 40 links or at a link of /proc, -ENAMETOOLONG, -ENOTDIR for the wrong
// kind.
int resolve_target(Child& child, const char* path, bool directory, bool note, Target& target);

uint64_t mount_id_of(int fd);

}  // namespace corten::sandbox
