#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <latch>
#include <thread>

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "store/directory_body.h"
#include "store/shelves.h"

namespace corten::store {

class StoreTest : public testing::Test {
 protected:
  Entry file(std::string_view path, std::string_view text, uint32_t mode = 0644) {
    Entry e;
    e.path = RootfsPath(path);
    e.mode = mode;
    e.uid = geteuid();
    e.gid = getegid();
    e.size = text.size();
    e.content = store_.contents().add_bytes(text);
    return e;
  }
  // What another command removes, when all that we hold is given up.
  Store::Pruned prune_later(const Store::PruneOptions& options) {
    store_.lease().end();
    Store later(dir_ / "store");
    return later.prune(options);
  }

  TempDir dir_ = TempDir::for_test();
  Store store_{dir_ / "store"};
};

TEST_F(StoreTest, ContentsAreKeptOnceAndWhole) {
  std::string big(3 << 20, 'x');
  write_file_atomic(dir_ / "big", big);
  UniqueFd fd = open_file(dir_ / "big", O_RDONLY);
  auto added = store_.contents().add_file(fd.get(), "big");
  EXPECT_EQ(added.digest, Digest::of(big));
  EXPECT_EQ(added.size, big.size());
  EXPECT_EQ(store_.contents().read(added.digest, SIZE_MAX), big);
  EXPECT_EQ(store_.contents().add_bytes("small"), Digest::of("small"));
  EXPECT_THROW(store_.contents().open(Digest::of("missing")), Error);
}

TEST_F(StoreTest, EightThatMakeTheStoreAtOnceNeitherFailNorWait) {
  for (int round = 0; round < 10; round++) {
    std::string place = dir_ / ("new-" + std::to_string(round));
    std::latch all_stand(8), all_opened(8);
    std::vector<std::thread> commands;
    for (int i = 0; i < 8; i++)
      commands.emplace_back([&] {
        all_stand.arrive_and_wait();
        try {
          Store store(place, [](std::string_view text) { ADD_FAILURE() << text; });
          store.recover_after_crash();
          all_opened.arrive_and_wait();
          store.contents().add_bytes("something");
        } catch (const Error& error) {
          ADD_FAILURE() << error.what();
          all_opened.count_down();
        }
      });
    for (std::thread& command : commands) command.join();
    EXPECT_TRUE(Store(place).contents().has(Digest::of("something")));
  }
}

// With names from the start, and without.
TEST_F(StoreTest, AContentComesWholeHoweverItIsMade) {
  auto files_in_tmp = [&] {
    std::vector<std::string> left;
    for (const std::string& lease : names_in(dir_ / "store/tmp"))
      for (const std::string& name : names_in(dir_ / "store/tmp/" + lease)) left.push_back(name);
    return left;
  };
  Contents& contents = store_.contents();
  write_file_atomic(dir_ / "file", "some text");
  write_file_atomic(dir_ / "body", "in a body");
  for (const char* round : {"first", "second"}) {
    SCOPED_TRACE(round);
    // Of eight that come at once all are content.
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
      threads.emplace_back([&] {
        for (int k = 0; k < 50; k++) contents.add_bytes(round + std::to_string(k));
      });
    for (std::thread& thread : threads) thread.join();
    for (int k = 0; k < 50; k++) {
      std::string text = round + std::to_string(k);
      EXPECT_EQ(contents.read(Digest::of(text), 100), text);
    }
    // Bytes that are not those that somebody read before.
    UniqueFd fd = open_file(dir_ / "file", O_RDONLY);
    EXPECT_FALSE(contents.add_missing(fd.get(), Digest::of(round), "file"));
    EXPECT_FALSE(contents.has(Digest::of(round)));
    // A name that leads to a home that went.
    Digest homeless = Digest::of("in a body");
    ASSERT_EQ(link((dir_ / "body").c_str(), (dir_ / "store/dirs/gone").c_str()), 0);
    contents.set_home(homeless, dir_ / "store/dirs/gone");
    ASSERT_EQ(unlink((dir_ / "store/dirs/gone").c_str()), 0);
    EXPECT_FALSE(contents.has(homeless));
    EXPECT_EQ(contents.add_bytes("in a body"), homeless);
    EXPECT_EQ(contents.read(homeless, 100), "in a body");
    EXPECT_EQ(files_in_tmp(), std::vector<std::string>());
    Contents::allow_nameless_files(false);
  }
  Contents::allow_nameless_files(true);
}

TEST_F(StoreTest, ADirectoryBodyHasOwnersModesAndTimes) {
  Entry directory;
  directory.path = RootfsPath("d");
  directory.type = EntryType::kDirectory;
  directory.mode = 0700;
  directory.uid = geteuid();
  directory.gid = getegid();
  Entry kept = file("d/kept", "same", 0600), own = file("d/own", "same", 0755);
  kept.time_ns = 42'000'000'007;
  Entry link = own;
  link.path = RootfsPath("d/zlink");
  link.hard_link = RootfsPath("d/own");
  Digest id = store_.layers().save(Manifest({directory, kept, own, link}));
  std::string body = store_.layers().directory({id, 1000}, {}).value;
  struct stat st, other;
  ASSERT_EQ(lstat((body + "/d/kept").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtim.tv_sec, 42);
  EXPECT_EQ(st.st_mtim.tv_nsec, 7);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  ASSERT_EQ(lstat((body + "/d/own").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtime, 1000);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
  ASSERT_EQ(lstat((body + "/d/zlink").c_str(), &other), 0);
  EXPECT_EQ(st.st_ino, other.st_ino);
  ASSERT_EQ(lstat((body + "/d").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtime, 1000);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
  // Another layer with the same content in another mode must not disturb the first.
  Digest second = store_.layers().save(Manifest({file("x", "same", 0444)}));
  store_.layers().directory({second, 2000}, {});
  ASSERT_EQ(lstat((body + "/d/own").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
}

TEST_F(StoreTest, AnUpperBecomesALayer) {
  std::string upper = dir_ / "store/tmp/upper";
  make_directories_on_host(upper + "/etc");
  struct stat st;
  ASSERT_EQ(stat(upper.c_str(), &st), 0);
  write_file_atomic(upper + "/etc/new", "fresh");
  write_file_atomic(upper + "/old", "kept time");
  timespec old_times[2] = {{500, 0}, {500, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (upper + "/old").c_str(), old_times, 0), 0);
  ASSERT_EQ(mknod((upper + "/gone").c_str(), S_IFCHR, 0), 0);
  ASSERT_EQ(link((upper + "/old").c_str(), (upper + "/etc/aaa").c_str()), 0);
  CaptureOptions options;
  options.started_ns = st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
  options.layer_time = 1234;
  EmptyTree below;
  options.below = &below;
  // What reaches no layer is not in its directory either: a step above must not see it here and miss it
  // elsewhere.
  bool has_attributes = setxattr((upper + "/etc/new").c_str(), "user.note", "x", 1, 0) == 0;
  Manifest manifest = capture_upper(upper, options);
  if (has_attributes) EXPECT_LT(getxattr((upper + "/etc/new").c_str(), "user.note", nullptr, 0), 0);
  EXPECT_FALSE(manifest.find(RootfsPath("etc/new"))->time_ns);
  EXPECT_EQ(manifest.find(RootfsPath("old"))->time_ns, 500'000'000'000);
  EXPECT_EQ(manifest.find(RootfsPath("old"))->hard_link.str(), "etc/aaa");
  EXPECT_EQ(manifest.find(RootfsPath("gone"))->type, EntryType::kWhiteout);
  ASSERT_EQ(stat((upper + "/etc/new").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtime, 1234);
  LayerRef layer = store_.layers().adopt(manifest, 1234, {}, {upper});
  EXPECT_EQ(layer, (LayerRef{manifest.id(), 1234}));
  EXPECT_FALSE(path_exists(upper));
  std::string body = store_.layers().directory(layer, {}).value;
  EXPECT_EQ(read_file(body + "/etc/new"), "fresh");
  Digest content = manifest.find(RootfsPath("etc/new"))->content;
  EXPECT_EQ(store_.contents().read(content, 100), "fresh");
  // A process that stands on the body counts one name; when the body goes, the content stays.
  ASSERT_EQ(stat((body + "/etc/new").c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 1u);
  store_.layers().remove_body(body, store_.contents().homes());
  EXPECT_FALSE(path_exists(body));
  EXPECT_EQ(store_.contents().read(content, 100), "fresh");
  EXPECT_EQ(read_file(store_.layers().directory(layer, {}).value + "/etc/new"), "fresh");
}

TEST_F(StoreTest, ABigContentMovesIntoTheFirstBodyThatNeedsIt) {
  std::string big(1 << 20, 'b');
  Digest id = store_.layers().save(Manifest({file("big", big)}));
  Digest content = Digest::of(big);
  std::string first = store_.layers().directory({id, 1000}, {}).value,
              second = store_.layers().directory({id, 2000}, {}).value;
  struct stat st, other;
  ASSERT_EQ(lstat(store_.contents().path(content).c_str(), &st), 0);
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  ASSERT_EQ(stat((first + "/big").c_str(), &st), 0);
  ASSERT_EQ(stat((second + "/big").c_str(), &other), 0);
  EXPECT_EQ(st.st_nlink, 1u);
  EXPECT_EQ(other.st_nlink, 1u);
  EXPECT_NE(st.st_ino, other.st_ino);
  EXPECT_EQ(st.st_mtime, 1000);
  store_.layers().remove_body(first, store_.contents().homes());
  EXPECT_EQ(store_.contents().read(content, SIZE_MAX), big);
  EXPECT_EQ(read_file(second + "/big"), big);
}

// A body whose manifest is gone still gives back what lives in it.
TEST_F(StoreTest, ABodyWithoutItsManifestGivesItsContentsBack) {
  std::string big(1 << 20, 'c');
  Digest id = store_.layers().save(Manifest({file("big", big)}));
  std::string body = store_.layers().directory({id, 1000}, {}).value;
  std::string manifest = dir_ / ("store/layers/" + id.hex().substr(0, 2) + "/" + id.hex());
  ASSERT_EQ(unlink(manifest.c_str()), 0);
  store_.layers().remove_body(body, store_.contents().homes());
  EXPECT_EQ(store_.contents().read(Digest::of(big), SIZE_MAX), big);
  EXPECT_FALSE(path_exists(body));
}

TEST_F(StoreTest, ActionsImagesAndTags) {
  Digest layer = store_.layers().save(Manifest({file("f", "x")}));
  Action action{Digest::of("key"), "exact", {layer, 7}, "{}"};
  store_.record_action(action);
  EXPECT_EQ(store_.find_action(action.key)->layer, action.layer);
  EXPECT_FALSE(store_.find_action(Digest::of("other")));
  Image image;
  image.config = "{\"a\":1}";
  image.id = Digest::of(image.config);
  image.layers = {{layer, 7}};
  image.size = 1;
  image.tags = {"docker.io/library/x:latest"};
  store_.save_image(image);
  EXPECT_EQ(store_.find_image("docker.io/library/x:latest")->layers, image.layers);
  EXPECT_EQ(store_.find_image(image.id.short_hex())->config, image.config);
  EXPECT_FALSE(store_.find_image("docker.io/library/y:latest"));
  EXPECT_TRUE(store_.untag("docker.io/library/x:latest"));
  EXPECT_FALSE(store_.untag("docker.io/library/x:latest"));
  auto pruned = prune_later({});
  EXPECT_EQ(pruned.deleted.size(), 1u);
  EXPECT_TRUE(Store(dir_ / "store").find_action(action.key)) << "the cache stays";
  Store::PruneOptions all;
  all.collect.all = true;
  all.collect.may_go = [](const CacheRecord&) { return true; };
  prune_later(all);
  Store later(dir_ / "store");
  EXPECT_FALSE(later.find_action(action.key));
  EXPECT_FALSE(later.contents().has(Digest::of("x")));
}

TEST_F(StoreTest, DamageIsFoundAndTakenAway) {
  Digest layer = store_.layers().save(Manifest({file("f", "x"), file("g", "y")}));
  store_.record_action({Digest::of("key"), "exact", {layer, 7}, "{}"});
  Image image;
  image.config = "{}";
  image.id = Digest::of(image.config);
  image.layers = {{layer, 7}};
  store_.save_image(image);
  EXPECT_TRUE(store_.check(false).empty());
  write_file_atomic(store_.contents().path(Digest::of("x")), "z");
  EXPECT_EQ(store_.check(false).size(), 1u);
  EXPECT_EQ(store_.check(true).size(), 4u) << "the content, its layer, the action, the image";
  EXPECT_TRUE(store_.check(false).empty());
  EXPECT_FALSE(store_.image_by_id(image.id));
}

// Rows that cannot be read keep nobody from repairing, and the others stay.
TEST_F(StoreTest, DamagedRowsAreFoundAndTakenAway) {
  Digest layer = store_.layers().save(Manifest({file("f", "x")}));
  auto save = [&](const std::string& config) {
    Image image;
    image.config = config;
    image.id = Digest::of(image.config);
    image.layers = {{layer, 7}};
    store_.save_image(image);
    store_.record_action({Digest::of(config), "exact", {layer, 7}, "{}"});
    store_.save_index({{{"linux", "amd64", "", "", {}}, image.id}},
                      {"docker.io/library/x:" + config.substr(2, 1)});
    return image.id;
  };
  Digest kept = save("{\"a\":1}");
  const std::pair<const char*, const char*> damages[] = {
      {"actions", "layer='short'"}, {"actions", "key=x'00'"},   {"images", "layers='[{}]'"},
      {"images", "id='no digest'"}, {"indexes", "members='['"}, {"indexes", "id=7"},
      {"indexes", "members='[]'"},  {"tags", "image=x'11'"},    {"diffs", "diff_id='x'"},
      {"images", "layers=x'ff00'"}};
  store_.layers().remember_diff({layer, 7}, {{Digest::of("diff")}, 1});
  for (const auto& [table, change] : damages) {
    Digest other = save("{\"b\":1}");
    std::string row = std::string(table) == "diffs"     ? "1"
                      : std::string(table) == "actions" ? "key=x'" + Digest::of("{\"b\":1}").hex() + "'"
                      : std::string(table) == "tags"    ? "name LIKE '%:b'"
                      : std::string(table) == "images"  ? "id=x'" + other.hex() + "'"
                                                       : "id=(SELECT image FROM tags WHERE name LIKE '%x:b')";
    store_.database().execute(fmt::format("UPDATE {} SET {} WHERE {}", table, change, row));
    EXPECT_FALSE(store_.check(false).empty()) << table << " " << change;
    EXPECT_FALSE(store_.check(true).empty()) << table << " " << change;
    EXPECT_TRUE(store_.check(false).empty()) << table << " " << change;
    EXPECT_NO_THROW(store_.images()) << table << " " << change;
    EXPECT_NO_THROW(store_.indexes()) << table << " " << change;
    EXPECT_NO_THROW(store_.actions()) << table << " " << change;
    EXPECT_NO_THROW(Collector(store_).records()) << table << " " << change;
    EXPECT_TRUE(store_.image_by_id(kept)) << table << " " << change;
  }
}

TEST_F(StoreTest, DamageInADirectoryIsFoundAndAContentThatIsMissingIsNone) {
  Digest layer = store_.layers().save(Manifest({file("f", "x"), file("g", "y")}));
  store_.record_action({Digest::of("key"), "exact", {layer, 7}, "{}"});
  std::string body = store_.layers().directory({layer, 7}, {}).value;
  EXPECT_TRUE(store_.check(false).empty());
  write_file_atomic(body + "/g", "z");
  auto damages = store_.check(true);
  ASSERT_EQ(damages.size(), 1u);
  EXPECT_EQ(damages[0].wrong, "the bytes of /g have another digest");
  EXPECT_FALSE(path_exists(body));
  EXPECT_TRUE(store_.check(false).empty());
  EXPECT_TRUE(store_.find_action(Digest::of("key"))) << "a directory is made again";
  std::string name = store_.contents().path(Digest::of("nothing"));
  make_directories_on_host(HostPath{name}.parent());
  ASSERT_EQ(symlink("../../dirs/ab/gone/f", name.c_str()), 0);
  EXPECT_TRUE(store_.check(true).empty());
  EXPECT_FALSE(path_exists(name));
}

TEST_F(StoreTest, ACrashLosesWhatWasNotSyncedAndNothingElse) {
  Digest kept = store_.contents().add_bytes("synced");
  store_.make_durable();
  store_.database().execute(
      "UPDATE facts SET value=CAST(value AS INTEGER)+100 WHERE name='durable'; INSERT OR REPLACE INTO facts "
      "VALUES('boot','another')");
  write_file_atomic(store_.contents().path(kept), "damaged, but older than the barrier: not looked at");
  store_.recover_after_crash();
  EXPECT_TRUE(store_.contents().has(kept));
  store_.database().execute(
      "UPDATE facts SET value='0' WHERE name='durable'; INSERT OR REPLACE INTO facts "
      "VALUES('boot','another')");
  Digest whole = store_.contents().add_bytes("whole"), lost = store_.contents().add_bytes("lost");
  ASSERT_EQ(truncate(store_.contents().path(lost).c_str(), 0), 0);
  store_.recover_after_crash();
  EXPECT_TRUE(store_.contents().has(whole));
  EXPECT_FALSE(store_.contents().has(lost));
}

// An image that is there already is synced once more when one of its layers was written since.
TEST_F(StoreTest, AnImageIsDurableWithAllItsLayers) {
  Image image;
  image.config = "{}";
  image.id = Digest::of(image.config);
  image.layers = {{store_.layers().save(Manifest()), 5}};
  auto unsynced = [&] {
    Statement row = store_.database().prepare("SELECT count(*) FROM layers WHERE boot IS NOT NULL");
    row.step();
    return row.integer(0);
  };
  auto forget_the_barrier = [&] { store_.database().execute("DELETE FROM facts WHERE name='durable'"); };
  auto was_synced = [&] {
    Statement row = store_.database().prepare("SELECT count(*) FROM facts WHERE name='durable'");
    row.step();
    return row.integer(0) == 1;
  };
  EXPECT_EQ(unsynced(), 1);
  store_.save_image(image);
  EXPECT_EQ(unsynced(), 0);
  forget_the_barrier();
  store_.save_image(image);
  EXPECT_FALSE(was_synced()) << "nothing was written";
  store_.database()
      .prepare("UPDATE layers SET boot=?")
      .bind(trim(read_file("/proc/sys/kernel/random/boot_id", 256)))
      .run();
  store_.save_image(image);
  EXPECT_TRUE(was_synced());
  EXPECT_EQ(unsynced(), 0);
  // Another image of the same layers is not there yet.
  forget_the_barrier();
  image.config = "{ }";
  image.id = Digest::of(image.config);
  store_.save_image(image);
  EXPECT_TRUE(was_synced());
}

TEST_F(StoreTest, WhatAKilledCommandLeftGoesAway) {
  make_directories_on_host(dir_ / "store/tmp/0123456789abcdef");
  write_file_atomic(dir_ / "store/tmp/0123456789abcdef/left", "x");
  write_file_atomic(dir_ / "store/leases/0123456789abcdef", "");
  Store other(dir_ / "store");
  TempDir used = other.temporary("used");
  {
    FileLock alive = FileLock::exclusive(dir_ / "store/leases/0123456789abcdef");
    store_.clean_temporary();
    EXPECT_TRUE(path_exists(dir_ / "store/tmp/0123456789abcdef/left")) << "its command lives";
  }
  store_.clean_temporary();
  EXPECT_FALSE(path_exists(dir_ / "store/tmp/0123456789abcdef"));
  EXPECT_FALSE(path_exists(dir_ / "store/leases/0123456789abcdef"));
  EXPECT_TRUE(path_exists(used.path()));
}

TEST_F(StoreTest, AnIndexOfAnOlderVersionIsBroughtUp) {
  store_.database().execute(
      "DROP TABLE facts; DROP TABLE indexes; DROP TABLE absent; ALTER TABLE diffs DROP COLUMN checkpoints; "
      "ALTER TABLE blobs DROP COLUMN recipe; ALTER TABLE blobs DROP COLUMN used; "
      "ALTER TABLE cache_mounts DROP COLUMN sharing; ALTER TABLE cache_mounts DROP COLUMN owner; "
      "PRAGMA user_version=1");
  Store again(dir_ / "store");
  EXPECT_NO_THROW(again.make_durable());
}

TEST_F(StoreTest, AnIndexIsChosenByPlatformAndKeepsItsImages) {
  oci::Platform amd64{"linux", "amd64", "", "", {}}, arm7{"linux", "arm", "v7", "", {}};
  auto make = [&](const char* text) {
    Image image;
    image.config = text;
    image.id = Digest::of(image.config);
    store_.save_image(image);
    return image.id;
  };
  Digest a = make("{\"a\":1}"), b = make("{\"b\":1}");
  ImageIndex index = store_.save_index({{amd64, a}, {arm7, b}}, {"docker.io/library/x:1"});
  EXPECT_EQ(store_.save_index({{amd64, a}, {arm7, b}}, {}).id, index.id) << "the id is the list's";
  EXPECT_EQ(index.platforms(), "linux/amd64, linux/arm/v7");
  EXPECT_EQ(store_.find_image("docker.io/library/x:1", amd64)->id, a);
  oci::Platform arm64{"linux", "arm64", "", "", {}}, riscv{"linux", "riscv64", "", "", {}};
  EXPECT_EQ(store_.find_image("docker.io/library/x:1", arm64)->id, b) << "what a 64-bit ARM runs";
  EXPECT_THROW(store_.find_image("docker.io/library/x:1", riscv), Error);
  EXPECT_EQ(store_.find_index(index.id.hex().substr(0, 8))->tags.size(), 1u);
  EXPECT_FALSE(store_.find_index(a.to_string()));
  prune_later({});
  {
    Store later(dir_ / "store");
    EXPECT_TRUE(later.image_by_id(a)) << "held by the index";
  }
  EXPECT_TRUE(store_.check(false).empty());
  store_.delete_image(b);
  ASSERT_EQ(store_.check(true).size(), 1u);
  EXPECT_TRUE(store_.indexes().empty()) << "an index without one of its images is of no use";
  prune_later({});
  EXPECT_FALSE(Store(dir_ / "store").image_by_id(a));
}

TEST_F(StoreTest, ANewerStoreIsRefused) {
  write_file_atomic(dir_ / "store/format", "corten-store-99\n");
  EXPECT_THROW(Store again(dir_ / "store"), Error);
}

TEST_F(StoreTest, DestroyLeavesNothing) {
  store_.layers().save(Manifest({file("f", "x")}));
  store_.destroy();
  EXPECT_FALSE(path_exists(dir_ / "store"));
}

}  // namespace corten::store
