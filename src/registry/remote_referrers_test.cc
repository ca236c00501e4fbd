// Who refers to an image, asked of registries that know it, do not, or are in a bad way.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"
#include "oci/manifest.h"
#include "registry/remote_faults_test.h"

namespace corten::registry {
namespace {

using serving::RawAnswer;
using serving::sha256_text;

constexpr const char* kNote = "application/x.note";

class RemoteReferrers : public RemoteFaults {
 protected:
  void SetUp() override {
    RemoteFaults::SetUp();
    image_ = push_image("app", "v1");
  }
  Digest subject() const { return Digest::of(image_); }
  // One that refers to the image, as an entry of an index.
  oci::Descriptor push_note(const std::string& type_in_the_index = kNote) {
    remote().push_blob(name("app"), outgoing("{}"));
    oci::Manifest manifest;
    manifest.artifact_type = kNote;
    manifest.config = oci::empty_descriptor();
    manifest.subject = oci::describe(oci::kOciManifest, image_);
    const std::string bytes = oci::emit_manifest(manifest);
    remote().put_manifest(name("app"), bytes, std::string(oci::kOciManifest));
    oci::Descriptor entry = oci::describe(oci::kOciManifest, bytes);
    entry.artifact_type = type_in_the_index;
    return entry;
  }
  void put_tag(const oci::Descriptor& entry) {
    oci::Index index;
    index.manifests = {entry};
    remote().put_manifest(name("app:" + fallback_tag(subject())), oci::emit_index(index),
                          std::string(oci::kOciIndex));
  }
  // Another client, which knows nothing of this registry.
  std::vector<oci::Descriptor> ask_anew(std::vector<Fault> faults, const std::string& type = {}) {
    settle(puller_);
    proxy_->play(std::move(faults));
    return remote().referrers(name("app"), subject(), type).manifests;
  }
  size_t asked() const { return proxy_->seen("GET", "/referrers/").size(); }
  static Fault always(const std::string& answer) {
    return {.path = "/referrers/", .times = 0, .instead = answer};
  }

  std::string image_;
};

// A rate limit of a day, to show that nobody waits for it.
const std::string kBrowsersOnly =
    raw_answer("429 Too Many Requests", "<html>Whoa there!</html>", "Retry-After: 86400\r\n");

TEST_F(RemoteReferrers, WhereThereIsNoApiTheTagIsAskedAtOnce) {
  const std::string page = "<html>hello</html>", json = "Content-Type: application/json\r\n";
  const std::vector<std::string> refusals = {
      raw_answer("404 Not Found"),
      raw_answer("404 Not Found", R"({"errors":[{"code":"MANIFEST_UNKNOWN"}]})"),
      raw_answer("303 See Other", "", "Location: https://registry.invalid/-/v2/packages\r\n"),
      raw_answer("400 Bad Request"),
      raw_answer("405 Method Not Allowed"),
      raw_answer("406 Not Acceptable"),
      raw_answer("501 Not Implemented"),
      kBrowsersOnly,
      raw_answer("200 OK", page, "Content-Type: text/html\r\n"),
      raw_answer("200 OK", "{}", json)};
  for (const std::string& refusal : refusals) {
    EXPECT_TRUE(ask_anew({always(refusal)}).empty()) << refusal;
    EXPECT_EQ(asked(), 1u) << refusal;
    EXPECT_EQ(proxy_->seen().size(), 2u) << refusal;
    // And not again.
    EXPECT_TRUE(remote().referrers(name("app"), subject()).manifests.empty());
    EXPECT_EQ(asked(), 1u) << refusal;
  }
  const oci::Descriptor note = push_note();
  put_tag(note);
  for (const std::string& refusal : refusals) {
    const auto found = ask_anew({always(refusal)});
    ASSERT_EQ(found.size(), 1u) << refusal;
    EXPECT_EQ(found[0].digest, note.digest);
  }
}

// Who has no right to ask here may have the right to read the tag; the next one is asked for all the same.
TEST_F(RemoteReferrers, ARefusedPermissionIsNoMissingApi) {
  const oci::Descriptor note = push_note();
  put_tag(note);
  EXPECT_EQ(ask_anew({always(raw_answer("403 Forbidden"))}).size(), 1u);
  EXPECT_EQ(remote().referrers(name("app"), subject()).manifests.size(), 1u);
  EXPECT_EQ(asked(), 2u);
}

// A registry that speaks of itself is waited for: its list would be missed.
TEST_F(RemoteReferrers, ARegistryThatIsBusyIsAskedAgain) {
  const oci::Descriptor note = push_note();  // listed by the API alone
  const std::string limit =
      raw_answer("429 Too Many Requests", R"({"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]})",
                 "Retry-After: 0\r\n");
  for (const std::string& answer : {limit, raw_answer("503 Busy"), raw_answer("502 Bad Gateway", "<html>")}) {
    const auto found = ask_anew({{.path = "/referrers/", .times = 3, .instead = answer}});
    ASSERT_EQ(found.size(), 1u) << answer;
    EXPECT_EQ(found[0].digest, note.digest);
    EXPECT_EQ(asked(), 4u);
    // In the end it is an error, never "nothing".
    settle(puller_);
    EXPECT_EQ(error({always(answer)}, [&] { remote().referrers(name("app"), subject()); }), ErrorCode::kIo);
    EXPECT_LE(asked(), 6u);
  }
  // A cut answer too.
  EXPECT_EQ(ask_anew({{.path = "/referrers/", .cut = 10}}).size(), 1u);
  // Of one that had the API before, nothing means that it has none.
  EXPECT_EQ(ask_anew({}).size(), 1u);
  EXPECT_EQ(error({{.path = "/referrers/", .times = 0, .instead = raw_answer("429 Slow", "<html>")}},
                  [&] { remote().referrers(name("app"), subject()); }),
            ErrorCode::kIo);
  EXPECT_EQ(proxy_->seen("GET", "/manifests/").size(), 0u);
}

// What clients wrote into the tag as a type is not always the manifest's.
TEST_F(RemoteReferrers, TypesOfATagsIndexAreLookedUp) {
  put_tag(push_note("application/vnd.oci.empty.v1+json"));
  const Fault none = always(raw_answer("404 Not Found"));
  EXPECT_EQ(ask_anew({none}, kNote).size(), 1u);
  EXPECT_EQ(ask_anew({none}, "application/x.other").size(), 0u);
  EXPECT_EQ(
      ask_anew({none, {.path = "/manifests/sha256:", .times = 0, .instead = raw_answer("404 Gone")}}, kNote)
          .size(),
      0u);
}

TEST_F(RemoteReferrers, MalformedListsAreErrors) {
  const std::string type = "Content-Type: " + std::string(oci::kOciIndex) + "\r\n";
  settle(puller_);
  EXPECT_EQ(
      error({always(raw_answer("200 OK", "{", type))}, [&] { remote().referrers(name("app"), subject()); }),
      ErrorCode::kInvalid);
}

}  // namespace
}  // namespace corten::registry
