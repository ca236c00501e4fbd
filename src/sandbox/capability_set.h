// Docker's default capability set (moby, oci/caps/defaults.go), as bits.
#pragma once
#include <cstdint>

namespace corten::sandbox {

// chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod
// audit_write setfcap
inline constexpr uint64_t kDefaultCapabilityBits = 0xa80425fb;

}  // namespace corten::sandbox
