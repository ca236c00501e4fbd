#include "cache/local_place.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "archive/source.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "oci/layout.h"
#include "oci/manifest.h"
#include "oci/media_type.h"

namespace corten::cache {
namespace {

class OwnedSource : public archive::ByteSource {
 public:
  explicit OwnedSource(std::string bytes) : bytes_(std::move(bytes)) {}
  size_t read(void* data, size_t size) override { return source_.read(data, size); }

 private:
  std::string bytes_;
  archive::StringSource source_{bytes_};
};

NewBlob blob_of(const std::string& bytes) {
  return {oci::describe("application/octet-stream", bytes),
          [bytes](uint64_t offset) { return std::make_unique<OwnedSource>(bytes.substr(offset)); }};
}

// A manifest over the blobs; `note` makes it differ.
std::string manifest_of(const std::vector<NewBlob>& blobs, const std::string& note = {}) {
  oci::Manifest manifest;
  manifest.config = blobs.at(0).descriptor;
  for (const NewBlob& blob : blobs) manifest.layers.push_back(blob.descriptor);
  if (!note.empty()) manifest.annotations["note"] = note;
  return oci::emit_manifest(manifest);
}

class LocalPlaceTest : public testing::Test {
 protected:
  LocalPlace writer(const std::string& tag = "latest") {
    return LocalPlace(dir_, {.tag = tag, .is_written = true});
  }
  LocalPlace reader(const std::string& tag = "latest") { return LocalPlace(dir_, {.tag = tag}); }
  std::string file_of(const NewBlob& blob) { return dir_ + "/" + oci::blob_path(blob.descriptor.digest); }
  static void make_old(const std::string& path) {
    timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }
  static void write(const std::string& path, std::string_view bytes) {
    UniqueFd fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
    write_fully(fd.get(), bytes, path);
  }
  static size_t count(const std::string& directory) {
    size_t n = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) n++;
    return n;
  }

  TempDir temp_ = TempDir::for_test();
  std::string dir_ = temp_ / "cache";
};

TEST_F(LocalPlaceTest, KeepsBlobsAndAManifestByTag) {
  EXPECT_EQ(reader().manifest(), std::nullopt) << "there is no directory";
  EXPECT_FALSE(path_exists(dir_)) << "reading makes none";
  NewBlob blob = blob_of("what a step gave");
  {
    LocalPlace place = writer();
    EXPECT_EQ(place.manifest(), std::nullopt);
    EXPECT_FALSE(place.has_blob(blob.descriptor));
    place.put_blob(blob);
    place.put_blob(blob);
    place.put_manifest(manifest_of({blob}));
    place.put_manifest(manifest_of({blob}, "again"));
  }
  writer("other").put_manifest(manifest_of({blob}, "other"));
  EXPECT_EQ(reader().manifest(), manifest_of({blob}, "again"));
  EXPECT_EQ(reader("other").manifest(), manifest_of({blob}, "other"));
  EXPECT_EQ(reader("third").manifest(), std::nullopt);
  EXPECT_TRUE(reader().has_blob(blob.descriptor));
  EXPECT_EQ(reader().read_blob(blob.descriptor, 100), "what a step gave");
  EXPECT_THROW(reader().read_blob(blob.descriptor, 10), Error);
  UniqueFd into = open_file(temp_ / "into", O_RDWR | O_CREAT);
  reader().fetch_blob(blob.descriptor, into.get());
  EXPECT_EQ(read_file(temp_ / "into"), "what a step gave");
  Digest first = Digest::of(manifest_of({blob}));
  EXPECT_EQ(LocalPlace(dir_, {.digest = first}).manifest(), manifest_of({blob}));
  EXPECT_EQ(LocalPlace(dir_, {.digest = Digest::of("none")}).manifest(), std::nullopt);
  EXPECT_EQ(count(dir_ + "/ingest"), 0u);
  EXPECT_EQ(oci::parse_index(read_file(dir_ + "/index.json")).manifests.size(), 2u);
}

TEST_F(LocalPlaceTest, WhatIsThereOfOthersStays) {
  NewBlob blob = blob_of("theirs");
  {
    LocalPlace place = writer("x");
    place.put_blob(blob);
    place.put_manifest(manifest_of({blob}));
  }
  // As BuildKit and others write it: with a full name, and without any name.
  oci::Index index = oci::parse_index(read_file(dir_ + "/index.json"));
  index.manifests[0].annotations[std::string(oci::kImageNameAnnotation)] = "docker.io/library/a:x";
  oci::Descriptor nameless = index.manifests[0];
  nameless.annotations.clear();
  index.manifests.push_back(nameless);
  write(dir_ + "/index.json", oci::emit_index(index));
  writer("x").put_manifest(manifest_of({blob}, "ours"));
  EXPECT_EQ(oci::parse_index(read_file(dir_ + "/index.json")).manifests.size(), 3u);
  EXPECT_EQ(reader("x").manifest(), manifest_of({blob}, "ours"));
}

TEST_F(LocalPlaceTest, AResetForgetsWhatWasThere) {
  NewBlob old = blob_of("old"), fresh = blob_of("new");
  {
    LocalPlace place = writer("old");
    place.put_blob(old);
    place.put_manifest(manifest_of({old}));
  }
  make_old(file_of(old));
  LocalPlace place(dir_, {.is_written = true, .is_reset = true});
  EXPECT_EQ(place.manifest(), std::nullopt);
  EXPECT_TRUE(reader("old").manifest()) << "until the new one is whole";
  place.put_blob(fresh);
  place.put_manifest(manifest_of({fresh}));
  EXPECT_EQ(place.manifest(), manifest_of({fresh}));
  EXPECT_FALSE(reader("old").manifest());
  EXPECT_EQ(place.drop_unreachable(), 3u);
  EXPECT_FALSE(reader().has_blob(old.descriptor));
}

TEST_F(LocalPlaceTest, DropsWhatNoManifestReaches) {
  NewBlob a = blob_of("a"), b = blob_of("bb"), deep = blob_of("deep"), young = blob_of("young");
  LocalPlace place = writer();
  for (const NewBlob& blob : {a, b, deep, young}) place.put_blob(blob);
  place.put_manifest(manifest_of({a, b}));
  // An index, as BuildKit's older caches are, that names a manifest and a layer.
  oci::Index index;
  const std::string inner = manifest_of({deep});
  place.put_blob(blob_of(inner));
  index.manifests = {oci::describe(oci::kOciManifest, inner)};
  writer("by-index").put_manifest(oci::emit_index(index));
  for (const NewBlob& blob : {a, b, deep, blob_of(inner)}) make_old(file_of(blob));
  EXPECT_EQ(place.drop_unreachable(), 0u) << "all are named, or young";

  place.put_manifest(manifest_of({a}));
  EXPECT_EQ(place.drop_unreachable(), 2u) << "b alone: the manifest before is young";
  EXPECT_FALSE(place.has_blob(b.descriptor));
  for (const NewBlob& blob : {a, deep, young}) EXPECT_TRUE(place.has_blob(blob.descriptor));
  write(dir_ + "/blobs/sha256/readme", "not ours");
  write(dir_ + "/ingest/corten-1-2", "left by a kill");
  write(dir_ + "/ingest/other", "not ours");
  for (const char* file : {"/blobs/sha256/readme", "/ingest/corten-1-2", "/ingest/other"})
    make_old(dir_ + file);
  EXPECT_EQ(place.drop_unreachable(), 14u);
  EXPECT_TRUE(path_exists(dir_ + "/blobs/sha256/readme"));
  EXPECT_TRUE(path_exists(dir_ + "/ingest/other"));
}

TEST_F(LocalPlaceTest, NothingGoesWhileAnotherWrites) {
  NewBlob named = blob_of("named"), theirs = blob_of("not named yet");
  LocalPlace place = writer();
  place.put_blob(named);
  place.put_manifest(manifest_of({named}));
  {
    LocalPlace other = writer("slow");
    other.put_blob(theirs);
    make_old(file_of(theirs));
    EXPECT_EQ(place.drop_unreachable(), 0u);
    other.put_manifest(manifest_of({theirs}));
  }
  make_old(file_of(theirs));
  EXPECT_EQ(place.drop_unreachable(), 0u) << "named by now";
  EXPECT_TRUE(place.has_blob(theirs.descriptor)) << "this made it young";
  writer("slow").put_manifest(manifest_of({named}));
  EXPECT_EQ(place.drop_unreachable(), 0u) << "young";
  make_old(file_of(theirs));
  EXPECT_EQ(place.drop_unreachable(), theirs.descriptor.size);
}

TEST_F(LocalPlaceTest, WhatCannotBeReadKeepsEverything) {
  NewBlob blob = blob_of("a"), loose = blob_of("loose");
  LocalPlace place = writer();
  place.put_blob(blob);
  place.put_blob(loose);
  place.put_manifest(manifest_of({blob}));
  make_old(file_of(loose));
  const std::string manifest = dir_ + "/" + oci::blob_path(Digest::of(manifest_of({blob})));
  write(manifest, "not what its name says");
  EXPECT_THROW(place.drop_unreachable(), Error);
  EXPECT_TRUE(path_exists(file_of(loose)));
  EXPECT_THROW(place.manifest(), Error);
  ASSERT_EQ(unlink(manifest.c_str()), 0);
  EXPECT_THROW(place.manifest(), Error);
  EXPECT_EQ(place.drop_unreachable(), loose.descriptor.size) << "one that is gone names nothing";
}

TEST_F(LocalPlaceTest, BytesAreVerified) {
  NewBlob blob = blob_of("right");
  LocalPlace place = writer();
  place.put_blob(blob);
  write(file_of(blob), "wrong");
  EXPECT_THROW(place.read_blob(blob.descriptor, 100), Error);
  UniqueFd into = open_file(temp_ / "into", O_RDWR | O_CREAT);
  EXPECT_THROW(place.fetch_blob(blob.descriptor, into.get()), Error);
  write(file_of(blob), "cut");
  EXPECT_FALSE(place.has_blob(blob.descriptor));
  place.put_blob(blob);
  EXPECT_EQ(place.read_blob(blob.descriptor, 100), "right") << "another size is written anew";
  NewBlob liar = blob_of("said");
  liar.open = [](uint64_t) { return std::make_unique<OwnedSource>("gave"); };
  EXPECT_THROW(place.put_blob(liar), Error);
  EXPECT_FALSE(place.has_blob(liar.descriptor));
  EXPECT_EQ(count(dir_ + "/ingest"), 0u);
}

TEST_F(LocalPlaceTest, NoLinkLeadsOut) {
  NewBlob blob = blob_of("secret");
  write(temp_ / "outside", "secret");
  LocalPlace place = writer();
  ASSERT_EQ(symlink((temp_ / "outside").c_str(), file_of(blob).c_str()), 0);
  EXPECT_FALSE(place.has_blob(blob.descriptor));
  EXPECT_THROW(place.read_blob(blob.descriptor, 100), Error);
  place.put_blob(blob);
  EXPECT_EQ(place.read_blob(blob.descriptor, 100), "secret") << "the link was replaced, not followed";
  ASSERT_EQ(unlink((dir_ + "/corten.lock").c_str()), 0);
  ASSERT_EQ(symlink((temp_ / "made").c_str(), (dir_ + "/corten.lock").c_str()), 0);
  EXPECT_THROW(writer(), Error);
  EXPECT_FALSE(path_exists(temp_ / "made"));
  ASSERT_EQ(mkfifo((dir_ + "/index.json").c_str(), 0666), 0);
  EXPECT_THROW(reader().manifest(), Error) << "and does not wait for a writer";
}

TEST_F(LocalPlaceTest, AnotherIndexJsonIsNotReplaced) {
  ASSERT_EQ(mkdir(dir_.c_str(), 0755), 0);
  write(dir_ + "/index.json", R"({"pages": ["of a web site"]})");
  EXPECT_THROW(writer(), Error);
  EXPECT_EQ(read_file(dir_ + "/index.json"), R"({"pages": ["of a web site"]})");
}

TEST_F(LocalPlaceTest, ManyWritersLoseNothing) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 3; round++) {
        LocalPlace place = writer(fmt::format("t{}-{}", i, round));
        NewBlob blob = blob_of(fmt::format("{} {}", i, round)), shared = blob_of("of all");
        place.put_blob(blob);
        place.put_blob(shared);
        place.put_manifest(manifest_of({blob, shared}));
        place.drop_unreachable();
        // BuildKit takes the lock's file away when it is done.
        if (round == 1) unlink((dir_ + "/index.json.lock").c_str());
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 4; i++)
    for (int round = 0; round < 3; round++) {
      NewBlob blob = blob_of(fmt::format("{} {}", i, round));
      EXPECT_EQ(reader(fmt::format("t{}-{}", i, round)).manifest(), manifest_of({blob, blob_of("of all")}));
      EXPECT_TRUE(reader().has_blob(blob.descriptor));
    }
}

TEST_F(LocalPlaceTest, AKillLeavesWhatReads) {
  for (int round = 0; round < 12; round++) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int i = 0;; i++) {
        LocalPlace place = writer();
        NewBlob blob = blob_of(fmt::format("{} {}", round, i) + std::string(100'000, 'x'));
        place.put_blob(blob);
        place.put_manifest(manifest_of({blob}));
        place.drop_unreachable();
      }
    }
    usleep(static_cast<useconds_t>(1000 + round * 2900));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    LocalPlace place = reader();
    if (auto bytes = place.manifest()) {
      for (const oci::Descriptor& layer : oci::parse_manifest(*bytes).layers)
        EXPECT_EQ(place.read_blob(layer, 1 << 20).size(), layer.size);
    }
  }
  NewBlob blob = blob_of("the last");
  LocalPlace place = writer();
  place.put_blob(blob);
  place.put_manifest(manifest_of({blob}));
  EXPECT_EQ(reader().manifest(), manifest_of({blob})) << "no lock was left behind";
}

}  // namespace
}  // namespace corten::cache
