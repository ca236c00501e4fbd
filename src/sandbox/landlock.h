// Landlock, as far as Corten needs it: the machine's abstract unix sockets closed off.
#pragma once
#include "base/unique_fd.h"

namespace corten::sandbox {

int landlock_abi();  // 0: the kernel has none, or it is switched off
// A ruleset that closes them off; not open where the kernel cannot (ABI below 6).
UniqueFd make_socket_scope();

}  // namespace corten::sandbox
