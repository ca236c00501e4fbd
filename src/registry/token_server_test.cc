#include "registry/token_server.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "http/server_test.h"
#include "registry/access.h"

namespace corten::registry {
namespace {

using http::answer;
using http::code_of;
using http::Server;

TokenRequest request_for(const Server& server) {
  return {.realm = server.url("/token"),
          .service = "svc",
          .scopes = {"repository:a:pull"},
          .credential = {.user = "ann", .password = "hunter2-secret", .source = "a test"},
          .registry = fmt::format("127.0.0.1:{}", server.port()),
          .is_insecure = true};
}

// What a server answers, and what comes of it.
Token fetch(const std::string& what, int64_t now_s = 0) {
  Server server([&](const std::string&) { return what; });
  http::Client client(http::quick());
  return fetch_token(client, request_for(server), now_s);
}

TEST(TokenServer, PrivatePlacesAreNoRealms) {
  TokenRequest request{.registry = "registry.test"};
  for (const char* realm : {"https://127.0.0.1/token",
                            "https://127.8.9.1:8080/token",
                            "https://localhost/token",
                            "https://a.localhost/token",
                            "https://LOCALHOST./token",
                            "https://[::1]/token",
                            "https://10.0.0.1/t",
                            "https://172.16.0.1/t",
                            "https://172.31.255.255/t",
                            "https://192.168.1.1/t",
                            "https://169.254.169.254/latest/meta-data",
                            "https://100.64.0.1/t",
                            "https://0.0.0.0/t",
                            "https://224.0.0.1/t",
                            "https://[fe80::1]/t",
                            "https://[fe80::1%25eth0]/t",
                            "https://[fd00::1]/t",
                            "https://[::ffff:127.0.0.1]/t",
                            "https://[::ffff:10.0.0.1]/t",
                            "https://[64:ff9b::10.0.0.1]/t",
                            "https://[::]/t",
                            "https://[ff02::1]/t",
                            "https://127.1/t",
                            "https://2130706433/t",
                            "https://0x7f000001/t",
                            "https://0x7f.1/t",
                            "https://0177.0.0.1/t",
                            "https://127.0.0.1./t"}) {
    std::string words;
    EXPECT_EQ(code_of([&] { check_realm(realm, request); }, &words), ErrorCode::kPermission) << realm;
    EXPECT_NE(words.find("registry registry.test: its realm"), std::string::npos) << words;
  }
  for (const char* realm :
       {"https://auth.docker.io/token", "https://8.8.8.8/token", "https://[2001:db8::1]/t",
        "https://172.32.0.1/t", "https://localhost.example.com/t", "https://127.example.com/t"})
    EXPECT_NO_THROW(check_realm(realm, request)) << realm;
}

TEST(TokenServer, TheRegistrysOwnHostIsNone) {
  TokenRequest request{.registry = "10.0.0.5:5000"};
  EXPECT_NO_THROW(check_realm("https://10.0.0.5:5001/token", request));
  EXPECT_EQ(code_of([&] { check_realm("https://10.0.0.6:5000/token", request); }), ErrorCode::kPermission);
  request.registry = "localhost:5000";
  EXPECT_NO_THROW(check_realm("https://localhost:5000/token", request));
  EXPECT_EQ(code_of([&] { check_realm("https://127.0.0.2:5000/token", request); }), ErrorCode::kPermission);
}

TEST(TokenServer, PlainOnesForInsecureRegistriesAlone) {
  TokenRequest request{.registry = "registry.test"};
  EXPECT_EQ(code_of([&] { check_realm("http://registry.test/token", request); }), ErrorCode::kPermission);
  EXPECT_EQ(code_of([&] { check_realm("http://auth.test/token", request); }), ErrorCode::kPermission);
  request.is_insecure = true;
  EXPECT_NO_THROW(check_realm("http://registry.test/token", request));
  for (const char* realm : {"file:///etc/passwd", "copy:/etc/passwd", "https://u:p@auth.test/t"})
    EXPECT_EQ(code_of([&] { check_realm(realm, request); }), ErrorCode::kPermission) << realm;
  for (const char* realm : {"", "token", "gopher://x/", "https://a b/", "https://"})
    EXPECT_EQ(code_of([&] { check_realm(realm, request); }), ErrorCode::kInvalid) << realm;
}

TEST(TokenServer, FormsOfItsAnswer) {
  EXPECT_EQ(fetch(answer("200 OK", R"({"token":"t"})")).value, "t");
  EXPECT_EQ(fetch(answer("200 OK", R"({"token":"t"})")).lasts_s, 60);
  EXPECT_EQ(fetch(answer("200 OK", R"({"access_token":"a","expires_in":300})")).value, "a");
  EXPECT_EQ(fetch(answer("200 OK", R"({"access_token":"a","token":"","expires_in":300})")).lasts_s, 300);
  EXPECT_EQ(fetch(answer("200 OK", R"({"token":"a","expires_in":-5})")).lasts_s, 60);
  EXPECT_EQ(fetch(answer("200 OK", R"({"token":"a","expires_in":99999999999})")).lasts_s, 24 * 3600);
  // Out of the server's cache; a clock that is a day off tells nothing.
  const std::string issued = R"({"token":"a","expires_in":300,"issued_at":"2026-11-22T00:00:00Z"})";
  const int64_t then = *parse_rfc3339("2026-11-22T00:00:00Z");
  EXPECT_EQ(fetch(answer("200 OK", issued), then + 100).lasts_s, 200);
  EXPECT_EQ(fetch(answer("200 OK", issued), then + 86400).lasts_s, 300);
  EXPECT_EQ(fetch(answer("200 OK", issued), then - 50).lasts_s, 300);
}

TEST(TokenServer, AnswersThatAreNone) {
  for (const std::string& body :
       {std::string("{}"), std::string("[]"), std::string("hunter2-secret"),
        std::string(R"({"token":"a b-secret"})"), std::string(R"({"token":"a\r\nX: secret"})"),
        std::string(R"({"token":5})"), R"({"token":")" + std::string(300 << 10, 'x') + "\"}"}) {
    std::string words;
    EXPECT_EQ(code_of([&] { fetch(answer("200 OK", body)); }, &words), ErrorCode::kFailed);
    EXPECT_EQ(words.find("secret"), std::string::npos) << words;
  }
  EXPECT_EQ(code_of([] { fetch(answer("403 Forbidden", "no")); }), ErrorCode::kPermission);
  EXPECT_EQ(code_of([] { fetch(answer("400 Bad Request", "no")); }), ErrorCode::kPermission);
  EXPECT_EQ(code_of([] { fetch(answer("404 Not Found", "no")); }), ErrorCode::kFailed);
  EXPECT_EQ(code_of([] { fetch(answer("503 Service Unavailable", "no")); }), ErrorCode::kIo);
  EXPECT_EQ(code_of([] { fetch(answer("429 Too Many Requests", "no")); }), ErrorCode::kIo);
}

TEST(TokenServer, ItsRetryAfterIsObeyed) {
  int requests = 0;
  Server server([&](const std::string&) {
    return ++requests < 3 ? answer("429 Too Many Requests", "slow down", "Retry-After: 0\r\n")
                          : answer("200 OK", R"({"token":"t"})");
  });
  http::Client client(http::quick());
  EXPECT_EQ(fetch_token(client, request_for(server), 0, {.first_pause_ms = 1}).value, "t");
  EXPECT_EQ(requests, 3);
  requests = -100;
  EXPECT_EQ(code_of([&] { fetch_token(client, request_for(server), 0, {.first_pause_ms = 1}); }),
            ErrorCode::kIo);
  EXPECT_EQ(requests, -95);
  Server day([&](const std::string&) {
    requests++;
    return answer("429 Too Many Requests", "", "Retry-After: 86400\r\n");
  });
  std::string words;
  EXPECT_EQ(code_of([&] { fetch_token(client, request_for(day), 0, {.first_pause_ms = 1}); }, &words),
            ErrorCode::kIo);
  EXPECT_NE(words.find("wants 24h0m0s of waiting"), std::string::npos) << words;
  EXPECT_EQ(words.find("scope"), std::string::npos);  // the address is told without its query
  EXPECT_EQ(requests, -94);
}

// 256 MB, told or not, are not read; nor is anything unpacked.
TEST(TokenServer, AnswersAreBounded) {
  EXPECT_EQ(code_of([] { fetch(answer("200 OK", std::string(2 << 20, ' '))); }), ErrorCode::kInvalid);
  EXPECT_EQ(code_of([] { fetch(answer("200 OK", "\x1f\x8b", "Content-Encoding: gzip\r\n")); }),
            ErrorCode::kInvalid);
  std::string words;
  EXPECT_EQ(code_of([] { fetch(answer("401 Unauthorized", std::string(2 << 20, 'x'))); }, &words),
            ErrorCode::kPermission);
  EXPECT_LT(words.size(), 1000u);
}

TEST(TokenServer, RedirectsAreFollowedWithoutCredentials) {
  std::vector<std::string> seen;
  Server server([&](const std::string& request) {
    seen.push_back(request);
    if (request.starts_with("GET /token?")) return answer("302 Found", "", "Location: /moved\r\n");
    if (request.starts_with("GET /moved ")) return answer("200 OK", R"({"token":"t"})");
    return answer("404 Not Found", "");
  });
  http::Client client(http::quick());
  EXPECT_EQ(fetch_token(client, request_for(server), 0).value, "t");
  EXPECT_NE(seen.back().find("Authorization: Basic"), std::string::npos);  // the same host

  Server other([&](const std::string& request) {
    seen.push_back(request);
    return answer("200 OK", R"({"token":"t"})");
  });
  Server sends([&](const std::string&) {
    return answer("302 Found", "", fmt::format("Location: http://127.0.0.1:{}/\r\n", other.port()));
  });
  EXPECT_EQ(fetch_token(client, request_for(sends), 0).value, "t");
  EXPECT_EQ(seen.back().find("Authorization"), std::string::npos);

  for (const std::string place : {"http://127.0.0.2:1/", "http://169.254.169.254/", "file:///etc/passwd"}) {
    Server leads([&](const std::string&) { return answer("302 Found", "", "Location: " + place + "\r\n"); });
    EXPECT_EQ(code_of([&] { fetch_token(client, request_for(leads), 0); }), ErrorCode::kPermission) << place;
  }
  Server loops([](const std::string&) { return answer("302 Found", "", "Location: /\r\n"); });
  EXPECT_EQ(code_of([&] { fetch_token(client, request_for(loops), 0); }), ErrorCode::kFailed);
}

TEST(TokenServer, ManyThreadsFetchOnce) {
  int tokens = 0;
  Server server([&](const std::string& request) {
    if (request.starts_with("GET /token"))
      return answer("200 OK", fmt::format(R"({{"token":"t{}"}})", ++tokens));
    if (request.find("Authorization: Bearer t1\r\n") != std::string::npos) return answer("200 OK", "");
    return answer("401 Unauthorized", "",
                  fmt::format("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}/token\"\r\n",
                              request.substr(request.find("127.0.0.1:") + 10, 5)));
  });
  Credentials credentials;
  credentials.add(fmt::format("127.0.0.1:{}", server.port()),
                  {.user = "ann", .password = "p", .source = "t"});
  Access access({.http = http::quick(), .credentials = credentials});
  const Endpoint endpoint = Hosts().origin(fmt::format("127.0.0.1:{}", server.port()));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++)
    threads.emplace_back(
        [&] { EXPECT_EQ(access.send(endpoint, {.url = "/"}, {"repository:a:pull"}).status, 200u); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tokens, 1);
}

// Whatever goes wrong, no message holds a password, an identity token, a bearer token, or how Basic writes
// them.
TEST(Redacted, NoMessageHoldsASecret) {
  const std::string password = "hunter2-secret", refresh = "refresh-secret", bearer = "bearer-secret";
  const std::vector<Credential> credentials = {{.user = "ann", .password = password, .source = "a test"},
                                               {.user = "ann", .identity_token = refresh, .source = "a test"},
                                               {.registry_token = bearer, .source = "a test"}};
  std::vector<std::string> messages;
  const std::vector<std::string> answers = {answer("401 Unauthorized", R"({"details":"no"})"),
                                            answer("500 Internal Server Error", "oops"),
                                            answer("302 Found", "", "Location: http://10.0.0.1/\r\n"),
                                            answer("200 OK", "{\"token\":\"bearer-secret"),
                                            answer("200 OK", "{\"token\":\"bearer-secret \"}"),
                                            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                                            "",
                                            "garbage\r\n\r\n",
                                            answer("200 OK", "", "Content-Encoding: gzip\r\n")};
  for (const std::string& said : answers)
    for (const Credential& credential : credentials)
      for (const bool is_basic : {false, true}) {
        Server server([&](const std::string& request) {
          if (request.find(" /token") != std::string::npos ||
              request.find("Authorization") != std::string::npos)
            return said + (said.find("Content-Length: 5") != std::string::npos ? "Connection: close" : "");
          return answer("401 Unauthorized", R"({"errors":[{"code":"DENIED","message":"no"}]})",
                        is_basic
                            ? "WWW-Authenticate: Basic realm=\"x\"\r\n"
                            : fmt::format("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}/token\"\r\n",
                                          request.substr(request.find("127.0.0.1:") + 10, 5)));
        });
        const std::string host = fmt::format("127.0.0.1:{}", server.port());
        Credentials all;
        all.add(host, credential);
        http::ClientOptions options = http::quick();
        options.timeouts = {300, 300};
        Access access({.http = options, .credentials = all});
        const Endpoint endpoint = Hosts().origin(host);
        try {
          http::Response response = access.send(endpoint, {.url = "/x"}, {"repository:a:pull"});
          messages.push_back(access.refusal(endpoint, response.status, "no", {"repository:a:pull"}).what());
          archive::read_rest(*response.body, 1 << 20);
        } catch (const Error& error) {
          messages.push_back(std::string(error.what()) + error.hint());
        }
      }
  EXPECT_GE(messages.size(), answers.size() * 6);
  for (const std::string& message : messages)
    for (const std::string& secret : {password, refresh, bearer})
      for (const std::string& form : {secret, base64_encode(secret), base64_encode("ann:" + secret),
                                      base64_encode("<token>:" + secret)})
        EXPECT_EQ(message.find(form), std::string::npos) << message;
}

}  // namespace
}  // namespace corten::registry
