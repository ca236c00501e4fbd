// The picture of a build as a terminal shows it: fed to a fake screen, by a fake clock.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <fmt/core.h>

#include "base/unique_fd.h"
#include "report/fake_screen_test.h"
#include "report/progress.h"

namespace corten::report {

constexpr int64_t kSecond = 1'000'000'000;

class PictureTest : public testing::Test {
 protected:
  void open(TerminalSize size, size_t log_lines = 6) {
    size_ = size;
    screen_ = FakeScreen(size);
    ASSERT_EQ(fcntl(pipe_.read.get(), F_SETFL, O_NONBLOCK), 0);
    ProgressOptions options{.mode = ProgressMode::kTty, .fd = pipe_.write.get()};
    options.log_lines = log_lines;
    options.clock = &clock_;
    options.terminal_size = [this] { return size_; };
    options.has_ticker = false;
    progress_ = make_progress(options);
  }
  void plan(int count, const std::string& name = "RUN step {}") {
    for (int id = 0; id < count; id++) progress_->planned({id, fmt::format(fmt::runtime(name), id), {}, {}});
  }
  void take_output() {
    char bytes[65536];
    ssize_t got;
    while ((got = read(pipe_.read.get(), bytes, sizeof bytes)) > 0) {
      last_frame_ = std::string(bytes, static_cast<size_t>(got));
      screen_.feed(last_frame_);
    }
    EXPECT_TRUE(screen_.is_given_back());
  }
  void frame() {
    screen_.forget_touches();
    last_frame_.clear();
    progress_->tick();
    take_output();
  }
  void pass(double seconds) { clock_.advance_ns(static_cast<int64_t>(seconds * kSecond)); }
  void resize(TerminalSize size) {
    size_ = size;
    screen_.resize(size);
  }
  std::string padded(std::string left, const std::string& right) const {
    left.resize(size_.columns - 1 - right.size(), ' ');
    return left + right;
  }
  using Lines = std::vector<std::string>;

  Pipe pipe_ = make_pipe();
  FakeClock clock_{1000 * kSecond};
  TerminalSize size_;
  FakeScreen screen_{size_};
  std::unique_ptr<Progress> progress_;
  std::string last_frame_;
};

TEST_F(PictureTest, RunningStepsHaveClocksAndTheirLastLines) {
  for (TerminalSize size : {TerminalSize{80, 24}, TerminalSize{200, 50}}) {
    open(size, 2);
    plan(4);
    progress_->started(0);
    pass(1.5);
    progress_->finished(0, build::Outcome::kDone, "");
    progress_->started(1);
    progress_->started(2);
    progress_->output(1, 1, "one\ntwo\nthree\n");
    progress_->output(2, 2, "bar 10%\rbar 20%\r");
    pass(2);
    frame();
    EXPECT_EQ(screen_.lines(), (Lines{"[+] Building 3.5s (1/4), 2 running", padded(" => RUN step 0", "1.5s"),
                                      padded(" => RUN step 1", "2.0s"), " => => # two", " => => # three",
                                      padded(" => RUN step 2", "2.0s"), " => => # bar 20%"}));
    progress_->finished(1, build::Outcome::kDone, "");
    progress_->finished(2, build::Outcome::kDone, "");
    progress_->finish();
    take_output();
    EXPECT_EQ(screen_.lines(), (Lines{"[+] Building 3.5s (3/4) FINISHED", padded(" => RUN step 0", "1.5s"),
                                      padded(" => RUN step 1", "2.0s"), padded(" => RUN step 2", "2.0s")}));
    EXPECT_EQ(screen_.row(), 4u) << "the cursor stands below";
  }
}

TEST_F(PictureTest, CachedStepsAreOneRow) {
  open({80, 24});
  plan(40);
  for (int id = 0; id < 30; id++) {
    progress_->started(id);
    progress_->finished(id, build::Outcome::kCached, "");
  }
  progress_->started(30);
  frame();
  EXPECT_EQ(screen_.lines(), (Lines{"[+] Building 0.0s (30/40), 30 cached, 1 running", " => CACHED 30 steps",
                                    padded(" => RUN step 30", "0.0s")}));
  progress_->finished(30, build::Outcome::kFailed, "exit code: 1");
  progress_->finish();
  take_output();
  EXPECT_EQ(screen_.lines(), (Lines{"[+] Building 0.0s (30/40) FAILED, 30 cached", " => CACHED 30 steps",
                                    padded(" => ERROR RUN step 30", "0.0s")}));
}

TEST_F(PictureTest, AWaitIsNamedAfterFiveSeconds) {
  open({80, 24});
  plan(1);
  progress_->started(0);
  pass(1);
  progress_->note(0, "waiting for another build that runs the same step");
  pass(4.9);
  frame();
  EXPECT_EQ(screen_.text().find("waiting"), std::string::npos);
  pass(0.1);
  frame();
  EXPECT_EQ(screen_.lines().back(),
            padded(" => => waiting for another build that runs the same step", "5.0s"));
  progress_->note(0, "");
  frame();
  EXPECT_EQ(screen_.text().find("waiting"), std::string::npos);
}

TEST_F(PictureTest, WhyAStepIsNotCachedStandsBelowIt) {
  open({80, 24});
  plan(2);
  progress_->started(0);
  progress_->remark(0, "not cached: context file a\x1b[2J: content changed");
  progress_->started(1);
  frame();
  EXPECT_EQ(screen_.lines().at(2), " => => not cached: context file a\\x1b[2J: content changed");
  progress_->finished(0, build::Outcome::kDone, "");
  frame();
  EXPECT_EQ(screen_.lines().size(), 3u);  // told; the end says it once more
  progress_->finished(1, build::Outcome::kDone, "");
  progress_->finish();
  take_output();
  EXPECT_EQ(screen_.lines().at(2), " => => not cached: context file a\\x1b[2J: content changed");
}

TEST_F(PictureTest, NothingIsWrittenThatDidNotChange) {
  open({80, 24});
  plan(6);
  for (int id = 0; id < 3; id++) {
    progress_->started(id);
    progress_->finished(id, build::Outcome::kDone, "");
  }
  progress_->started(3);
  progress_->started(4);
  progress_->output(3, 1, "compiling\n");
  frame();
  pass(0.1);
  frame();
  // head, three finished ones, step 3, its output, step 4, the cursor's row
  const std::vector<int>& touched = screen_.touched();
  ASSERT_EQ(touched.size(), 8u);
  EXPECT_GT(touched[0], 0);
  for (size_t row : {1, 2, 3, 5, 7}) EXPECT_EQ(touched[row], 0) << row;
  EXPECT_EQ(touched[4], 4) << "the clock alone: 0.1s";
  EXPECT_EQ(touched[6], 4);
  frame();
  EXPECT_EQ(last_frame_, "") << "no time passed, nothing happened: not a byte";
}

TEST_F(PictureTest, LinesNeverWrap) {
  for (size_t columns : {1, 2, 5, 8, 20, 80, 200}) {
    open({columns, 24});
    plan(
        3,
        "[build 2/5] RUN echo 日本語日本語日本語 🚀 {} && apt-get install -y --no-install-recommends "
        "a-long-list of "
        "packages that goes on and on and on and on and on and on and on and on and on and on and on and on");
    progress_->started(0);
    progress_->output(0, 1, std::string(5000, 'x') + "\n\t\t\t\t日本語" + std::string(500, 'y') + "\n");
    frame();  // FakeScreen fails where a character stands beyond the edge
    EXPECT_LE(screen_.lines().size(), 4u);
    progress_->finish();
    take_output();
  }
}

TEST_F(PictureTest, WhatDoesNotFitIsFoldedAndTheEndShowsAll) {
  open({80, 12});
  plan(40);
  for (int id = 0; id < 20; id++) {
    progress_->started(id);
    progress_->finished(id, build::Outcome::kDone, "");
  }
  progress_->started(20);
  progress_->output(20, 1, "1\n2\n3\n4\n5\n6\n");
  frame();
  Lines lines = screen_.lines();
  ASSERT_EQ(lines.size(), 11u) << screen_.text();
  EXPECT_EQ(lines[1], " => DONE 18 steps");
  EXPECT_EQ(lines[2], padded(" => RUN step 18", "0.0s"));
  EXPECT_EQ(lines[10], " => => # 6");
  for (int id = 21; id < 35; id++) progress_->started(id);
  frame();
  lines = screen_.lines();
  ASSERT_LE(lines.size(), 11u) << screen_.text();
  EXPECT_EQ(lines.back(), " => and 6 more running") << screen_.text();
  progress_->finish();
  take_output();
  EXPECT_EQ(screen_.lines().size(), 36u);
  EXPECT_EQ(screen_.lines()[0], "[+] Building 0.0s (20/40) CANCELED");
}

TEST_F(PictureTest, EverySizeHoldsThePictureWhateverHappens) {
  for (size_t rows = 1; rows < 30; rows++) {
    open({80, rows});
    plan(30);
    for (int id = 0; id < 30; id++) {
      progress_->started(id);
      progress_->output(id, 1, "1\n2\n3\n");
      if (id % 3 == 0) progress_->note(id, "waiting");
      if (id % 4 == 1) progress_->finished(id, build::Outcome::kDone, "");
      if (id % 7 == 1) progress_->finished(id, build::Outcome::kCached, "");
      pass(1);
      frame();
      EXPECT_LE(screen_.lines().size(), std::max<size_t>(rows - 1, 1)) << screen_.text();
    }
    progress_->finish();
    take_output();
    EXPECT_EQ(screen_.lines().front().substr(0, 13), "[+] Building ");
  }
}

TEST_F(PictureTest, AResizeLeavesNothingBehind) {
  open({200, 50});
  plan(8, std::string(150, 'n') + " {}");
  for (int id = 0; id < 5; id++) progress_->started(id);
  progress_->output(4, 1, "short\n" + std::string(190, 'o') + "\n");
  frame();
  EXPECT_EQ(screen_.lines().size(), 8u);
  for (TerminalSize size :
       {TerminalSize{80, 50}, TerminalSize{40, 50}, TerminalSize{120, 30}, TerminalSize{200, 50}}) {
    resize(size);
    frame();
    Lines lines = screen_.lines();
    ASSERT_EQ(lines.size(), 8u) << size.columns << "\n" << screen_.text();
    EXPECT_EQ(lines[0], "[+] Building 0.0s (0/8), 5 running");
    EXPECT_EQ(lines[1].size(), size.columns - 1);
    EXPECT_TRUE(lines[1].ends_with(" 0.0s")) << lines[1];
  }
}

}  // namespace corten::report
