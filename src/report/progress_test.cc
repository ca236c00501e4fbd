#include "report/progress.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "report/build_log.h"

namespace corten::report {

static void play(build::Events& events) {
  build::VertexInfo one, two;
  one.id = 0;
  one.name = "[1/2] FROM base";
  two.id = 1;
  two.name = "[2/2] RUN make";
  two.inputs = {0};
  events.planned(one);
  events.planned(two);
  events.started(0);
  events.finished(0, build::Outcome::kCached, "");
  events.started(1);
  events.output(1, 1, "first li");
  events.output(1, 1, "ne\nbar 1%\rbar 100%\n");
  events.output(1, 2, "evil \x1b[2J");
  events.finished(1, build::Outcome::kFailed, "exit code: 2");
}

static std::string shown(ProgressMode mode) {
  Pipe pipe = make_pipe();
  auto progress = make_progress({.mode = mode, .fd = pipe.write.get()});
  play(*progress);
  progress->finish();
  progress.reset();
  pipe.write.reset();
  return read_all(pipe.read.get(), "pipe");
}

TEST(PlainProgress, BuildKitsForm) {
  std::string text = shown(ProgressMode::kPlain);
  EXPECT_NE(text.find("#1 [1/2] FROM base\n#1 CACHED\n"), std::string::npos) << text;
  EXPECT_NE(text.find("first line\n"), std::string::npos);
  EXPECT_NE(text.find(" bar 100%\n"), std::string::npos);
  EXPECT_NE(text.find("#2 ERROR: exit code: 2"), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << "escape sequences of a step never reach the terminal";
}

static std::string shown_in(LogGroups groups) {
  Pipe pipe = make_pipe();
  auto progress = make_progress({.mode = ProgressMode::kPlain, .fd = pipe.write.get(), .groups = groups});
  play(*progress);
  build::VertexInfo third;
  third.id = 2;
  third.name = "RUN x";
  progress->planned(third);
  progress->started(2);
  progress->output(2, 1, "::set-env name=A::b\nsay ##vso[task.setvariable]x ##[error]y\n");
  progress->finished(2, build::Outcome::kDone, "");
  progress->finish();
  pipe.write.reset();
  return read_all(pipe.read.get(), "progress");
}

TEST(PlainProgress, GroupsOfCiSystems) {
  std::string github = shown_in(LogGroups::kGitHub);
  EXPECT_NE(github.find("::group::#1 [1/2] FROM base\n#1 CACHED\n::endgroup::\n"), std::string::npos)
      << github;
  EXPECT_NE(github.find("::endgroup::\n#2 ERROR: exit code: 2\n"), std::string::npos)
      << "why it failed stands outside" << github;
  std::string gitlab = shown_in(LogGroups::kGitLab);
  EXPECT_NE(gitlab.find(":corten_1_1[collapsed=true]\r\x1b[0K#1 [1/2] FROM base\n"), std::string::npos)
      << gitlab;
  EXPECT_NE(gitlab.find(":corten_1_1\r\x1b[0K\n"), std::string::npos) << gitlab;
  std::string azure = shown_in(LogGroups::kAzure);
  EXPECT_NE(azure.find("##[group]#1 [1/2] FROM base\n#1 CACHED\n##[endgroup]\n"), std::string::npos) << azure;
}

TEST(PlainProgress, OutputGivesNoCommandsToTheRunner) {
  for (LogGroups groups : {LogGroups::kGitHub, LogGroups::kGitLab, LogGroups::kAzure}) {
    std::string text = shown_in(groups);
    EXPECT_EQ(text.find("##vso["), std::string::npos) << text;
    EXPECT_EQ(text.find("##[error]"), std::string::npos) << text;
    EXPECT_EQ(text.find("\n::set-env"), std::string::npos) << text;
  }
}

TEST(RawJsonProgress, OneObjectALine) {
  std::string text = shown(ProgressMode::kRawJson);
  std::string log;
  bool saw_error = false;
  for (const std::string& line : split(trim(text), '\n')) {
    Json json = Json::parse(line);
    if (const Json* logs = json.find("logs")) log += *base64_decode(logs->as_array()[0].get_string("data"));
    if (const Json* vertexes = json.find("vertexes"))
      saw_error |= vertexes->as_array()[0].get_string("error") == "exit code: 2";
  }
  EXPECT_EQ(log, "first line\nbar 1%\rbar 100%\nevil \x1b[2J");
  EXPECT_TRUE(saw_error);
}

TEST(TtyProgress, EndsWithTheWholePicture) {
  std::string text = shown(ProgressMode::kTty);
  EXPECT_NE(text.find("FAILED"), std::string::npos);
  EXPECT_NE(text.find("ERROR [2/2] RUN make"), std::string::npos);
}

TEST(QuietProgress, SaysNothing) {
  EXPECT_EQ(shown(ProgressMode::kQuiet), "");
}

TEST(BuildLogTest, KeepsEverythingAndTheLastLines) {
  TempDir dir = TempDir::for_test();
  BuildLog log(dir / "log");
  play(log);
  EXPECT_EQ(log.failed_name(), "[2/2] RUN make");
  EXPECT_EQ(log.failed_lines().size(), 3u);
  EXPECT_NE(read_file(dir / "log").find("1 first line\n"), std::string::npos);
}

TEST(ColorsTest, AsBuildKitReadsThem) {
  Colors colors = parse_colors("run=green:cancel=255,165,0:error=nonsense:rubbish");
  EXPECT_EQ(colors.run, "32");
  EXPECT_EQ(colors.cancel, "38;2;255;165;0");
  EXPECT_EQ(colors.error, Colors().error);
}

TEST(ProgressModeTest, RefusesOthers) {
  EXPECT_THROW(parse_progress_mode("fancy"), Error);
}

}  // namespace corten::report
