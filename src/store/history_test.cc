#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <latch>
#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "store/store.h"

namespace corten::store {
namespace {

class HistoryTest : public testing::Test {
 protected:
  void build(const std::string& id, int64_t started, const std::string& name,
             const std::string& status = "done") {
    BuildPlace place = store_.begin_build(id);
    store_.save_build({.id = id,
                       .started_ns = started,
                       .finished_ns = status == "running" ? 0 : started + 1,
                       .status = status,
                       .name = name,
                       .details = Json::object({{"context", "/c"}})});
  }
  std::string found(std::string_view text) { return store_.find_build(text).id; }
  TempDir dir_ = TempDir::for_test();
  Store store_{dir_ / "store"};
};

TEST_F(HistoryTest, ABuildIsFoundByIdNameAndPlace) {
  EXPECT_THROW(found(""), Error);
  build("aaa111", 1, "page");
  build("aab222", 2, "page");
  build("bbb333", 3, "other");
  EXPECT_EQ(found(""), "bbb333");
  EXPECT_EQ(found("^0"), "bbb333");
  EXPECT_EQ(found("^2"), "aaa111");
  EXPECT_EQ(found("bbb"), "bbb333");
  EXPECT_EQ(found("aaa111"), "aaa111");
  EXPECT_EQ(found("page"), "aab222");
  for (const char* bad : {"^3", "^", "^x", "aa", "ccc", "^-1"}) EXPECT_THROW(found(bad), Error) << bad;
  build("aaac", 4, "x");
  EXPECT_THROW(found("aaa"), Error);  // two begin so
  EXPECT_EQ(store_.builds(2).size(), 2u);
}

TEST_F(HistoryTest, OneThatRunsNoMoreWasKilled) {
  {
    BuildPlace place = store_.begin_build("aaa111");
    store_.save_build(
        {.id = "aaa111", .started_ns = 1, .finished_ns = 0, .status = "running", .name = "x", .details = {}});
    EXPECT_EQ(store_.builds().at(0).status, "running");
  }
  EXPECT_EQ(store_.builds().at(0).status, "killed");
}

TEST_F(HistoryTest, TheOldestGiveWay) {
  store_.database().execute("BEGIN");
  for (int i = 0; i < 520; i++) build("build" + std::to_string(1000 + i), i, "x");
  store_.database().execute("COMMIT");
  EXPECT_LE(store_.builds().size(), 500u);
  EXPECT_EQ(store_.builds().at(0).id, "build1519");
  EXPECT_FALSE(path_exists(store_.build_directory("build1000")));
  EXPECT_TRUE(path_exists(store_.build_directory("build1519")));
  store_.delete_build("build1519");
  EXPECT_FALSE(path_exists(store_.build_directory("build1519")));
  EXPECT_EQ(store_.builds().at(0).id, "build1518");
}

// Builds that begin at the same moment all find the same old ones to forget.
TEST_F(HistoryTest, TwoThatBeginAtOnceForgetTheSameBuilds) {
  store_.database().execute("BEGIN");
  for (int i = 0; i < 620; i++) build("build" + std::to_string(1000 + i), i, "x");
  for (int i = 0; i < 120; i++) {  // of whom the first 120 are there again
    std::string id = "build" + std::to_string(1000 + i);
    make_directories_on_host(store_.build_directory(id));
    for (const char* name : {"lock", "log", "record"})
      write_file_atomic(store_.build_directory(id) + "/" + name, "", 0600, Durable::kNo);
    store_.save_build(
        {.id = id, .started_ns = i, .finished_ns = i, .status = "done", .name = "x", .details = {}});
  }
  store_.database().execute("COMMIT");
  std::vector<std::thread> builds;
  std::latch all_stand(4);
  for (int i = 0; i < 4; i++)
    builds.emplace_back([&, i] {
      try {
        Store mine(dir_ / "store");
        all_stand.arrive_and_wait();
        mine.begin_build("new" + std::to_string(i));
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();
      }
    });
  for (std::thread& build : builds) build.join();
  EXPECT_EQ(store_.builds(1000).size(), 499u);
  EXPECT_FALSE(path_exists(store_.build_directory("build1000")));
}

// A row of a damaged index names no directory of the store, nor one outside of it, as a build's to remove.
TEST_F(HistoryTest, ARowWithoutAnIdIsNoBuild) {
  build("aaa111", 1, "page");
  Digest kept = store_.contents().add_bytes("kept");
  for (const char* id : {"", "../contents", "aaa111/..", "AAA"}) {
    store_.save_build(
        {.id = id, .started_ns = 2, .finished_ns = 0, .status = "running", .name = "x", .details = {}});
    EXPECT_EQ(store_.builds().size(), 1u) << id;
    EXPECT_THROW(store_.delete_build(id), Error) << id;
    EXPECT_THROW(store_.find_build("x"), Error) << id;
  }
  EXPECT_TRUE(store_.contents().has(kept));
  EXPECT_EQ(store_.check(true).size(), 1u);
  EXPECT_TRUE(store_.check(false).empty());
  EXPECT_EQ(found("page"), "aaa111");
}

TEST_F(HistoryTest, TheKeyIsMadeOnceAndIsOurs) {
  std::string key = store_.history_key();
  EXPECT_EQ(key.size(), 32u);
  EXPECT_EQ(store_.history_key(), key);
  struct stat st;
  ASSERT_EQ(stat((dir_ / "store/history-key").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_NE(Store(dir_ / "another").history_key(), key);
}

TEST_F(HistoryTest, ListsAreWrittenOnceAndGiveWay) {
  Digest first = Digest::of("first");
  EXPECT_FALSE(store_.read_list(first));
  int made = 0;
  for (int i = 0; i < 2; i++)
    store_.save_list(first, [&] {
      made++;
      return std::string("text");
    });
  EXPECT_EQ(made, 1);
  EXPECT_EQ(store_.read_list(first), "text");
  // One that is longer than any may be is not kept; sparse files stand for many long ones.
  store_.save_list(Digest::of("long"), [] { return std::string((64 << 20) + 1, 'x'); });
  EXPECT_FALSE(store_.read_list(Digest::of("long")));
  for (int i = 0; i < 9; i++) {
    std::string file = dir_ / ("store/lists/" + Digest::of(std::to_string(i)).hex());
    write_file_atomic(file, "");
    ASSERT_EQ(truncate(file.c_str(), 32 << 20), 0);
    timespec times[2] = {{1000 + i, 0}, {1000 + i, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  }
  store_.save_list(Digest::of("new"), [] { return std::string("new"); });
  EXPECT_FALSE(store_.read_list(Digest::of("0")));
  EXPECT_FALSE(store_.read_list(Digest::of("1")));
  EXPECT_TRUE(store_.read_list(Digest::of("8")));
  EXPECT_TRUE(store_.read_list(first));
  EXPECT_TRUE(store_.read_list(Digest::of("new")));
}

}  // namespace
}  // namespace corten::store
