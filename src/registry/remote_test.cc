// The client against the embedded server: what goes right. What goes wrong: remote_faults_test.cc.
#include "registry/remote.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "oci/media_type.h"
#include "registry/server/raw_client_test.h"

namespace corten::registry {
namespace {

std::string pattern(size_t size) {
  std::string bytes(size, 'x');
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<char>(i * 31 + i / 997);
  return bytes;
}

OutgoingBlob outgoing(const std::string& bytes) {
  OutgoingBlob blob;
  blob.descriptor = oci::describe("application/octet-stream", bytes);
  blob.open = [bytes](uint64_t offset) { return http::RequestBody::of(bytes.substr(offset)).open(); };
  return blob;
}

class RemoteTest : public serving::ServerTest {
 protected:
  void SetUp() override { start(); }
  oci::Reference name(const std::string& rest) const {
    return oci::Reference::parse(fmt::format("127.0.0.1:{}/{}", server_->port(), rest));
  }
  std::string fetch(const oci::Reference& repository, const oci::Descriptor& blob) {
    UniqueFd file = open_file(place_ / "fetched", O_RDWR | O_CREAT, 0644);
    remote_.fetch_blob(repository, blob, file.get());
    return read_file(place_ / "fetched", 1 << 30);
  }
  oci::Descriptor push_artifact(const oci::Reference& reference, const std::string& type,
                                std::optional<oci::Descriptor> subject = {}) {
    remote_.push_blob(reference, outgoing("{}"));
    oci::Manifest manifest;
    manifest.artifact_type = type;
    manifest.config = oci::empty_descriptor();
    manifest.subject = std::move(subject);
    const std::string bytes = oci::emit_manifest(manifest);
    remote_.put_manifest(reference, bytes, std::string(oci::kOciManifest));
    return oci::describe(oci::kOciManifest, bytes);
  }

  TempDir place_ = TempDir::for_test();
  Hosts hosts_;
  Access access_{{.http = {.proxies = {}}, .credentials = {}}};
  Remote remote_{access_, hosts_, {.retry = {.first_pause_ms = 1}}};
};

TEST_F(RemoteTest, BlobsGoAndComeBack) {
  for (const size_t size : {size_t{1}, size_t{100'000}, size_t{9'000'000}}) {
    const OutgoingBlob blob = outgoing(pattern(size));
    EXPECT_FALSE(remote_.has_blob(name("team/app"), blob.descriptor.digest));
    uint64_t at = 0;
    EXPECT_EQ(remote_.push_blob(name("team/app"), blob, [&](uint64_t now) { at = now; }), Placed::kSent);
    EXPECT_EQ(at, size);
    EXPECT_EQ(remote_.push_blob(name("team/app"), blob), Placed::kThere);
    EXPECT_TRUE(fetch(name("team/app"), blob.descriptor) == pattern(size));
  }
}

TEST_F(RemoteTest, ABlobOfAnotherRepositoryIsMounted) {
  OutgoingBlob blob = outgoing("one of them");
  remote_.push_blob(name("base"), blob);
  blob.open = [](uint64_t) -> std::unique_ptr<archive::ByteSource> {
    ADD_FAILURE() << "it is not read";
    return http::RequestBody::of("one of them").open();
  };
  blob.mount_from = {"base"};
  EXPECT_EQ(remote_.push_blob(name("app"), blob), Placed::kMounted);
}

TEST_F(RemoteTest, ManifestsTagsAndReferrers) {
  const oci::Descriptor image = push_artifact(name("app:v1"), "application/x.image");
  push_artifact(name("app:v2"), "application/x.image");
  EXPECT_EQ(remote_.find(name("app:v1"))->digest, image.digest);
  EXPECT_FALSE(remote_.find(name("app:none")));
  EXPECT_EQ(remote_.manifest(name("app:v1")).descriptor.media_type, oci::kOciManifest);
  EXPECT_EQ(remote_.manifest(name("app@" + image.digest.to_string())).descriptor.digest, image.digest);
  EXPECT_EQ(remote_.tags(name("app")), (std::vector<std::string>{"v1", "v2"}));
  const oci::Descriptor note = push_artifact(name("app"), "application/x.note", image);
  const oci::Index found = remote_.referrers(name("app"), image.digest);
  ASSERT_EQ(found.manifests.size(), 1u);
  EXPECT_EQ(found.manifests[0].digest, note.digest);
  EXPECT_TRUE(remote_.referrers(name("app"), image.digest, "application/x.other").manifests.empty());
  EXPECT_TRUE(remote_.remove_manifest(name("app:v2")));
  EXPECT_FALSE(remote_.remove_manifest(name("app:v2")));
  EXPECT_EQ(remote_.tags(name("app")), (std::vector<std::string>{"v1"}));
}

TEST_F(RemoteTest, WhatIsNotThereIsNamed) {
  try {
    remote_.manifest(name("app:none"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_NE(std::string(error.what()).find("app:none"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("NAME_UNKNOWN"), std::string::npos) << error.what();
  }
  EXPECT_THROW(remote_.tags(name("nowhere")), Error);
}

}  // namespace
}  // namespace corten::registry
