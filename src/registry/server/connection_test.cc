// How connections behave, whatever is asked: framing, order, limits, clients that are slow or go away.
#include <thread>

#include "registry/server/raw_client_test.h"

namespace corten::registry::serving {
namespace {

TEST_F(ServerTest, RequestsOneAfterTheOther) {
  const std::string manifest = push_image("a", "v1");
  RawClient client = this->client();
  for (int i = 0; i < 50; i++) EXPECT_EQ(client.ask("GET", "/v2/a/manifests/v1").body, manifest);
  // And sent all at once: the answers come in their order.
  std::string many;
  for (int i = 0; i < 30; i++)
    many +=
        i % 2 ? "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n" : "GET /v2/a/manifests/v1 HTTP/1.1\r\nHost: a\r\n\r\n";
  client.send(many);
  for (int i = 0; i < 30; i++) EXPECT_EQ(client.receive().body, i % 2 ? "{}" : manifest) << i;
}

TEST_F(ServerTest, RequestsInPieces) {
  const std::string digest = sha256_text("bytes");
  const std::string request =
      "POST /v2/a/blobs/uploads/?digest=" + digest + " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbytes";
  start();
  RawClient client = this->client();
  for (char c : request) client.send({&c, 1});
  EXPECT_EQ(client.receive().status, 201u);
}

TEST_F(ServerTest, Malformed) {
  start();
  for (const char* text :
       {"nonsense\r\n\r\n", "GET /v2/ HTTP/9.9\r\n\r\n", "GET  /v2/ HTTP/1.1\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nbad line\r\n\r\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n"}) {
    RawClient client = this->client();
    client.send(text);
    EXPECT_EQ(client.receive().status, 400u) << text;
    EXPECT_TRUE(client.is_ended()) << text;
  }
  RawClient client = this->client();
  client.send("GET /v2/%zz HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.receive().status, 400u);
  RawClient big = this->client();
  big.send("GET /v2/ HTTP/1.1\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n");
  EXPECT_EQ(big.receive().status, 431u);
  RawClient unknown = this->client();
  EXPECT_EQ(unknown.ask("BREW", "/v2/a/manifests/v1").status, 405u);
}

TEST_F(ServerTest, OlderClients) {
  push_image("a", "v1");
  RawClient once = client();
  once.send("GET /v2/ HTTP/1.0\r\n\r\n");
  const RawAnswer answer = once.receive();
  EXPECT_EQ(answer.status, 200u);
  EXPECT_TRUE(once.is_ended());
  RawClient kept = client();
  kept.send("GET /v2/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(kept.receive().field("Connection"), "keep-alive");
  EXPECT_EQ(kept.ask("GET", "/v2/").status, 200u);
  RawClient closed = client();
  EXPECT_EQ(closed.ask("GET", "/v2/", {}, {{"Connection", "close"}}).field("Connection"), "close");
  EXPECT_TRUE(closed.is_ended());
}

TEST_F(ServerTest, ExpectContinue) {
  const std::string location = begin_upload("a");
  RawClient client = this->client();
  client.send("PATCH " + location +
              " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.receive().status, 100u);
  client.send("abc");
  EXPECT_EQ(client.receive().status, 202u);
  // What is refused is refused before the body is sent.
  RawClient refused = this->client();
  refused.send(
      "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 99000000\r\nExpect: "
      "100-continue\r\n\r\n");
  EXPECT_EQ(refused.receive().status, 413u);
  EXPECT_TRUE(refused.is_ended());
}

// A body that nobody wants: a short one is read, and the connection goes on; of a long one the sender still
// sees the answer.
TEST_F(ServerTest, BodiesOfRefusedRequests) {
  start();
  RawClient client = this->client();
  EXPECT_EQ(client.ask("PATCH", "/v2/a/blobs/uploads/none", std::string(100'000, 'x')).status, 404u);
  EXPECT_EQ(client.ask("GET", "/v2/").status, 200u);
  EXPECT_EQ(client.ask("PATCH", "/v2/a/blobs/uploads/none", std::string(8 << 20, 'x')).status, 404u);
  EXPECT_TRUE(client.is_ended());
}

TEST_F(ServerTest, BigAnswersToSlowReaders) {
  const std::string bytes(30 << 20, 'z');
  const std::string path = "/v2/a/blobs/" + push_blob("a", bytes);
  RawClient slow = client();
  slow.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // its buffers are full by now, or will be
  EXPECT_EQ(ask("GET", "/v2/").status, 200u) << "others are served";
  const RawAnswer answer = slow.receive();
  EXPECT_TRUE(answer.body == bytes);
  // One that goes away in the middle takes nothing with it.
  {
    RawClient gone = client();
    gone.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  EXPECT_EQ(ask("GET", "/v2/").status, 200u);
}

TEST_F(ServerTest, SlowClientsAreCutOff) {
  options_.limits = {.idle_s = 1, .header_s = 1, .slow_window_s = 1, .slow_bytes = 1000};
  const std::string location = begin_upload("a");
  RawClient idle = client(), head = client(), body = client();
  head.send("GET /v2/ HT");
  body.send("PATCH " + location + " HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
  EXPECT_TRUE(idle.is_ended());
  EXPECT_TRUE(head.is_ended());
  EXPECT_TRUE(body.is_ended());
  EXPECT_EQ(ask("GET", location).field("Range"), "0-2") << "what came stays";
}

TEST_F(ServerTest, ManyConnections) {
  options_.limits.max_connections = 300;
  start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 300; i++) {
    clients.push_back(std::make_unique<RawClient>(server_->port()));
    ASSERT_EQ(clients.back()->ask("GET", "/v2/").status, 200u) << i;
  }
  EXPECT_TRUE(client().is_ended()) << "one too many";
  for (const auto& one : clients) EXPECT_EQ(one->ask("GET", "/v2/").status, 200u);
  clients.resize(10);
  while (client().ask("GET", "/v2/").status != 200u) {
  }
}

TEST_F(ServerTest, ItEndsWhileClientsAreConnected) {
  options_.limits.end_s = 1;
  start();
  RawClient idle = client(), begun = client();
  EXPECT_EQ(idle.ask("GET", "/v2/").status, 200u);
  begun.send("GET /v2/ HT");
  stop();
  EXPECT_TRUE(idle.is_ended());
  EXPECT_TRUE(begun.is_ended());
}

TEST_F(ServerTest, ListenAddresses) {
  for (const char* text : {"", "5000", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "name.example:80"}) {
    ServerOptions options;
    options.listen = text;
    options.service.root = directory_ / "r";
    EXPECT_THROW(Server{options}, Error) << text;
  }
  ServerOptions options;
  options.listen = "localhost:0";
  options.service.root = directory_ / "r";
  EXPECT_TRUE(Server{options}.url().starts_with("http://127.0.0.1:"));
}

}  // namespace
}  // namespace corten::registry::serving
