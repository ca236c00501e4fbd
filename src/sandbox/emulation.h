// Programs of other processors: the kernel hands them to an emulator (binfmt_misc), or nobody does.
//
// Architectures have Go's names, as in platforms: "arm64". Whether they run is found by running one, in a
// box, as a step would be: a handler whose emulator is looked up in the image's root (registered without the
// flag F) fails here as it would there.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/privilege.h"

namespace corten::sandbox {

// A program of that architecture which does nothing but end with kProbeExitCode, as an ELF file; "" when
// there is none for it.
std::string probe_program(std::string_view architecture);
inline constexpr int kProbeExitCode = 7;

// Runs it in a box, in the namespaces in which we are. After enter().
bool runs_programs_of(std::string_view architecture, const Entered& entered);

// Makes programs of that architecture run if it can: as the machine is, else with the emulators that the
// machine has (qemu-user-static), registered in our own user namespace where the kernel allows that
// (Linux 6.7). They are seen by what we start and go with us; nothing is ever registered in a namespace that
// is not ours. "" or why not. Thread-safe.
std::string why_not_emulated(std::string_view architecture, const Entered& entered);

// As enter(), so that these architectures run: for root, who needs no user namespace otherwise, one with all
// ids as they are, when the machine itself has no handler for them and such a namespace helps. No threads
// yet.
Entered enter_for(const std::vector<std::string>& architectures, const EnterOptions& options);

// Architectures that have a probe program.
std::vector<std::string> known_architectures();

}  // namespace corten::sandbox
