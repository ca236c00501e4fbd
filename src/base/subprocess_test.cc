#include "base/subprocess.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temp_dir.h"
#include "base/thread_pool.h"
#include "base/unique_fd.h"

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

TEST(Subprocess, AnEnvironmentOfItsOwn) {
  setenv("CORTEN_TEST_OURS", "1", 1);
  SubprocessOptions options{.environment = {{"X", "y"}}, .inherits_environment = false};
  EXPECT_EQ(run_subprocess({"sh", "-c", "echo ${CORTEN_TEST_OURS-none} $X"}, options).output, "none y\n");
  unsetenv("CORTEN_TEST_OURS");
}

TEST(Subprocess, SilenceAndCancellationEndIt) {
  try {
    run_subprocess({"sh", "-c", "echo begun; exec sleep 100"}, {.silence_ms = 300});
    FAIL() << "it went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
  }
  Cancellation cancellation;
  cancellation.cancel();
  try {
    run_subprocess({"sleep", "100"}, {.cancellation = &cancellation});
    FAIL() << "it went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

TEST(Subprocess, ATimeLimitEndsWhoTalksAndWhoClosedItsOutputs) {
  for (const char* script :
       {"while :; do echo more; sleep 0.05; done", "exec >/dev/null 2>&1 </dev/null; exec sleep 100"}) {
    try {
      run_subprocess({"sh", "-c", script}, {.limit_ms = 300});
      FAIL() << "it went on: " << script;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo);
    }
  }
  EXPECT_EQ(run_subprocess({"sh", "-c", "echo said; exit 3"}, {.limit_ms = 60'000}).exit_code, 3);
}

TEST(Subprocess, FilesHaveALimit) {
  TempDir place = TempDir::for_test();
  SubprocessOptions options{.directory = place.path(), .max_file_bytes = 100'000};
  EXPECT_NE(run_subprocess({"sh", "-c", "sleep 0.2; head -c 1000000 /dev/zero >big"}, options).exit_code, 0);
  EXPECT_LE(read_file(place / "big").size(), 100'000u);
}

}  // namespace corten
