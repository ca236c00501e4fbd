#include "cache/mount_pack.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <random>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace corten::cache {
namespace {

namespace fs = std::filesystem;

std::string random_bytes(size_t size, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

class MountPackTest : public testing::Test {
 protected:
  MountPackTest() {
    fs::create_directories(data());
    owners_.recorded = false;
  }
  ~MountPackTest() override {
    // Directories without a write bit are in the way of a plain user's removal.
    for (const std::string& top : {mount_, unpacked_})
      if (fs::exists(top)) remove_tree(top);
  }
  std::string data(const std::string& path = {}) const {
    return mount_ + "/data" + (path.empty() ? "" : "/" + path);
  }
  void write(const std::string& path, std::string_view bytes, mode_t mode = 0644) {
    fs::create_directories(fs::path(path).parent_path());
    UniqueFd fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    write_fully(fd.get(), bytes, path);
    ASSERT_EQ(fchmod(fd.get(), mode), 0);
  }
  static void set_time(const std::string& path, int64_t seconds, long ns) {
    timespec times[2] = {{seconds, ns}, {seconds, ns}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
  }

  PackedMount pack(const KnownChunks& known = {}) {
    return pack_mount(
        mount_,
        {.owners = owners_, .known = known, .put = [&](const oci::Descriptor& blob, std::string bytes) {
           EXPECT_EQ(oci::describe(kChunkMediaType, bytes), blob);
           EXPECT_TRUE(place_.emplace(blob.digest, std::move(bytes)).second) << "sent twice";
         }});
  }
  void unpack(std::string_view recipe) {
    if (fs::exists(unpacked_)) remove_tree(unpacked_);
    fs::create_directories(unpacked_);
    unpack_mount(recipe, unpacked_, {.owners = owners_, .fetch = [&](const oci::Descriptor& blob) {
                                       std::lock_guard lock(mutex_);
                                       return place_.at(blob.digest);
                                     }});
  }

  // Everything that has to arrive, by path.
  std::map<std::string, std::string> picture(const std::string& top) const {
    std::map<std::string, std::string> all;
    std::map<ino_t, std::string> first_names;
    std::vector<std::string> paths = {"."};
    for (const auto& item : fs::recursive_directory_iterator(top))
      paths.push_back(item.path().lexically_relative(top));
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths) {
      const std::string host = top + "/" + path;
      struct stat st;
      EXPECT_EQ(lstat(host.c_str(), &st), 0) << host;
      if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) continue;
      RecordedOwner owner{.uid = st.st_uid, .gid = st.st_gid};
      if (owners_.recorded && !S_ISLNK(st.st_mode))
        owner = read_recorded_owner(host.c_str()).value_or(RecordedOwner{});
      if (owner.device_type != 0) continue;
      std::string line = fmt::format("{:o} {}:{} {}.{:09}", st.st_mode, owner.uid, owner.gid,
                                     st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
      if (S_ISLNK(st.st_mode)) line += " -> " + fs::read_symlink(host).string();
      if (S_ISREG(st.st_mode)) {
        line += " " + Digest::of(read_file(host)).hex();
        if (st.st_nlink > 1) line += " = " + first_names.emplace(st.st_ino, path).first->second;
      }
      all[path] = line;
    }
    return all;
  }
  void expect_round_trip(const KnownChunks& known = {}) {
    unpack(pack(known).recipe);
    EXPECT_EQ(picture(unpacked_ + "/data"), picture(data()));
  }

  TempDir temp_ = TempDir::for_test();
  std::string mount_ = temp_ / "mount", unpacked_ = temp_ / "unpacked";
  store::Owners owners_;
  std::mutex mutex_;
  std::map<Digest, std::string> place_;
};

// As root with owners of others, as a user with the own.
TEST_F(MountPackTest, WhatArrivesIsWhatWasThere) {
  write(data("a/file"), "text");
  write(data("a.b/file"), "sorts between a and what is in it, as bytes");
  write(data("a/empty"), "");
  write(data("big/one"), random_bytes(5'000'000, 1));
  write(data("bin/tool"), "#!", 0755);
  write(data("bin/setuid"), "s", 04711);
  write(data("name with\nline end \xFF"), "x");
  write(data("readonly/file"), "r", 0444);
  fs::create_directories(data("empty directory"));
  fs::create_directories(data("z"));
  ASSERT_EQ(link(data("a/file").c_str(), data("z/link").c_str()), 0);
  ASSERT_EQ(symlink("/usr/bin/python3", data("venv").c_str()), 0);
  ASSERT_EQ(symlink("../../../../etc/shadow", data("z/up").c_str()), 0);
  ASSERT_EQ(mkfifo(data("z/fifo").c_str(), 0600), 0);
  UniqueFd socket_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX};
  ASSERT_LT(data("z/s").size(), sizeof address.sun_path);
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", data("z/s").c_str());
  ASSERT_EQ(bind(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  if (geteuid() == 0) {
    ASSERT_EQ(lchown(data("a/empty").c_str(), 1000, 50), 0);
    ASSERT_EQ(lchown(data("venv").c_str(), 7, 8), 0);
    ASSERT_EQ(lchown(data("z").c_str(), 1000, 1000), 0);
    ASSERT_EQ(lchown(data().c_str(), 33, 33), 0);
  }
  write(mount_ + "/seen", "what was seen");
  write(mount_ + "/lock", "");
  write(mount_ + "/users", "");
  set_time(data("a/file"), 1'700'000'000, 123'456'789);
  set_time(data("a/empty"), -5, 999'999'999);
  set_time(data("venv"), 4'000'000'000, 1);
  set_time(data("a"), 5, 5);
  ASSERT_EQ(chmod(data("readonly").c_str(), 0555), 0);
  set_time(data("readonly"), 6, 6);
  ASSERT_EQ(chmod(data().c_str(), 01777), 0);
  set_time(data(), 7, 7);

  const PackedMount packed = pack();
  EXPECT_EQ(packed.left_out, 2u) << "the fifo and the socket";
  EXPECT_EQ(pack(known_chunks(parse_recipe(packed.recipe))).recipe, packed.recipe) << "nothing by chance";
  unpack(packed.recipe);
  EXPECT_EQ(picture(unpacked_ + "/data"), picture(data()));
  EXPECT_EQ(read_file(unpacked_ + "/seen"), "what was seen");
  EXPECT_FALSE(fs::exists(unpacked_ + "/lock"));
  EXPECT_FALSE(fs::exists(unpacked_ + "/users"));
}

TEST_F(MountPackTest, AnEmptyMount) {
  PackedMount packed = pack();
  EXPECT_TRUE(packed.chunks.empty());
  unpack(packed.recipe);
  EXPECT_TRUE(fs::is_empty(unpacked_ + "/data"));
  EXPECT_FALSE(fs::exists(unpacked_ + "/seen"));
}

TEST_F(MountPackTest, OwnersThatAreRecords) {
  owners_.recorded = true;
  write(data("file"), "x");
  write(data("of nobody"), "x");
  write(data("device"), "");
  ASSERT_EQ(write_recorded_owner(data().c_str(), {.uid = 5, .gid = 6}), 0);
  ASSERT_EQ(write_recorded_owner(data("file").c_str(), {.uid = 1000, .gid = 50}), 0);
  ASSERT_EQ(write_recorded_owner(data("device").c_str(), {.device_type = S_IFCHR, .device_major = 1}), 0);
  ASSERT_EQ(symlink("file", data("link").c_str()), 0);
  expect_round_trip();
  EXPECT_EQ(read_recorded_owner((unpacked_ + "/data/file").c_str())->to_string(), "1000:50");
  EXPECT_EQ(read_recorded_owner((unpacked_ + "/data").c_str())->to_string(), "5:6");
  EXPECT_EQ(read_recorded_owner((unpacked_ + "/data/of nobody").c_str())->to_string(), "0:0");
  EXPECT_FALSE(fs::exists(unpacked_ + "/data/device"));
}

TEST_F(MountPackTest, OnlyChangedChunksAreSent) {
  for (int i = 0; i < 40; i++)
    write(data(fmt::format("f{:02}", i)), random_bytes(500'000, 10 + static_cast<uint32_t>(i)));
  write(mount_ + "/seen", "first");
  const PackedMount first = pack();
  EXPECT_GT(first.put_bytes, 20'000'000u);
  KnownChunks known = known_chunks(parse_recipe(first.recipe));
  EXPECT_EQ(pack(known).put_bytes, 0u);

  write(mount_ + "/seen", "second");
  const PackedMount second = pack(known);
  EXPECT_GT(second.put_bytes, 0u);
  EXPECT_LT(second.put_bytes, 100u) << "the record has chunks of its own";

  known = known_chunks(parse_recipe(second.recipe));
  write(data("f20"), random_bytes(500'100, 99));
  const PackedMount third = pack(known);
  EXPECT_LT(third.put_bytes, 8u << 20);
  EXPECT_LT(third.chunks.size(), first.chunks.size() + 4);
  unpack(third.recipe);
  EXPECT_EQ(picture(unpacked_ + "/data"), picture(data()));
  // Equal files are equal chunks where the cuts fall alike: one is sent once (put checks that).
  write(data("g1"), std::string(20 << 20, 'x'));
  expect_round_trip(known_chunks(parse_recipe(third.recipe)));
}

TEST_F(MountPackTest, WhatChangesMeanwhileIsLeftOut) {
  write(data("a"), "before");
  write(data("b"), random_bytes(12 << 20, 5));
  write(data("c"), "behind");
  ASSERT_EQ(link(data("b").c_str(), data("d").c_str()), 0);
  bool is_first = true;
  PackedMount packed = pack_mount(
      mount_, {.owners = owners_, .known = {}, .put = [&](const oci::Descriptor& blob, std::string bytes) {
                 place_.emplace(blob.digest, std::move(bytes));
                 if (std::exchange(is_first, false)) {
                   ASSERT_EQ(truncate(data("b").c_str(), 3 << 20), 0);
                 }
               }});
  EXPECT_EQ(packed.left_out, 1u);
  unpack(packed.recipe);
  auto arrived = picture(unpacked_ + "/data");
  EXPECT_FALSE(arrived.contains("b"));
  EXPECT_EQ(read_file(unpacked_ + "/data/a"), "before");
  EXPECT_EQ(read_file(unpacked_ + "/data/c"), "behind");
  EXPECT_EQ(fs::file_size(unpacked_ + "/data/d"), 3u << 20)
      << "its other name came later, and was whole then";
}

TEST_F(MountPackTest, ChunksAreVerified) {
  write(data("a"), random_bytes(3 << 20, 6));
  PackedMount packed = pack();
  for (auto& [digest, bytes] : place_) bytes.back() = static_cast<char>(bytes.back() + 1);
  EXPECT_THROW(unpack(packed.recipe), Error);
  // A writer that lies about what a blob holds: right as a blob, wrong as a chunk.
  MountRecipe lying = parse_recipe(packed.recipe);
  const std::string other = [&] {
    write(data("a"), random_bytes(3 << 20, 7));
    return pack().recipe;
  }();
  lying.chunks[0].blob = parse_recipe(other).chunks[0].blob;
  EXPECT_THROW(unpack(emit_recipe(lying)), Error);
  place_.clear();
  EXPECT_THROW(unpack(other), std::exception) << "what fetch() throws comes through";
}

TEST_F(MountPackTest, NothingThatIsThereIsWrittenTo) {
  write(data("a"), "x");
  PackedMount packed = pack();
  fs::create_directories(unpacked_);
  fs::create_directories(temp_ / "outside");
  fs::create_directory_symlink(temp_ / "outside", unpacked_ + "/data");
  EXPECT_THROW(unpack_mount(packed.recipe, unpacked_,
                            {.owners = owners_,
                             .fetch = [&](const oci::Descriptor& blob) { return place_.at(blob.digest); }}),
               Error);
  EXPECT_TRUE(fs::is_empty(temp_ / "outside"));
}

TEST_F(MountPackTest, EndsWhenItIsCancelled) {
  write(data("a"), "x");
  Cancellation cancellation;
  cancellation.cancel();
  KnownChunks none;
  EXPECT_THROW(
      pack_mount(mount_, {.owners = owners_, .known = none, .put = {}, .cancellation = cancellation}), Error);
}

TEST_F(MountPackTest, ManySmallFiles) {
  for (int d = 0; d < 25; d++) {
    fs::create_directories(data(fmt::format("d{}", d)));
    for (int f = 0; f < 200; f++)
      write(data(fmt::format("d{}/f{}", d, f)), fmt::format("file {} of {}", f, d));
  }
  PackedMount packed = pack();
  EXPECT_LT(packed.put_bytes, 80'000u);
  unpack(packed.recipe);
  EXPECT_EQ(picture(unpacked_ + "/data"), picture(data()));
}

}  // namespace
}  // namespace corten::cache
