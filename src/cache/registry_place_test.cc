#include "cache/registry_place.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "oci/manifest.h"
#include "oci/media_type.h"
#include "registry/server/raw_client_test.h"

namespace corten::cache {
namespace {

class RegistryPlaceTest : public registry::serving::ServerTest {
 protected:
  void SetUp() override { start(); }
  RegistryPlace place() {
    return RegistryPlace(remote_, oci::Reference::parse(fmt::format("127.0.0.1:{}/c:main", server_->port())));
  }

  registry::Hosts hosts_;
  registry::Access access_{{.http = {.proxies = {}}, .credentials = {}}};
  registry::Remote remote_{access_, hosts_, {.retry = {.first_pause_ms = 1}}};
};

NewBlob blob_of(const std::string& bytes) {
  return {oci::describe("application/octet-stream", bytes),
          [bytes](uint64_t offset) { return http::RequestBody::of(bytes.substr(offset)).open(); }};
}

TEST_F(RegistryPlaceTest, KeepsBlobsAndOneManifest) {
  RegistryPlace here = place();
  EXPECT_EQ(here.manifest(), std::nullopt);
  NewBlob blob = blob_of("what a step gave");
  EXPECT_FALSE(here.has_blob(blob.descriptor));
  here.put_blob(blob);
  here.put_blob(blob);
  EXPECT_TRUE(here.has_blob(blob.descriptor));
  EXPECT_EQ(here.read_blob(blob.descriptor, 100), "what a step gave");

  oci::Manifest manifest;
  manifest.config = blob.descriptor;
  const std::string first = oci::emit_manifest(manifest);
  here.put_manifest(first);
  EXPECT_EQ(here.manifest(), first);
  manifest.annotations["again"] = "yes";
  here.put_manifest(oci::emit_manifest(manifest));
  EXPECT_EQ(here.manifest(), oci::emit_manifest(manifest));
  EXPECT_TRUE(here.name().ends_with("/c:main"));
}

TEST_F(RegistryPlaceTest, ABlobThatIsNotThereIsAnError) {
  EXPECT_THROW(place().read_blob(blob_of("nowhere").descriptor, 100), Error);
}

}  // namespace
}  // namespace corten::cache
