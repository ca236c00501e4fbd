// What keeps a registry in order: who may do what, its size, its garbage, its figures.
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <time.h>

#include <atomic>
#include <thread>

#include "base/json.h"
#include "registry/server/access_log.h"
#include "registry/server/htpasswd.h"
#include "registry/server/raw_client_test.h"
#include "registry/server/web_token.h"

namespace corten::registry::serving {
namespace {

// "secret", at the lowest cost.
const std::string kHash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

Fields basic(const std::string& credentials) {
  return {{"Authorization", "Basic " + base64_encode(credentials)}};
}

TEST_F(ServerTest, Passwords) {
  const std::string file = directory_ / "htpasswd";
  write_file_atomic(file, "# users\nann:" + kHash + "\n");
  options_.service.auth.htpasswd_file = file;
  RawAnswer answer = ask("GET", "/v2/");
  EXPECT_EQ(answer.status, 401u);
  EXPECT_TRUE(answer.field("WWW-Authenticate").starts_with("Basic realm="));
  EXPECT_NE(answer.body.find("UNAUTHORIZED"), std::string::npos);
  EXPECT_EQ(ask("GET", "/v2/", {}, basic("ann:secret")).status, 200u);
  for (const char* wrong : {"ann:Secret", "ann:", "ann", "bob:secret", ":secret", ""})
    EXPECT_EQ(ask("GET", "/v2/", {}, basic(wrong)).status, 401u) << wrong;
  EXPECT_EQ(ask("GET", "/v2/", {}, {{"Authorization", "Bearer abc"}}).status, 401u);
  // The first request of a connection may have a body: it waits until the password was tried.
  const std::string digest = sha256_text("bytes");
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?digest=" + digest, "bytes").status, 401u);
  stop();
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?digest=" + digest, "bytes", basic("ann:secret")).status, 201u);
  EXPECT_EQ(ask("GET", "/v2/a/blobs/" + digest).status, 401u);
  EXPECT_EQ(ask("GET", "/v2/a/blobs/" + digest, {}, basic("ann:secret")).body, "bytes");
  // What needs no credentials says nothing of the contents.
  EXPECT_EQ(ask("GET", "/healthz").status, 200u);
}

TEST_F(ServerTest, EverybodyMayPull) {
  const std::string file = directory_ / "htpasswd";
  write_file_atomic(file, "ann:" + kHash + "\n");
  options_.service.auth = {.htpasswd_file = file, .anonymous_pull = true};
  const std::string digest = sha256_text("bytes");
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?digest=" + digest, "bytes", basic("ann:secret")).status, 201u);
  EXPECT_EQ(ask("GET", "/v2/a/blobs/" + digest).body, "bytes");
  EXPECT_EQ(ask("DELETE", "/v2/a/blobs/" + digest).status, 401u);
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/").status, 401u);
}

TEST(Htpasswd, Lines) {
  const auto users = parse_htpasswd("a:" + kHash + "\r\n\n# no\nb:" + kHash, "f");
  EXPECT_EQ(users.size(), 2u);
  EXPECT_TRUE(is_password(users, "a", "secret"));
  EXPECT_FALSE(is_password(users, "a", "secret2"));
  EXPECT_FALSE(is_password(users, "c", "secret"));
  for (const char* bad : {"a:plain", "a:$apr1$x$y", "a:{SHA}abc", ":x", "a"})
    EXPECT_THROW(parse_htpasswd(bad, "f"), Error) << bad;
}

std::string base64url(std::string_view bytes) {
  std::string text = base64_encode(bytes);
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

// A token server's key, and tokens signed with it.
struct TokenServer {
  explicit TokenServer(const std::string& directory, std::string name = "ED25519")
      : key(name == "RSA" ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", size_t{2048})
                          : EVP_PKEY_Q_keygen(nullptr, nullptr, name.c_str()),
            EVP_PKEY_free),
        kind(std::move(name)),
        file(directory + "/" + kind + ".pem") {
    FILE* out = fopen(file.c_str(), "w");
    PEM_write_PUBKEY(out, key.get());
    fclose(out);
  }
  std::string token(const std::string& claims, std::string algorithm = "") const {
    if (algorithm.empty()) algorithm = kind == "RSA" ? "RS256" : "EdDSA";
    const std::string text =
        base64url(R"({"typ":"JWT","alg":")" + algorithm + "\"}") + "." + base64url(claims);
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    EVP_DigestSignInit(context.get(), nullptr, kind == "RSA" ? EVP_sha256() : nullptr, nullptr, key.get());
    std::string signature(1024, '\0');
    size_t size = signature.size();
    EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                   reinterpret_cast<const unsigned char*>(text.data()), text.size());
    return text + "." + base64url(signature.substr(0, size));
  }
  static std::string claims(std::string_view access, int64_t expires = 300,
                            std::string_view audience = "\"reg\"") {
    return fmt::format(R"({{"iss":"us","sub":"ann","aud":{},"exp":{},"access":{}}})", audience,
                       ::time(nullptr) + expires, access);
  }
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key;
  std::string kind, file;
};

TEST_F(ServerTest, Tokens) {
  const TokenServer tokens(directory_.path());
  options_.service.auth = {.realm = "https://auth.example/token",
                           .token = {.key_file = tokens.file, .service = "reg", .issuer = "us"}};
  EXPECT_EQ(ask("GET", "/v2/").field("WWW-Authenticate"),
            "Bearer realm=\"https://auth.example/token\",service=\"reg\"");
  EXPECT_EQ(ask("GET", "/v2/a/b/manifests/v1").field("WWW-Authenticate"),
            "Bearer realm=\"https://auth.example/token\",service=\"reg\",scope=\"repository:a/b:pull\"");
  EXPECT_NE(ask("POST", "/v2/a/blobs/uploads/").field("WWW-Authenticate").find("repository:a:pull,push"),
            std::string::npos);
  const auto bearer = [&](const std::string& claims) {
    return Fields{{"Authorization", "Bearer " + tokens.token(claims)}};
  };
  const Fields push_a =
      bearer(TokenServer::claims(R"([{"type":"repository","name":"a","actions":["pull","push"]}])"));
  const Fields pull_a =
      bearer(TokenServer::claims(R"([{"type":"repository","name":"a","actions":["pull"]}])"));
  const Fields all_b = bearer(TokenServer::claims(
      R"([{"type":"repository","name":"b","actions":["*"]},{"type":"registry","name":"catalog","actions":["*"]}])"));
  EXPECT_EQ(ask("GET", "/v2/", {}, pull_a).status, 200u);
  const std::string digest = sha256_text("bytes"), blob = "/v2/a/blobs/" + digest;
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?digest=" + digest, "bytes", pull_a).status, 401u);
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?digest=" + digest, "bytes", push_a).status, 201u);
  EXPECT_EQ(ask("GET", blob, {}, pull_a).body, "bytes");
  EXPECT_EQ(ask("GET", blob, {}, all_b).status, 401u);
  EXPECT_EQ(ask("DELETE", blob, {}, push_a).status, 401u);
  EXPECT_EQ(ask("GET", "/v2/_catalog", {}, push_a).status, 401u);
  EXPECT_EQ(ask("GET", "/v2/_catalog", {}, all_b).status, 200u);
  // Neither from a repository that one may not read, nor from anywhere.
  for (const char* from : {"&from=a", ""})
    EXPECT_EQ(ask("POST", "/v2/b/blobs/uploads/?mount=" + digest + from, {}, all_b).status, 202u) << from;
  const Fields both = bearer(TokenServer::claims(R"([{"type":"repository","name":"b","actions":["push"]},)"
                                                 R"({"type":"repository","name":"a","actions":["pull"]}])"));
  EXPECT_EQ(ask("POST", "/v2/b/blobs/uploads/?mount=" + digest + "&from=a", {}, both).status, 201u);
}

TEST(WebTokens, WhatIsRefused) {
  const TempDir directory = TempDir::for_test();
  const int64_t now = ::time(nullptr);
  for (const char* kind : {"ED25519", "RSA"}) {
    const TokenServer tokens(directory.path(), kind), others(directory.path(), kind);
    write_file_atomic(tokens.file, "");
    FILE* out = fopen(tokens.file.c_str(), "w");
    PEM_write_PUBKEY(out, tokens.key.get());
    fclose(out);
    const WebTokenVerifier verifier({.key_file = tokens.file, .service = "reg", .issuer = "us"});
    const std::string good = TokenServer::claims("[]");
    EXPECT_EQ(verifier.verify(tokens.token(good), now).subject, "ann");
    EXPECT_NO_THROW(verifier.verify(tokens.token(TokenServer::claims("[]", 300, R"(["x","reg"])")), now));
    const std::string token = tokens.token(good);
    std::vector<std::string> bad = {"",
                                    "a.b",
                                    "a.b.c",
                                    "..",
                                    token + "x",
                                    token.substr(0, token.size() - 4),
                                    "x" + token,
                                    others.token(good),
                                    tokens.token(TokenServer::claims("[]", -100)),
                                    tokens.token(TokenServer::claims("[]", 300, "\"other\"")),
                                    tokens.token(replace_all(good, "\"us\"", "\"them\"")),
                                    tokens.token("[]"),
                                    tokens.token("nonsense"),
                                    tokens.token(good, "none"),
                                    tokens.token(good, "HS256"),
                                    tokens.token(good, "ES256"),
                                    tokens.token(good, kind == std::string("RSA") ? "EdDSA" : "RS256"),
                                    std::string(100'000, '.')};
    const size_t dot = token.find('.');
    bad.push_back(base64url(R"({"alg":"none"})") + token.substr(dot, token.rfind('.') - dot + 1));
    for (const std::string& one : bad) EXPECT_THROW(verifier.verify(one, now), Error) << one.substr(0, 200);
  }
  write_file_atomic(directory / "empty.pem", "nothing");
  EXPECT_THROW(WebTokenVerifier({.key_file = directory / "empty.pem"}), Error);
}

TEST_F(ServerTest, ReadOnly) {
  const std::string manifest = push_image("a", "v1");
  stop();
  options_.service.is_read_only = true;
  EXPECT_EQ(ask("GET", "/v2/a/manifests/v1").body, manifest);
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/").status, 405u);
  EXPECT_EQ(put_manifest("a", "v2", manifest).status, 405u);
  EXPECT_EQ(ask("DELETE", "/v2/a/manifests/v1").status, 405u);
}

TEST_F(ServerTest, TheSizeIsLimited) {
  options_.service.max_bytes = 1'000'000;
  const std::string bytes(600'000, 'a'), more(600'000, 'b'), small(100'000, 'c');
  const std::string first = push_blob("a", bytes);
  // Told at once, and where the size comes only with the bytes.
  RawAnswer answer = ask("POST", "/v2/a/blobs/uploads/?digest=" + sha256_text(more), more);
  EXPECT_EQ(answer.status, 413u);
  EXPECT_NE(answer.body.find("DENIED"), std::string::npos);
  const std::string location = begin_upload("a");
  {
    RawClient chunked = client();
    chunked.send("PATCH " + location + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n927c0\r\n" +
                 more + "\r\n0\r\n\r\n");
    EXPECT_EQ(chunked.receive().status, 413u);
  }
  EXPECT_EQ(ask("DELETE", location).status, 204u);
  // What is here takes no more room, in another repository either.
  EXPECT_EQ(ask("POST", "/v2/b/blobs/uploads/?digest=" + first, bytes.substr(0, 0)).status, 400u);
  EXPECT_EQ(ask("POST", "/v2/b/blobs/uploads/?mount=" + first + "&from=a").status, 201u);
  push_blob("a", small);
  push_blob("a", small);
  // A restart counts again what is there.
  stop();
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?digest=" + sha256_text(more), more).status, 413u);
  EXPECT_NE(ask("GET", "/metrics").body.find("corten_registry_used_bytes 700000"), std::string::npos)
      << ask("GET", "/metrics").body;
}

// Several may be about to end an upload; its bytes are given back once.
TEST_F(ServerTest, AnUploadEndsOnce) {
  options_.service.max_bytes = 1'000'000;
  const std::string bytes(600'000, 'a');
  const auto patched = [&] {
    const std::string location = begin_upload("a");
    EXPECT_EQ(ask("PATCH", location, bytes).status, 202u);
    return location;
  };
  // The server has found the upload, and waits for the request's end.
  const auto about_to_cancel = [&](const std::string& location) {
    RawClient client = this->client();
    client.send("DELETE " + location +
                " HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.receive().status, 100u);
    return client;
  };
  const auto used = [&](const std::string& wanted) {
    const std::string body = ask("GET", "/metrics").body;
    EXPECT_NE(body.find("corten_registry_used_bytes " + wanted + "\n"), std::string::npos) << body;
  };
  {
    const std::string location = patched();
    RawClient one = about_to_cancel(location), other = about_to_cancel(location);
    one.send("x");
    EXPECT_EQ(one.receive().status, 204u);
    other.send("x");
    EXPECT_EQ(other.receive().status, 404u);
    used("0");
  }
  const std::string location = patched();
  RawClient late = about_to_cancel(location);
  EXPECT_EQ(ask("PUT", location + "?digest=" + sha256_text(bytes)).status, 201u);
  late.send("x");
  EXPECT_EQ(late.receive().status, 404u);
  used("600000");
  EXPECT_EQ(ask("GET", "/v2/a/blobs/" + sha256_text(bytes)).body, bytes);
}

TEST_F(ServerTest, AManifestIsRemovedOnce) {
  options_.service.max_bytes = 1'000'000;
  const std::string manifest = push_image("a", "v1"), target = "/v2/a/manifests/" + sha256_text(manifest);
  std::string used;
  for (int round = 0; round < 5; round++) {
    EXPECT_EQ(put_manifest("a", "v1", manifest).status, 201u);
    std::atomic<int> removed = 0;
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; i++)
      clients.emplace_back([&] { removed += client().ask("DELETE", target).status == 202; });
    for (std::thread& one : clients) one.join();
    EXPECT_EQ(removed, 1) << "more would give its bytes back more than once";
    const std::string metrics = ask("GET", "/metrics").body;
    const std::string line = metrics.substr(metrics.find("corten_registry_used_bytes "), 40);
    const std::string now = line.substr(0, line.find('\n'));
    if (round > 0) {
      EXPECT_EQ(now, used);
    }
    used = now;
  }
}

void make_old(const std::string& path) {
  const timespec times[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0) << path;
}

class CollectorTest : public ::testing::Test {
 protected:
  CollectorTest() { open(); }
  void open() {
    service_.reset();
    service_ = std::make_unique<Service>(
        ServiceOptions{.root = directory_ / "r", .collector = {.every_s = 0, .grace_s = 100}});
  }
  unsigned ask(const std::string& method, const std::string& target, std::string_view body = {}) {
    RequestHead head;
    head.method = method;
    head.target = *parse_target(target);
    head.content_length = body.size();
    head.has_body = !body.empty();
    head.fields = {{"Content-Type", std::string(kManifestType)}};
    const std::unique_ptr<Call> call = service_->begin(head);
    std::optional<Answer> answer = call->on_begin();
    if (!answer && !body.empty()) answer = call->on_body(body);
    if (answer) return answer->status;
    std::mutex mutex;
    std::condition_variable wake;
    call->on_end([&](Answer given) {
      std::lock_guard lock(mutex);
      answer = std::move(given);
      wake.notify_one();
    });
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return answer.has_value(); });
    return answer->status;
  }
  void push(const std::string& repository, std::string_view bytes) {
    EXPECT_EQ(
        ask("POST", fmt::format("/v2/{}/blobs/uploads/?digest={}", repository, sha256_text(bytes)), bytes),
        201u);
  }
  std::string link(const std::string& repository, std::string_view bytes) const {
    return directory_ / "r/" + Tree::link_path(repository, ContentDigest::of(Algorithm::kSha256, bytes));
  }
  std::string content(std::string_view bytes) const {
    return directory_ / "r/" + Tree::content_path(ContentDigest::of(Algorithm::kSha256, bytes));
  }
  void make_all_old() {
    for (const char* repository : {"a", "b"})
      for (const char* bytes : {"{}", "layer", "loose"}) {
        struct stat status {};
        if (stat(link(repository, bytes).c_str(), &status) == 0) make_old(link(repository, bytes));
        if (stat(content(bytes).c_str(), &status) == 0) make_old(content(bytes));
      }
  }
  bool is_there(const std::string& path) const {
    struct stat status {};
    return stat(path.c_str(), &status) == 0;
  }
  TempDir directory_ = TempDir::for_test();
  std::unique_ptr<Service> service_;
};

TEST_F(CollectorTest, WhatNobodyNeeds) {
  for (const char* bytes : {"{}", "layer", "loose"}) push("a", bytes);
  push("b", "loose");
  EXPECT_EQ(ask("PUT", "/v2/a/manifests/v1", manifest_text("{}", "layer")), 201u);
  EXPECT_EQ(service_->collect(::time(nullptr)).files, 0u) << "all is new";
  make_all_old();
  EXPECT_EQ(ask("HEAD", "/v2/b/blobs/" + sha256_text("loose")), 200u);  // somebody wants it
  EXPECT_EQ(service_->collect(::time(nullptr)).files, 1u) << "a's link to it";
  EXPECT_FALSE(is_there(link("a", "loose")));
  EXPECT_TRUE(is_there(link("b", "loose")));
  EXPECT_TRUE(is_there(content("loose")));
  make_all_old();
  EXPECT_EQ(service_->collect(::time(nullptr)).files, 2u) << "b's link, the contents";
  EXPECT_FALSE(is_there(content("loose")));
  EXPECT_EQ(ask("GET", "/v2/a/blobs/" + sha256_text("layer")), 200u);
  // The image goes, then what it needed; that may be pushed again.
  EXPECT_EQ(ask("DELETE", "/v2/a/manifests/" + sha256_text(manifest_text("{}", "layer"))), 202u);
  make_all_old();
  EXPECT_EQ(service_->collect(::time(nullptr)).files, 4u);
  EXPECT_FALSE(is_there(content("layer")));
  push("a", "layer");
  open();
  EXPECT_EQ(ask("GET", "/v2/a/blobs/" + sha256_text("layer")), 200u) << "also after a restart";
}

// A push that began before a round: its blobs were asked for or pushed, its manifest is not there yet.
TEST_F(CollectorTest, APushUnderWay) {
  push("a", "{}");
  push("a", "layer");
  make_all_old();
  EXPECT_EQ(ask("HEAD", "/v2/a/blobs/" + sha256_text("{}")), 200u);
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/?mount=" + sha256_text("layer") + "&from=a"), 201u);
  EXPECT_EQ(service_->collect(::time(nullptr)).files, 0u);
  EXPECT_EQ(ask("PUT", "/v2/a/manifests/v1", manifest_text("{}", "layer")), 201u);
}

TEST_F(CollectorTest, UploadsThatDoNotGoOn) {
  EXPECT_EQ(ask("POST", "/v2/a/blobs/uploads/"), 202u);
  EXPECT_EQ(service_->collect(::time(nullptr)).files, 0u);
  EXPECT_EQ(service_->collect(::time(nullptr) + 1000).files, 1u);
}

TEST_F(ServerTest, MetricsAndTheLog) {
  const std::string log = directory_ / "access.log";
  options_.service.access_log = log;
  start();
  // One connection: a request is counted once its answer has gone, and another connection may be faster.
  RawClient one = client();
  for (const char* layer : {"{}", "layer"})
    EXPECT_EQ(one.ask("POST", "/v2/a/blobs/uploads/?digest=" + sha256_text(layer), layer).status, 201u);
  EXPECT_EQ(one.ask("PUT", "/v2/a/manifests/v1", manifest_text("{}", "layer"),
                    {{"Content-Type", std::string(kManifestType)}})
                .status,
            201u);
  one.ask("GET", "/v2/a/manifests/none?x=%1b", {}, {{"User-Agent", "a \"test\""}});
  one.ask("STRANGE", "/v2/a/tags/list");
  const RawAnswer answer = one.ask("GET", "/metrics");
  EXPECT_TRUE(answer.field("Content-Type").starts_with("text/plain; version=0.0.4"));
  for (const char* line :
       {"corten_registry_requests_total{method=\"POST\",code=\"201\"} 2",
        "corten_registry_requests_total{method=\"other\",code=\"405\"} 1",
        "corten_registry_received_bytes_total ", "corten_registry_request_duration_seconds_count 5",
        "# TYPE corten_registry_connections gauge"})
    EXPECT_NE(answer.body.find(line), std::string::npos) << line << "\n" << answer.body;
  stop();
  const std::vector<std::string> lines = split(read_file(log), '\n');
  ASSERT_EQ(lines.size(), 7u);
  const Json put = Json::parse(lines[2]), bad = Json::parse(lines[3]);
  EXPECT_EQ(put.get_string("method"), "PUT");
  EXPECT_EQ(put.get_string("target"), "/v2/a/manifests/v1");
  EXPECT_EQ(put.get_int("status"), 201);
  EXPECT_EQ(put.get_string("client"), "127.0.0.1");
  EXPECT_GT(put.get_int("received"), 100);
  EXPECT_EQ(bad.get_int("status"), 400);
  EXPECT_EQ(bad.get_string("agent"), "a \"test\"");
  EXPECT_EQ(Json::parse(lines[5]).get_string("target"), "/metrics");
}

}  // namespace
}  // namespace corten::registry::serving
