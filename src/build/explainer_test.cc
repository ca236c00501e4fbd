#include "build/explainer.h"

#include <gtest/gtest.h>

#include "base/temp_dir.h"

namespace corten::build {
namespace {

Json run_record(const std::string& command, const std::string& version = "1") {
  return Json::parse(R"({"step":"run","command":["/bin/sh","-c",")" + command + R"("],"environment":["V=)" +
                     version + R"("],"user":""})");
}
Digest key_of(const Json& record) {
  return Digest::of(record.dump());
}

class ExplainerTest : public testing::Test {
 protected:
  struct Ran {
    std::string name;
    Json record;
    std::string state = "done";
  };
  void build(const std::string& id, const std::string& context, const std::vector<Ran>& steps) {
    store::BuildPlace place = store_.begin_build(id);
    Journal journal(place.directory + "/steps");
    int number = 0;
    for (const Ran& ran : steps) {
      JournalStep step{.id = number++, .name = ran.name, .line = 1, .state = ran.state};
      step.key = key_of(ran.record).hex();
      step.record = ran.record;
      step.started_ns = ++clock_;
      journal.add(step);
    }
    store_.save_build(
        {.id = id,
         .started_ns = ++clock_,
         .finished_ns = ++clock_,
         .status = "done",
         .name = "page",
         .details = Json::object({{"context", context}, {"file", "Dockerfile"}, {"target", ""}})});
  }
  Miss explain(const std::string& name, const Json& record, bool no_cache = false) {
    Explainer explainer(store_, {"now", "page", "/mine", "Dockerfile", ""});
    Step step;
    step.name = name;
    step.no_cache = no_cache;
    return explainer.explain(step, key_of(record), record);
  }
  int64_t clock_ = 1000;
  TempDir dir_ = TempDir::for_test();
  store::Store store_{dir_ / "store"};
};

TEST_F(ExplainerTest, NothingLikeItWasEverRun) {
  EXPECT_EQ(explain("[1/1] RUN a", run_record("a")).reason, Miss::Reason::kFirst);
  build("other", "/mine", {{"[1/1] COPY x /", Json::parse(R"({"step":"copy"})")}});
  EXPECT_EQ(explain("[1/1] RUN a", run_record("a")).reason, Miss::Reason::kFirst);
  EXPECT_EQ(explain("[1/1] RUN a", run_record("a"), true).reason, Miss::Reason::kNoCache);
}

TEST_F(ExplainerTest, TheSameThingIsNearerThanANewerBuildOfAnother) {
  build("old", "/mine", {{"[2/3] RUN make", run_record("make", "1")}});
  build("new", "/elsewhere", {{"[2/3] RUN make", run_record("make", "2")}});
  Miss miss = explain("[2/3] RUN make", run_record("make", "3"));
  EXPECT_EQ(miss.build, "old");
  EXPECT_EQ(difference_text(miss.differences.at(0)), R"(variable V was "1", is "3")");
}

TEST_F(ExplainerTest, TheSameTextIsNearerThanTheSamePlace) {
  build("old", "/mine",
        {{"[2/3] RUN make", run_record("make", "1")}, {"[3/3] RUN test", run_record("test", "1")}});
  // A line was put before them.
  EXPECT_EQ(explain("[3/4] RUN make", run_record("make", "2")).step, "[2/3] RUN make");
  // Its text was changed: the place counts.
  Miss miss = explain("[2/3] RUN make -O", run_record("make -O", "1"));
  EXPECT_EQ(miss.step, "[2/3] RUN make");
  EXPECT_EQ(miss.differences.at(0).input, "command");
}

TEST_F(ExplainerTest, TheNewestOfEqualsCounts) {
  build("first", "/mine", {{"[1/1] RUN a", run_record("a", "1")}});
  build("second", "/mine", {{"[1/1] RUN a", run_record("a", "2")}});
  EXPECT_EQ(explain("[1/1] RUN a", run_record("a", "3")).build, "second");
}

TEST_F(ExplainerTest, WithTheSameInputs) {
  build("old", "/mine", {{"[1/1] RUN a", run_record("a"), "failed"}});
  Miss miss = explain("[1/1] RUN a", run_record("a"));
  EXPECT_EQ(miss.reason, Miss::Reason::kFailedBefore);
  EXPECT_TRUE(miss.differences.empty());
  build("later", "/mine", {{"[1/1] RUN a", run_record("a"), "done"}});
  EXPECT_EQ(explain("[1/1] RUN a", run_record("a")).reason, Miss::Reason::kForgotten);
}

TEST_F(ExplainerTest, ADamagedJournalCostsAnExplanationAndNoMore) {
  build("old", "/mine", {{"[1/1] RUN a", run_record("a", "1")}});
  write_file_atomic(store_.build_directory("old") + "/steps",
                    "rubbish\n{\"step\":\"x\"}\n[1]\n{\"record\":{\"step\":7}}\n");
  EXPECT_EQ(explain("[1/1] RUN a", run_record("a", "2")).reason, Miss::Reason::kFirst);
}

}  // namespace
}  // namespace corten::build
