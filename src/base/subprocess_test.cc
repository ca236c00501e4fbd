#include "base/subprocess.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten {

TEST(Subprocess, GivesOutputAndCode) {
  SubprocessResult result =
      run_subprocess({"sh", "-c", "cat; echo $X >&2; exit 3"}, {.input = "in", .environment = {{"X", "y"}}});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.output, "in");
  EXPECT_EQ(result.error_output, "y\n");
}

TEST(Subprocess, BigInputThatNobodyReads) {
  EXPECT_EQ(run_subprocess({"true"}, {.input = std::string(1 << 20, 'x')}).exit_code, 0);
  EXPECT_EQ(run_subprocess({"cat"}, {.input = std::string(1 << 20, 'x')}).output.size(), 1u << 20);
}

TEST(Subprocess, MissingProgramIsNamed) {
  EXPECT_THROW(run_subprocess({"no-such-program-here"}), Error);
}

TEST(Subprocess, KilledBySignal) {
  EXPECT_EQ(run_subprocess({"sh", "-c", "kill -9 $$"}).exit_code, 137);
}

}  // namespace corten
