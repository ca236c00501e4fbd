// Images that nobody pushed here: of the store, of another registry.
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "base/beneath.h"
#include "base/json.h"
#include "registry/server/raw_client_test.h"

namespace corten::registry::serving {
namespace {

// A store with one image at a time.
class FakeImages : public ImageProvider {
 public:
  std::string find(const std::string& host, const std::string& repository, const std::string& tag) override {
    host_ = host;
    return repository == "page" && tag == "latest" ? state : "";
  }
  void write_layout(const std::string&, const std::string&, const std::string&,
                    const std::string& directory) override {
    made++;
    make_directories_on_host(directory + "/blobs/sha256");
    const std::string manifest = manifest_text("{}", layer);
    for (const std::string& bytes : {std::string("{}"), layer, manifest})
      write_file_atomic(directory + "/blobs/sha256/" + sha256_text(bytes).substr(7),
                        is_damaged ? "other" : bytes);
    write_file_atomic(directory + "/index.json", fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})",
                                                             descriptor_text(kManifestType, manifest)));
  }
  Names list(const std::string& host) override {
    if (state.empty()) return {};
    return {{"page", {"latest"}}, {host + "-only", {"v1", "v2"}}};
  }
  std::string state = "one", layer = std::string(200'000, 'l'), host_;
  bool is_damaged = false;
  std::atomic<int> made = 0;
};

TEST_F(ServerTest, ImagesOfTheStore) {
  const auto images = std::make_shared<FakeImages>();
  options_.service.images = images;
  const std::string path = "/v2/page/manifests/latest", first = manifest_text("{}", images->layer);
  EXPECT_EQ(ask("GET", path).body, first);
  EXPECT_EQ(images->host_, "test");
  EXPECT_EQ(ask("HEAD", path).field("Docker-Content-Digest"), sha256_text(first));
  EXPECT_EQ(ask("HEAD", path).field("Corten-Lent"), "store") << "who pushes must not take it for pushed";
  EXPECT_TRUE(ask("GET", "/v2/page/blobs/" + sha256_text(images->layer)).body == images->layer);
  EXPECT_EQ(ask("GET", "/v2/page/manifests/" + sha256_text(first)).body, first);
  EXPECT_EQ(images->made, 1) << "never again";
  stop();
  EXPECT_EQ(ask("GET", path).body, first);
  EXPECT_EQ(images->made, 1) << "not after a restart either";
  EXPECT_EQ(ask("GET", "/v2/page/manifests/other").status, 404u);
  EXPECT_EQ(ask("GET", "/v2/other/manifests/latest").status, 404u);

  // Built anew: the tag follows, the earlier one goes, unless another tag names it.
  put_manifest("page", "kept", first);
  EXPECT_EQ(ask("HEAD", "/v2/page/manifests/kept").field("Corten-Lent"), "");
  images->state = "two";
  images->layer += "2";
  const std::string second = manifest_text("{}", images->layer);
  EXPECT_EQ(ask("GET", path).body, second);
  EXPECT_EQ(ask("GET", "/v2/page/manifests/kept").body, first);
  images->state = "three";
  images->layer += "3";
  EXPECT_EQ(ask("GET", path).body, manifest_text("{}", images->layer));
  EXPECT_EQ(ask("GET", "/v2/page/manifests/" + sha256_text(second)).status, 404u);

  // What is pushed under the name counts from then on.
  EXPECT_EQ(put_manifest("page", "latest", first).status, 201u);
  images->state = "four";
  EXPECT_EQ(ask("GET", path).body, first);
  EXPECT_EQ(ask("DELETE", path).status, 202u);
  EXPECT_EQ(ask("GET", path).body, manifest_text("{}", images->layer));
}

TEST_F(ServerTest, ImagesOfTheStoreAreListed) {
  const auto images = std::make_shared<FakeImages>();
  options_.service.images = images;
  EXPECT_EQ(ask("GET", "/v2/_catalog").body, R"({"repositories":["page","test-only"]})");
  EXPECT_EQ(ask("GET", "/v2/page/tags/list").body, R"({"name":"page","tags":["latest"]})");
  EXPECT_EQ(images->made, 0) << "nothing is made for a list";
  EXPECT_EQ(ask("GET", "/v2/none/tags/list").status, 404u);
  // Together with what was pushed, each once, in pages.
  push_image("page", "a");
  push_image("page", "latest");
  push_image("other", "v1");
  EXPECT_EQ(ask("GET", "/v2/page/tags/list").body, R"({"name":"page","tags":["a","latest"]})");
  EXPECT_EQ(ask("GET", "/v2/test-only/tags/list?n=1").body, R"({"name":"test-only","tags":["v1"]})");
  EXPECT_EQ(ask("GET", "/v2/test-only/tags/list?n=1").field("Link"),
            "</v2/test-only/tags/list?n=1&last=v1>; rel=\"next\"");
  EXPECT_EQ(ask("GET", "/v2/test-only/tags/list?n=1&last=v1").body, R"({"name":"test-only","tags":["v2"]})");
  EXPECT_EQ(ask("GET", "/v2/_catalog").body, R"({"repositories":["other","page","test-only"]})");
  EXPECT_EQ(ask("GET", "/v2/_catalog?n=2&last=other").body, R"({"repositories":["page","test-only"]})");
  images->state = "";
  EXPECT_EQ(ask("GET", "/v2/test-only/tags/list").status, 404u);
  EXPECT_EQ(ask("GET", "/v2/_catalog").body, R"({"repositories":["other","page"]})");
}

TEST_F(ServerTest, AnImageOfTheStoreThatIsDamaged) {
  const auto images = std::make_shared<FakeImages>();
  options_.service.images = images;
  images->is_damaged = true;
  EXPECT_EQ(ask("GET", "/v2/page/manifests/latest").status, 500u);
  EXPECT_NE(failures_, "");
  images->is_damaged = false;
  EXPECT_EQ(ask("GET", "/v2/page/manifests/latest").status, 200u);
}

class ProxyTest : public ServerTest {
 protected:
  // `upstream_` is another server; ServerTest's own fetches from it.
  void SetUp() override {
    setenv("CORTEN_SYSTEM_CONFIG", directory_.path().c_str(), 1);
    setenv("REGISTRY_AUTH_FILE", (directory_ / "auth.json").c_str(), 1);
    write_file_atomic(directory_ / "auth.json", "{}");
    unsetenv("http_proxy");
    start_upstream();
    options_.service.proxy = upstream_->url();
    options_.service.proxy_fresh_s = 0;
  }
  void TearDown() override {
    unsetenv("CORTEN_SYSTEM_CONFIG");
    unsetenv("REGISTRY_AUTH_FILE");
  }
  void start_upstream(uint16_t port = 0) {
    ServerOptions options;
    options.listen = fmt::format("127.0.0.1:{}", port);
    options.service.root = directory_ / "upstream";
    upstream_ = std::make_unique<Server>(options);
  }
  RawAnswer ask_upstream(std::string_view method, const std::string& target, std::string_view body = {}) {
    return RawClient(upstream_->port())
        .ask(method, target, body, {{"Content-Type", std::string(kManifestType)}});
  }
  std::string push_upstream(const std::string& layer) {
    for (const std::string& bytes : {std::string("{}"), layer})
      EXPECT_EQ(ask_upstream("POST", "/v2/a/b/blobs/uploads/?digest=" + sha256_text(bytes), bytes).status,
                201u);
    std::string manifest = manifest_text("{}", layer);
    EXPECT_EQ(ask_upstream("PUT", "/v2/a/b/manifests/v1", manifest).status, 201u);
    return manifest;
  }
  std::unique_ptr<Server> upstream_;
};

TEST_F(ProxyTest, FetchesAndKeeps) {
  const std::string layer(3'000'000, 'p'), manifest = push_upstream(layer);
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/v1").body, manifest);
  EXPECT_TRUE(ask("GET", "/v2/a/b/blobs/" + sha256_text(layer)).body == layer);
  EXPECT_EQ(ask("GET", "/v2/a/b/blobs/" + sha256_text("{}"), {}, {{"Range", "bytes=1-1"}}).body, "}");
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/v2").status, 404u);
  EXPECT_EQ(ask("GET", "/v2/a/b/blobs/" + sha256_text("none")).status, 404u);
  EXPECT_EQ(ask("POST", "/v2/a/b/blobs/uploads/").status, 405u);
  // The tag moves there, then here.
  const std::string newer = push_upstream("newer");
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/v1").body, newer);
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/" + sha256_text(manifest)).body, manifest);
  // Without the other one: what is here.
  const uint16_t port = upstream_->port();
  upstream_.reset();
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/v1").body, newer);
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/" + sha256_text(newer)).body, newer);
  EXPECT_TRUE(ask("GET", "/v2/a/b/blobs/" + sha256_text(layer)).body == layer);
  EXPECT_EQ(ask("GET", "/v2/a/b/blobs/" + sha256_text("newer")).status, 502u);
  start_upstream(port);
  EXPECT_EQ(ask("GET", "/v2/a/b/blobs/" + sha256_text("newer")).body, "newer");
  EXPECT_EQ(ask_upstream("DELETE", "/v2/a/b/manifests/v1").status, 202u);
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/v1").status, 404u) << "deleted there";
}

TEST_F(ProxyTest, AManifestThatCannotBeKeptTakesNoRoom) {
  const std::string manifest = push_upstream("layer");
  options_.service.max_bytes = 3 * manifest.size();
  start();
  const std::string blocked = root() + "/repositories/a/b/_manifests";
  make_directories_on_host(root() + "/repositories/a/b");
  write_file_atomic(blocked, "a file where a directory must be");
  for (int i = 0; i < 5; i++) EXPECT_EQ(ask("GET", "/v2/a/b/manifests/v1").status, 500u) << i;
  ASSERT_EQ(unlink(blocked.c_str()), 0);
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/v1").body, manifest);
  const auto used = [&] {
    const std::string body = ask("GET", "/metrics").body;
    const size_t at = body.find("\ncorten_registry_used_bytes ") + 1;
    return body.substr(at, body.find('\n', at) - at);
  };
  const std::string counted = used();
  stop();
  EXPECT_EQ(used(), counted) << "a restart counts anew";
}

TEST_F(ProxyTest, ManyWantTheSame) {
  const std::string layer(2'000'000, 'q');
  push_upstream(layer);
  start();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 12; i++)
    threads.emplace_back([&] {
      if (client().ask("GET", "/v2/a/b/blobs/" + sha256_text(layer)).body == layer) good++;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 12);
  const RawAnswer figures = RawClient(upstream_->port()).ask("GET", "/metrics");
  EXPECT_NE(figures.body.find("corten_registry_sent_bytes_total 2000"), std::string::npos)
      << "it was sent once";
}

}  // namespace
}  // namespace corten::registry::serving
