#include "source/layer_import.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>

#include <gtest/gtest.h>

#include "archive/tar.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "oci/media_type.h"

namespace corten::source {
namespace {

using archive::TarHeader;
using archive::TarType;

struct Member {
  std::string path, bytes;
  std::string hard_link;
};

std::string tar_of(const std::vector<Member>& members) {
  archive::StringSink sink;
  archive::TarWriter tar(sink);
  for (const Member& member : members) {
    TarHeader header;
    header.path = member.path;
    header.mode = 0644;
    header.type = member.hard_link.empty() ? TarType::kFile : TarType::kHardlink;
    header.link = member.hard_link;
    header.size = member.bytes.size();
    tar.add(header, member.bytes);
  }
  tar.finish();
  return sink.take();
}

class LayerImport : public testing::Test {
 protected:
  oci::Descriptor add(const std::string& tar) {
    oci::Descriptor blob = oci::describe(oci::kOciLayer, tar);
    bytes_[blob.digest] = tar;
    blobs_.push_back(blob);
    diff_ids_.push_back({blob.digest});
    return blob;
  }
  static void write(int fd, const std::string& bytes) {
    if (ftruncate(fd, 0) != 0 ||
        pwrite(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      fail_errno("write");
  }
  store::Rootfs import(const BlobFetch& fetch) { return import_layers(blobs_, diff_ids_, 2, fetch, store_); }
  BlobFetch plain() {
    return [this](const oci::Descriptor& blob, int fd, const std::function<void(uint64_t)>& reached) {
      fetches_++;
      write(fd, bytes_.at(blob.digest));
      reached(blob.size);
    };
  }
  std::optional<ErrorCode> code_of_failure(const BlobFetch& fetch) {
    try {
      import(fetch);
      return std::nullopt;
    } catch (const Error& error) {
      return error.code();
    }
  }
  // Of an import where this blob fails, and the others never become whole until they are given up.
  std::string words_of_failure(const oci::Descriptor& bad) {
    std::atomic<bool> has_begun = false;
    const BlobFetch fetch = [&](const oci::Descriptor& blob, int,
                                const std::function<void(uint64_t)>& reached) {
      constexpr int kMostTurns = 10'000;
      for (int i = 0; blob.digest == bad.digest && i < kMostTurns && !has_begun; i++) usleep(1000);
      if (blob.digest == bad.digest) fail(ErrorCode::kIo, "the network is gone");
      has_begun = true;
      try {
        for (int i = 0; i < kMostTurns; i++) {
          reached(1);
          usleep(1000);
        }
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kCancelled);
        stopped_++;
        throw;
      }
      fail(ErrorCode::kFailed, "nobody gave it up");
    };
    try {
      import(fetch);
      return "none";
    } catch (const Error& error) {
      return error.message();
    }
  }
  std::string file(const store::Rootfs& rootfs, const char* path) {
    const store::Entry* entry = store_.layers().view(rootfs).find(RootfsPath(path));
    return entry ? store_.contents().read(entry->content, 1 << 20) : "none";
  }

  TempDir dir_ = TempDir::for_test();
  store::Store store_{dir_ / "store"};
  std::vector<oci::Descriptor> blobs_;
  std::vector<DiffId> diff_ids_;
  std::map<Digest, std::string> bytes_;
  std::atomic<int> fetches_ = 0, stopped_ = 0;
};

TEST_F(LayerImport, WhatLiesBelowMayComeLast) {
  const oci::Descriptor lower = add(tar_of({{"a", "lower", ""}, {"gone", "x", ""}}));
  const oci::Descriptor upper = add(tar_of({{"b", "", "a"}, {".wh.gone", "", ""}, {"c", "upper", ""}}));
  std::mutex mutex;
  std::condition_variable changed;
  bool has_upper = false;
  const store::Rootfs rootfs =
      import([&](const oci::Descriptor& blob, int fd, const std::function<void(uint64_t)>& reached) {
        std::unique_lock lock(mutex);
        if (blob.digest == lower.digest) changed.wait(lock, [&] { return has_upper; });
        write(fd, bytes_.at(blob.digest));
        reached(blob.size);
        has_upper |= blob.digest == upper.digest;
        changed.notify_all();
      });
  ASSERT_EQ(rootfs.size(), 2u);
  EXPECT_EQ(file(rootfs, "b"), "lower") << "a hard link to a file of the layer below";
  EXPECT_EQ(file(rootfs, "c"), "upper");
  EXPECT_EQ(file(rootfs, "gone"), "none");
  EXPECT_TRUE(store_.has_blob(upper.digest));
  EXPECT_EQ(imported_layer(upper, diff_ids_[1], store_), rootfs[1]);
}

TEST_F(LayerImport, ReadsWhileTheBlobComes) {
  const oci::Descriptor blob = add(tar_of({{"early", std::string(5000, 'e'), ""}, {"late", "l", ""}}));
  const Digest early = Digest::of(std::string(5000, 'e'));
  const store::Rootfs rootfs =
      import([&](const oci::Descriptor&, int fd, const std::function<void(uint64_t)>& reached) {
        write(fd, bytes_.at(blob.digest));
        reached(512 + 5120 + 512);
        for (int i = 0; i < 10'000 && !store_.contents().exists(early); i++) usleep(1000);
        EXPECT_TRUE(store_.contents().exists(early)) << "before the blob was whole";
        reached(blob.size);
      });
  EXPECT_EQ(file(rootfs, "late"), "l");
}

TEST_F(LayerImport, BeginsAgainWhenTheDownloadDoes) {
  const oci::Descriptor blob = add(tar_of({{"f", std::string(3000, 'r'), ""}}));
  const std::string wrong = tar_of({{"f", std::string(3000, 'w'), ""}});
  std::string garbage = wrong;
  garbage.replace(0, 100, std::string(100, '\x7f'));
  for (const std::string& first : {wrong, garbage, std::string()}) {
    const TempDir other = TempDir::for_test();
    store::Store fresh(other / "store");
    const store::Rootfs rootfs = import_layers(
        blobs_, diff_ids_, 1,
        [&](const oci::Descriptor&, int fd, const std::function<void(uint64_t)>& reached) {
          reached(0);
          write(fd, first);
          reached(first.size());
          usleep(20'000);  // whoever reads has begun, or has not
          reached(0);
          write(fd, bytes_.at(blob.digest));
          reached(blob.size);
        },
        fresh);
    EXPECT_EQ(fresh.layers().view(rootfs).find(RootfsPath("f"))->content, Digest::of(std::string(3000, 'r')));
  }
}

TEST_F(LayerImport, OneThatFailsEndsTheOthers) {
  const oci::Descriptor bad = add(tar_of({{"f", "1", ""}}));
  add(tar_of({{"g", "2", ""}}));
  add(tar_of({{"h", "3", ""}}));
  EXPECT_EQ(words_of_failure(bad), "the network is gone");
  EXPECT_LE(stopped_, 2) << "those that had not begun never do";
}

TEST_F(LayerImport, OneThatFailsIsNotKeptWaitingByThoseBelow) {
  add(tar_of({{"f", "1", ""}}));
  const oci::Descriptor bad = add(tar_of({{"g", "2", ""}}));
  EXPECT_EQ(words_of_failure(bad), "the network is gone");
  EXPECT_EQ(stopped_, 1);
}

TEST_F(LayerImport, ATarOfAnotherDigestIsRefused) {
  const oci::Descriptor blob = add(tar_of({{"f", "1", ""}}));
  diff_ids_[0] = {Digest::of("another")};
  EXPECT_EQ(code_of_failure(plain()), ErrorCode::kCorrupt);
  EXPECT_FALSE(store_.has_blob(blob.digest));
}

TEST_F(LayerImport, WhatIsNoTarNamesItsLayer) {
  add(tar_of({{"f", "1", ""}}));
  const oci::Descriptor bad = add("no tar");
  try {
    import(plain());
    FAIL();
  } catch (const Error& error) {
    const std::string words = error.what();
    EXPECT_NE(words.find(bad.digest.to_string()), std::string::npos) << words;
  }
}

TEST_F(LayerImport, ASizeThatLiesIsFoundOutThoughTheBlobIsHere) {
  add(tar_of({{"f", "1", ""}}));
  import(plain());
  blobs_[0].size = 5;
  const std::string path = store_.blob_path(blobs_[0].digest);
  const BlobFetch fetch = fetch_from_files([&](const oci::Descriptor&) { return open_file(path, O_RDONLY); });
  EXPECT_EQ(code_of_failure(fetch), ErrorCode::kCorrupt);
}

TEST_F(LayerImport, OneBlobTwice) {
  add(tar_of({{"f", "1", ""}}));
  add(tar_of({{"g", "2", ""}}));
  blobs_.push_back(blobs_[0]);
  diff_ids_.push_back(diff_ids_[0]);
  const store::Rootfs rootfs = import(plain());
  EXPECT_EQ(fetches_, 2);
  ASSERT_EQ(rootfs.size(), 3u);
  EXPECT_EQ(rootfs[0], rootfs[2]);
  EXPECT_EQ(import(plain()), rootfs);
  EXPECT_EQ(fetches_, 2) << "the store has them";
}

TEST_F(LayerImport, OneBlobOfTwoSizes) {
  add(tar_of({{"f", "1", ""}}));
  blobs_.push_back(blobs_[0]);
  diff_ids_.push_back(diff_ids_[0]);
  blobs_[1].size++;
  EXPECT_EQ(code_of_failure(plain()), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace corten::source
