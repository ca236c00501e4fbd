// Which system calls a recorder (recorder.h) answers, and the filters that make them wait or succeed. The
// filters are compiled when Corten is built (seccomp_generator.cc).
#pragma once
#include <cstdint>
#include <optional>

namespace corten::sandbox {

enum class RecordedCall : uint8_t {
  kChown,
  kLchown,
  kFchown,
  kFchownat,
  kMknod,
  kMknodat,
  kStat,  // with the struct of our own processor: older forms of it (i386) are not asked about
  kLstat,
  kFstat,
  kFstatat,
  kStatx,
  kSetAttribute,  // by path, link or descriptor: the name is the second argument in all of them
  kGetAttribute,
  kRemoveAttribute,
  kListAttributes,
  kListLinkAttributes,
  kListDescriptorAttributes,
  kNewerAttributeCall,  // setxattrat and its kin: the struct holds pointers of its own
  kChown16,             // ids of 16 bits
  kLchown16,
  kFchown16,
};

// The call with that number on that architecture (AUDIT_ARCH_*), if it is one of them.
std::optional<RecordedCall> find_recorded_call(uint32_t architecture, uint32_t number);

}  // namespace corten::sandbox
