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

class PlainLines : public testing::Test {
 protected:
  void SetUp() override {
    ProgressOptions options{.mode = ProgressMode::kPlain, .fd = pipe_.write.get()};
    options.clock = &clock_;
    options.has_ticker = false;
    progress_ = make_progress(options);
    progress_->planned({0, "RUN a", {}, {}});
    progress_->planned({1, "RUN b\x1b[2J\nc", {}, {}});
    progress_->started(0);
  }
  // Four ticks a second, as the real one.
  void pass(int seconds) {
    for (int i = 0; i < 4 * seconds; i++) {
      clock_.advance_ns(250'000'000);
      progress_->tick();
    }
  }
  std::string end() {
    progress_->finish();
    pipe_.write.reset();
    return read_all(pipe_.read.get(), "pipe");
  }
  Pipe pipe_ = make_pipe();
  FakeClock clock_{1'000'000'000'000};
  std::unique_ptr<Progress> progress_;
};

TEST_F(PlainLines, ASilentStepSaysSoAtGrowingIntervals) {
  pass(75);
  progress_->output(0, 1, "a line\nbar 10%\rbar 20%\r");
  pass(12);
  progress_->finished(0, build::Outcome::kDone, "");
  pass(600);
  EXPECT_EQ(end(),
            "#1 RUN a\n"
            "#1 10.000 still running, nothing new for 10s\n"
            "#1 30.000 still running, nothing new for 20s\n"
            "#1 70.000 still running, nothing new for 40s\n"
            "#1 75.000 a line\n"
            "#1 85.000 still running, nothing new for 10s: bar 20%\n"
            "#1 87.000 bar 20%\n"
            "#1 DONE 87.0s\n\n");
}

TEST_F(PlainLines, TheLongestSilenceIsFiveMinutes) {
  pass(3600);
  std::string text = end();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + 5 + 10) << text;
}

TEST_F(PlainLines, StatesComeOnceASecondAtMost) {
  for (uint64_t i = 1; i <= 300; i++) {
    progress_->progressed(0, {"file", i * 1000, 300'000, i == 300});
    clock_.advance_ns(10'000'000);
    progress_->tick();
  }
  progress_->note(0, "waiting for another build");
  pass(12);
  EXPECT_EQ(end(),
            "#1 RUN a\n"
            "#1 0.000 file 1kB / 300kB\n"
            "#1 1.000 file 100kB / 300kB\n"
            "#1 2.000 file 200kB / 300kB, 100kB/s, 1s left\n"
            "#1 3.000 file 300kB / 300kB done\n"
            "#1 4.000 waiting for another build\n"
            "#1 14.000 still waiting for another build\n");
}

TEST_F(PlainLines, ARemarkIsALineWithoutAClock) {
  progress_->remark(0, "not cached: variable A\x1b[2J was \"1\", is \"2\"");
  progress_->finish();
  pipe_.write.reset();
  EXPECT_EQ(read_all(pipe_.read.get(), "pipe"),
            "#1 RUN a\n#1 not cached: variable A\\x1b[2J was \"1\", is \"2\"\n");
}

TEST_F(PlainLines, EachLineIsWrittenWhenItComesAndStaysThere) {
  progress_->started(1);
  progress_->output(0, 1, "one\n");
  progress_->output(1, 2, "\x1b[31mtwo\x1b[0m\x1b[2J\n");
  progress_->output(0, 1, "three\n");
  EXPECT_EQ(end(),
            "#1 RUN a\n#1 0.000 one\n#1 ...\n\n"
            "#2 RUN b\\x1b[2J c\n#2 0.000 two\n#2 ...\n\n"
            "#1 RUN a\n#1 0.000 three\n");
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

TEST(RawJsonProgress, PlansBeforeItStartsAndCounts) {
  Pipe pipe = make_pipe();
  auto progress = make_progress({.mode = ProgressMode::kRawJson, .fd = pipe.write.get()});
  progress->planned({0, "FROM base", {}, {}});
  progress->planned({1, "ADD https://host/file /", {0}, {}});
  progress->started(1);
  progress->note(1, "waiting for another build");
  progress->note(1, "");
  progress->progressed(1, {"https://host/file", 10, 300, false});
  progress->note(1, "https://host/file");
  progress->progressed(1, {"https://host/file", 300, 300, true});
  progress->note(1, "");
  progress->finish();
  pipe.write.reset();
  std::vector<Json> vertexes, statuses;
  for (const std::string& line : split(trim(read_all(pipe.read.get(), "pipe")), '\n')) {
    Json json = Json::parse(line);
    if (const Json* list = json.find("vertexes")) vertexes.push_back(list->as_array()[0]);
    if (const Json* list = json.find("statuses")) statuses.push_back(list->as_array()[0]);
  }
  ASSERT_EQ(vertexes.size(), 3u);
  EXPECT_EQ(vertexes[0].find("started"), nullptr);
  EXPECT_EQ(vertexes[1].find("inputs")->as_array()[0].as_string(), vertexes[0].get_string("digest"));
  EXPECT_EQ(vertexes[2].get_string("digest"), vertexes[1].get_string("digest"));
  EXPECT_NE(vertexes[2].find("started"), nullptr);
  ASSERT_EQ(statuses.size(), 5u) << "the count's end is the wait's";
  EXPECT_EQ(statuses[0].get_string("id"), "waiting for another build");
  EXPECT_EQ(statuses[0].find("completed"), nullptr);
  EXPECT_NE(statuses[1].find("completed"), nullptr);
  EXPECT_EQ(statuses[2].get_string("vertex"), vertexes[2].get_string("digest"));
  EXPECT_EQ(statuses[2].find("total")->as_int(), 300);
  EXPECT_EQ(statuses[2].find("current")->as_int(), 10);
  EXPECT_EQ(statuses[4].get_string("started"), statuses[2].get_string("started"));
  EXPECT_NE(statuses[4].find("completed"), nullptr);
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
