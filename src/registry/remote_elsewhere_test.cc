// The client where others have a say: token servers whose tokens end in mid-push, and mirrors that fail or
// lie.
#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "registry/remote_faults_test.h"

namespace corten::registry {
namespace {

using serving::kManifestType;
using serving::manifest_text;
using serving::RawAnswer;
using serving::sha256_text;

class RemoteElsewhere : public RemoteFaults {
 protected:
  // The registry reg.test is behind the proxy, a mirror of it at that port.
  void mirror_at(uint16_t port) {
    const std::string directory = place_ / "etc/containerd/certs.d/reg.test";
    make_directories_on_host(directory);
    write_file_atomic(directory + "/hosts.toml",
                      fmt::format("server = \"http://127.0.0.1:{}\"\n[host.\"http://127.0.0.1:{}\"]\n",
                                  proxy_->port(), port));
    puller_ = std::make_unique<Puller>(20'000, Hosts::from_directories(place_ / "etc", place_ / "user"));
    proxy_->play({});
  }
  std::string fetch_mirrored(const oci::Descriptor& blob) {
    UniqueFd file = open_file(place_ / "fetched", O_RDWR | O_CREAT, 0644);
    remote().fetch_blob(oci::Reference::parse("reg.test/app"), blob, file.get());
    return read_file(place_ / "fetched", 1 << 30);
  }
  const oci::Reference image_ = oci::Reference::parse("reg.test/app:v1");
};

TEST_F(RemoteElsewhere, TokensThatEndInMidPushAreRenewed) {
  std::atomic<int> tokens = 0;
  http::Server token_server([&](const std::string&) {
    return http::answer("200 OK", fmt::format(R"({{"token":"t{}","expires_in":3600}})", ++tokens));
  });
  std::map<std::string, int> uses;
  // Each token is good for two requests, whatever it says.
  Fault gate{.times = 0};
  gate.when = [&](const SeenRequest& request) {
    const std::string token = request.field("Authorization");
    return token.empty() || ++uses[token] > 2;
  };
  gate.instead = raw_answer(
      "401 Who", "",
      fmt::format("WWW-Authenticate: Bearer realm=\"{}\",service=\"s\"\r\n", token_server.url("/token")));
  for (const size_t size : {size_t{200'000}, kLarge, 2 * kLarge}) {
    const std::string bytes = pattern(size);
    proxy_->play({gate, {.method = "PATCH", .takes = 3'000'000}});
    EXPECT_EQ(remote().push_blob(name("app"), outgoing(bytes)), Placed::kSent);
    EXPECT_TRUE(is_stored(bytes));
    EXPECT_LE(proxy_->seen().size(), 16u);
  }
  const int before = tokens;
  EXPECT_GE(before, 4);
  push_image("app", "v0");
  const std::string manifest = manifest_text("{}", "layer");
  for (int i = 0; i < 3; i++)
    remote().put_manifest(name(fmt::format("app:v{}", i)), manifest, std::string(kManifestType));
  EXPECT_EQ(ask("GET", "/v2/app/manifests/v2").body, manifest);
  EXPECT_GT(tokens, before);
  // A server that takes none of them has an end.
  proxy_->play({Fault{.times = 0, .instead = gate.instead}});
  EXPECT_EQ(http::code_of([&] { remote().push_blob(name("app"), outgoing("more")); }),
            ErrorCode::kPermission);
  EXPECT_LE(proxy_->seen().size(), 12u);
}

TEST_F(RemoteElsewhere, AMirrorThatFailsIsPassedOverFromThenOn) {
  const std::string manifest = push_image("app", "v1"), bytes = pattern(300'000);
  const oci::Descriptor blob = stored(bytes);
  const std::string busy = raw_answer("503 Busy");
  for (const Fault& fault : std::vector<Fault>{{.times = 0, .instead = busy}, {.times = 0, .takes = 0}}) {
    FaultProxy mirror(server_->port());
    mirror.play({fault});
    mirror_at(mirror.port());
    EXPECT_EQ(remote().manifest(image_).bytes, manifest);
    const size_t asked = mirror.seen().size();
    EXPECT_GE(asked, 1u);
    EXPECT_LE(asked, 4u);
    EXPECT_TRUE(fetch_mirrored(blob) == bytes);
    EXPECT_EQ(mirror.seen().size(), asked);
    ASSERT_EQ(puller_->warnings.size(), 1u);
    EXPECT_TRUE(puller_->warnings[0].starts_with("mirror 127.0.0.1:")) << puller_->warnings[0];
    puller_.reset();
  }
  // One that nobody listens at.
  uint16_t port = 0;
  {
    FaultProxy gone(server_->port());
    port = gone.port();
  }
  mirror_at(port);
  EXPECT_EQ(remote().manifest(image_).bytes, manifest);
  // One that is cut for ever, in the middle of a blob.
  FaultProxy mirror(server_->port());
  mirror.play({{.path = "/blobs/", .times = 0, .cut = 1000}});
  mirror_at(mirror.port());
  EXPECT_TRUE(fetch_mirrored(blob) == bytes);
}

TEST_F(RemoteElsewhere, AMirrorThatLiesIsNotBelieved) {
  const std::string manifest = push_image("app", "v1"), bytes = pattern(300'000);
  const oci::Descriptor blob = stored(bytes);
  const auto flip = [](RawAnswer& answer) {
    if (!answer.body.empty()) answer.body[answer.body.size() / 2] ^= 1;
  };
  FaultProxy mirror(server_->port());
  mirror.play({{.times = 0, .edit = flip}});
  mirror_at(mirror.port());
  EXPECT_EQ(remote().manifest(image_).bytes, manifest);
  EXPECT_EQ(remote().manifest(image_.with_digest(Digest::of(manifest))).bytes, manifest);
  EXPECT_TRUE(fetch_mirrored(blob) == bytes);
  EXPECT_EQ(mirror.seen("GET", "/blobs/").size(), 1u);
  EXPECT_NE(mirror.seen().at(0).target.find("ns=reg.test"), std::string::npos);
  // Another image under that digest, and one that it does not have.
  mirror.play(
      {{.method = "HEAD",
        .times = 0,
        .edit =
            [](RawAnswer& answer) { set_field(answer, "Docker-Content-Digest", sha256_text("another")); }},
       {.method = "GET", .times = 0, .instead = raw_answer("404 No")}});
  EXPECT_EQ(remote().find(image_.with_digest(Digest::of(manifest)))->digest, Digest::of(manifest));
  EXPECT_EQ(remote().manifest(image_).bytes, manifest);
}

}  // namespace
}  // namespace corten::registry
