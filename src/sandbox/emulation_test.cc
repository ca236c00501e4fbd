#include "sandbox/emulation.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/subprocess.h"
#include "base/temp_dir.h"

namespace corten::sandbox {

// Each program is one that its emulator runs to its end: the bytes were written by hand.
TEST(Emulation, ProbeProgramsEndWithTheirCode) {
  const std::pair<const char*, const char*> kEmulators[] = {
      {"arm64", "qemu-aarch64-static"},   {"arm", "qemu-arm-static"},
      {"amd64", "qemu-x86_64-static"},    {"386", "qemu-i386-static"},
      {"riscv64", "qemu-riscv64-static"}, {"ppc64le", "qemu-ppc64le-static"},
      {"s390x", "qemu-s390x-static"},     {"loong64", "qemu-loongarch64-static"}};
  if (find_program("qemu-aarch64-static").empty()) {
    if (getenv("CORTEN_MUST_RUN")) FAIL() << "qemu-user-static is needed";
    GTEST_SKIP() << "qemu-user-static is not installed";
  }
  TempDir place = TempDir::for_test();
  EXPECT_EQ(known_architectures().size(), std::size(kEmulators));
  for (const auto& [architecture, emulator] : kEmulators) {
    const std::string path = place / architecture;
    write_file_atomic(path, probe_program(architecture));
    ASSERT_EQ(chmod(path.c_str(), 0755), 0);
    EXPECT_EQ(run_subprocess({emulator, path}).exit_code, kProbeExitCode) << architecture;
  }
}

TEST(Emulation, UnknownProcessorsHaveNoProgram) {
  EXPECT_EQ(probe_program("pdp11"), "");
  EXPECT_NE(why_not_emulated("pdp11", {}).find("pdp11"), std::string::npos);
}

}  // namespace corten::sandbox
