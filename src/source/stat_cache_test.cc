#include "source/stat_cache.h"

#include <gtest/gtest.h>

#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace corten::source {
namespace {

constexpr int64_t kSecond = 1'000'000'000, kNow = 1'000'000 * kSecond;
const Digest kDigest = Digest::of("content");

struct stat file_at(int64_t mtime_ns, int64_t ctime_ns) {
  struct stat st {};
  st.st_dev = 1;
  st.st_ino = 2;
  st.st_size = 3;
  st.st_mode = S_IFREG | 0644;
  st.st_mtim = {mtime_ns / kSecond, mtime_ns % kSecond};
  st.st_ctim = {ctime_ns / kSecond, ctime_ns % kSecond};
  return st;
}

// A build remembers, the next one finds.
class StatCacheTest : public testing::Test {
 protected:
  void remember(const char* path, const struct stat& st) {
    StatCache cache(file_);
    cache.remember(path, st, kDigest, kNow);
    cache.save();
  }
  std::optional<Digest> find(const char* path, const struct stat& st, int64_t now_ns) {
    return StatCache(file_).find(path, st, now_ns);
  }
  TempDir place_ = TempDir::for_test();
  const std::string file_ = place_ / "cache";
};

TEST_F(StatCacheTest, AnOldFileIsBelieved) {
  struct stat st = file_at(kNow - 10 * kSecond, kNow - 10 * kSecond);
  remember("f", st);
  EXPECT_EQ(find("f", st, kNow), kDigest);
  EXPECT_EQ(find("f", st, kNow + 1000 * kSecond), kDigest);
  EXPECT_FALSE(find("g", st, kNow));
}

TEST_F(StatCacheTest, AFileOfTheSameTickIsNot) {
  for (int64_t age : {int64_t{0}, kSecond, 2 * kSecond - 1}) {
    struct stat st = file_at(kNow - age, kNow - age);
    remember("f", st);
    EXPECT_FALSE(find("f", st, kNow + 100 * kSecond)) << age;
  }
  // Also when only one of the two times is young: an mtime that was set back, or one from the future.
  for (auto [mtime, ctime] : {std::pair(kSecond, kNow), std::pair(kNow + 50 * kSecond, kNow - 9 * kSecond)}) {
    struct stat st = file_at(mtime, ctime);
    remember("f", st);
    EXPECT_FALSE(find("f", st, kNow + 100 * kSecond));
  }
}

TEST_F(StatCacheTest, EachFieldCounts) {
  const struct stat st = file_at(kNow - 10 * kSecond, kNow - 10 * kSecond);
  remember("f", st);
  auto changed = [&](auto change) {
    struct stat other = st;
    change(other);
    return !find("f", other, kNow).has_value();
  };
  EXPECT_TRUE(changed([](struct stat& s) { s.st_dev++; }));
  EXPECT_TRUE(changed([](struct stat& s) { s.st_ino++; }));
  EXPECT_TRUE(changed([](struct stat& s) { s.st_size++; }));
  EXPECT_TRUE(changed([](struct stat& s) { s.st_mode ^= 0100; }));
  EXPECT_TRUE(changed([](struct stat& s) { s.st_mtim.tv_nsec++; }));
  EXPECT_TRUE(changed([](struct stat& s) { s.st_ctim.tv_nsec++; }));  // same size, mtime set back by hand
}

TEST_F(StatCacheTest, ADigestFromTheFutureIsNotBelieved) {
  struct stat st = file_at(kNow - 10 * kSecond, kNow - 10 * kSecond);
  remember("f", st);
  EXPECT_FALSE(find("f", st, kNow - 1));
  EXPECT_EQ(find("f", st, kNow), kDigest);
}

TEST(StatCache, IsKeptAndADamagedOneIsEmpty) {
  TempDir place = TempDir::for_test();
  struct stat st = file_at(kNow - 10 * kSecond, kNow - 10 * kSecond);
  {
    StatCache cache(place / "cache");
    cache.remember("a/b", st, kDigest, kNow);
    cache.save();
  }
  EXPECT_EQ(StatCache(place / "cache").find("a/b", st, kNow), kDigest);
  std::string bytes = read_file(place / "cache");
  for (size_t at = 0; at < bytes.size(); at++) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    write_file_atomic(place / "damaged", damaged);
    EXPECT_FALSE(StatCache(place / "damaged").find("a/b", st, kNow)) << at;
  }
  for (size_t length = 0; length < bytes.size(); length++) {
    write_file_atomic(place / "short", bytes.substr(0, length));
    EXPECT_FALSE(StatCache(place / "short").find("a/b", st, kNow)) << length;
  }
}

TEST(StatCache, ABuildAddsWhatItHashedAndTheFileStaysSmall) {
  TempDir place = TempDir::for_test();
  struct stat st = file_at(kNow - 10 * kSecond, kNow - 10 * kSecond);
  const std::string file = place / "cache";
  {
    StatCache cache(file);
    for (int i = 0; i < 500; i++) cache.remember("many/" + std::to_string(i), st, kDigest, kNow);
    cache.save();
  }
  const size_t whole = read_file(file).size();
  size_t largest = 0;
  for (int round = 0; round < 3000; round++) {
    StatCache cache(file);
    cache.remember("many/7", st, Digest::of(std::to_string(round)), kNow);
    cache.save();
    size_t now = read_file(file).size();
    if (round == 0) EXPECT_LT(now, whole + 200);  // one record, not all
    largest = std::max(largest, now);
  }
  EXPECT_LT(largest, 6 * whole);
  StatCache cache(file);
  EXPECT_EQ(cache.find("many/7", st, kNow), Digest::of("2999"));
  EXPECT_EQ(cache.find("many/8", st, kNow), kDigest);
}

TEST(StatCache, WhatLiesBeforeACutBlockIsBelieved) {
  TempDir place = TempDir::for_test();
  struct stat st = file_at(kNow - 10 * kSecond, kNow - 10 * kSecond);
  const std::string file = place / "cache";
  for (const char* path : {"first", "second"}) {
    StatCache cache(file);
    cache.remember(path, st, kDigest, kNow);
    cache.save();
  }
  std::string bytes = read_file(file);
  write_file_atomic(file, bytes.substr(0, bytes.size() - 5));
  {
    StatCache cache(file);
    EXPECT_EQ(cache.find("first", st, kNow), kDigest);
    EXPECT_FALSE(cache.find("second", st, kNow));
    cache.remember("third", st, kDigest, kNow);
    cache.save();
  }
  StatCache cache(file);
  EXPECT_EQ(cache.find("first", st, kNow), kDigest);
  EXPECT_EQ(cache.find("third", st, kNow), kDigest);
}

}  // namespace
}  // namespace corten::source
