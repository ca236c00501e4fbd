#include "registry/server/usage.h"

#include <sys/stat.h>

#include <future>

#include "registry/server/raw_client_test.h"

namespace corten::registry::serving {
namespace {

// Requests whose ends are handed in while the journal's thread is held, so that none of them sees what
// another brings.
class UsageTest : public ::testing::Test {
 protected:
  UsageTest() { open(); }
  void open() {
    service_.reset();
    service_ = std::make_unique<Service>(
        ServiceOptions{.root = directory_ / "r", .max_bytes = 1'000'000, .collector = {.every_s = 0}});
  }
  std::unique_ptr<Call> begin(const std::string& method, const std::string& target,
                              std::string_view body = {}) {
    RequestHead head;
    head.method = method;
    head.target = *parse_target(target);
    head.content_length = body.size();
    head.has_body = !body.empty();
    head.fields = {{"Content-Type", std::string(kManifestType)}};
    std::unique_ptr<Call> call = service_->begin(head);
    EXPECT_FALSE(call->on_begin());
    if (!body.empty()) {
      EXPECT_FALSE(call->on_body(body));
    }
    return call;
  }
  static std::future<Answer> end(Call& call) {
    const auto promise = std::make_shared<std::promise<Answer>>();
    call.on_end([promise](Answer answer) { promise->set_value(std::move(answer)); });
    return promise->get_future();
  }
  Answer ask(const std::string& method, const std::string& target, std::string_view body = {}) {
    return end(*begin(method, target, body)).get();
  }
  static std::string to_blob(std::string_view bytes, const std::string& repository = "a") {
    return "/v2/" + repository + "/blobs/uploads/?digest=" + sha256_text(bytes);
  }
  std::string begin_upload() { return ask("POST", "/v2/a/blobs/uploads/").fields[0].second; }
  void push(std::string_view bytes) { EXPECT_EQ(ask("POST", to_blob(bytes), bytes).status, 201u); }

  // All of them at one moment.
  std::vector<unsigned> end_together(const std::vector<std::unique_ptr<Call>>& calls) {
    std::promise<void> is_held, let_go;
    const std::unique_ptr<Call> holder = begin("POST", to_blob("held"), "held");
    holder->on_end([&](const Answer&) {
      is_held.set_value();
      let_go.get_future().wait();
    });
    is_held.get_future().wait();
    std::vector<std::future<Answer>> answers;
    for (const auto& call : calls) answers.push_back(end(*call));
    let_go.set_value();
    std::vector<unsigned> statuses;
    for (std::future<Answer>& answer : answers) statuses.push_back(answer.get().status);
    return statuses;
  }
  std::string used() {
    const std::string body = ask("GET", "/metrics").body;
    const size_t at = body.find("\ncorten_registry_used_bytes ") + 1;
    return body.substr(at, body.find('\n', at) - at);
  }
  // What a server counts that starts now.
  std::string used_anew() {
    open();
    return used();
  }

  const TempDir directory_ = TempDir::for_test();
  std::unique_ptr<Service> service_;
};

TEST_F(UsageTest, TheSameManifestAtOneMoment) {
  push("{}");
  push("layer");
  const std::string manifest = manifest_text("{}", "layer");
  std::vector<std::unique_ptr<Call>> calls;
  for (const char* tag : {"v1", "v2", "v3"})
    calls.push_back(begin("PUT", std::string("/v2/a/manifests/") + tag, manifest));
  EXPECT_EQ(end_together(calls), std::vector<unsigned>(3, 201));
  const std::string counted = used();
  EXPECT_EQ(counted, used_anew());
  // Again, what is here, and another deletes it in between.
  calls.clear();
  calls.push_back(begin("PUT", "/v2/a/manifests/v4", manifest));
  EXPECT_EQ(end_together(calls), std::vector<unsigned>(1, 201));
  EXPECT_EQ(used(), counted);
  EXPECT_EQ(ask("DELETE", "/v2/a/manifests/" + sha256_text(manifest)).status, 202u);
  const std::string without = used();
  EXPECT_NE(without, counted);
  EXPECT_EQ(without, used_anew());
}

TEST_F(UsageTest, TheSameSmallBlobAtOneMoment) {
  const std::string bytes(1000, 's');
  const std::string upload = "?digest=" + sha256_text(bytes);
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 2; i++) {
    calls.push_back(begin("POST", to_blob(bytes), bytes));
    calls.push_back(begin("PUT", begin_upload() + upload, bytes));
  }
  EXPECT_EQ(end_together(calls), std::vector<unsigned>(4, 201));
  const std::string counted = used();
  EXPECT_EQ(counted, used_anew());
}

// Here the ends come from several threads, as they may.
TEST_F(UsageTest, TheSameUploadsAtOneMoment) {
  for (const size_t size : {size_t{1000}, size_t{kSmallBlob} + 1}) {
    const std::string bytes(size, 'u');
    std::vector<std::unique_ptr<Call>> calls;
    for (int i = 0; i < 6; i++) {
      const std::string location = begin_upload();
      EXPECT_EQ(ask("PATCH", location, bytes).status, 202u);
      calls.push_back(begin("PUT", location + "?digest=" + sha256_text(bytes)));
    }
    EXPECT_EQ(end_together(calls), std::vector<unsigned>(6, 201));
    const std::string counted = used();
    EXPECT_EQ(counted, used_anew());
  }
}

// What could not be made counts once, however often it is tried, and comes when it can be made.
TEST_F(UsageTest, AManifestThatCannotBeKept) {
  const std::string blocked = directory_ / "r/repositories/c/_manifests";
  const std::string manifest = manifest_text("{}", "layer");
  for (const char* bytes : {"{}", "layer"}) EXPECT_EQ(ask("POST", to_blob(bytes, "c"), bytes).status, 201u);
  write_file_atomic(blocked, "a file where a directory must be");
  const std::string before = used();
  for (int i = 0; i < 3; i++) EXPECT_EQ(ask("PUT", "/v2/c/manifests/v1", manifest).status, 500u);
  ASSERT_EQ(unlink(blocked.c_str()), 0);
  EXPECT_EQ(ask("PUT", "/v2/c/manifests/v2", manifest).status, 201u);
  const std::string counted = used();
  EXPECT_NE(counted, before);
  EXPECT_EQ(counted, used_anew());
}

}  // namespace
}  // namespace corten::registry::serving
