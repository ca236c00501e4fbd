#include "build/copy.h"

#include <gtest/gtest.h>

#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"

namespace corten::build {
namespace {

class CopyTest : public testing::Test {
 protected:
  CopyTest() : contents_(dir_ / "contents", lease_) {
    for (const char* name : {"leases", "tmp"}) make_directories_on_host(dir_ / name);
  }

  // A context of one file, whose content is in the store.
  store::Manifest context(const std::string& bytes) {
    store::Entry file;
    file.path = RootfsPath("file");
    file.mode = 0644;
    file.size = bytes.size();
    file.content = contents_.add_bytes(bytes);
    return store::Manifest({file});
  }

  ErrorCode copy_cancelled(const CopyStep& step, const std::string& bytes) {
    store::RootfsView source({std::make_shared<store::Manifest>(context(bytes))});
    store::EmptyTree nothing;
    store::LayerBuilder builder(nothing);
    Cancellation cancellation;
    cancellation.cancel();
    try {
      copy_into(step, select_sources(step, source, "context"), store::Accounts::parse("", ""), contents_,
                builder, {.cancellation = cancellation});
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  }

  TempDir dir_ = TempDir::for_test();
  store::Lease lease_{dir_.path()};
  store::Contents contents_;
};

// A build that is cancelled must not wait for an archive or a tree that never ends.
TEST_F(CopyTest, EndsWhenItIsCancelled) {
  CopyStep step;
  step.sources = {"file"};
  step.destination = "/";
  EXPECT_EQ(copy_cancelled(step, "text"), ErrorCode::kCancelled);
  step.is_add = true;
  archive::StringSink archive;
  archive::TarWriter writer(archive);
  archive::TarHeader member;
  member.path = "member";
  writer.add(member, "");
  writer.finish();
  EXPECT_EQ(copy_cancelled(step, archive.take()), ErrorCode::kCancelled);
}

}  // namespace
}  // namespace corten::build
