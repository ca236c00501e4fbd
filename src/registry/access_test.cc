#include "registry/access.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "http/server_test.h"
#include "http/url.h"

namespace corten::registry {
namespace {

using http::answer;
using http::Server;

std::string field_of(const std::string& request, std::string_view name) {
  const size_t at = request.find(fmt::format("\r\n{}: ", name));
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 4;
  return request.substr(begin, request.find('\r', begin) - begin);
}
std::string first_line(const std::string& request) {
  return request.substr(0, request.find(" HTTP/1.1"));
}

Credential ann() {
  return {.user = "ann", .password = "hunter2-secret", .source = "a test"};
}

Access make_access(const std::string& host, const Credential& credential,
                   std::shared_ptr<const Clock> clock = nullptr) {
  Credentials credentials;
  if (!credential.is_anonymous()) credentials.add(host, credential);
  return Access({.http = http::quick(), .credentials = credentials, .clock = std::move(clock)});
}

Endpoint endpoint_of(const Server& server) {
  return Hosts().origin(fmt::format("127.0.0.1:{}", server.port()));
}

std::string body_of(http::Response& response) {
  return archive::read_rest(*response.body, 1 << 20);
}

const std::vector<std::string> kPull = {"repository:team/app:pull"};
const std::vector<std::string> kPush = {"repository:team/app:pull,push"};

// A registry with a token server, on one port. Tokens are "t1", "t2", ...; what each is good for is known.
class TokenRegistry {
 public:
  TokenRegistry() : server_([this](const std::string& request) { return serve(request); }) {}
  Server& server() { return server_; }
  std::vector<std::string> token_requests, requests;
  std::set<std::string> valid;  // tokens
  std::string user = "ann:hunter2-secret";
  std::string needs = "repository:team/app:pull";  // a scope that a token must have
  std::string token_more = "";                     // more members of a token's answer
  std::string token_status = "200 OK";
  std::string challenge_scope = "repository:team/app:pull";
  bool post_is_known = true;

 private:
  std::string serve(const std::string& request) {
    const std::string line = first_line(request);
    if (line.find(" /token") != std::string::npos) return serve_token(request, line);
    requests.push_back(request);
    const std::string authorization = field_of(request, "Authorization");
    const std::string token = authorization.starts_with("Bearer ") ? authorization.substr(7) : "";
    if (valid.contains(token) && scopes_[token].find(needs) != std::string::npos)
      return answer("200 OK", request.substr(request.find("\r\n\r\n") + 4) + "|" + line);
    return answer("401 Unauthorized", R"({"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]})",
                  fmt::format("WWW-Authenticate: Bearer realm=\"{}\",service=\"svc\",scope=\"{}\"\r\n",
                              server_.url("/token"), challenge_scope));
  }
  std::string serve_token(const std::string& request, const std::string& line) {
    token_requests.push_back(request);
    if (line.starts_with("POST") && !post_is_known) return answer("404 Not Found", "");
    if (token_status != "200 OK") return answer(token_status, R"({"details":"bad password"})");
    const std::string basic = field_of(request, "Authorization");
    if (!basic.empty() && basic != "Basic " + base64_encode(user))
      return answer("401 Unauthorized", R"({"details":"incorrect username or password"})");
    const std::string token = fmt::format("t{}", token_requests.size());
    scopes_[token] = http::percent_decode(line) + request.substr(request.find("\r\n\r\n"));
    scopes_[token] = http::percent_decode(scopes_[token]);
    valid.insert(token);
    return answer("200 OK", fmt::format(R"({{"token":"{}"{}}})", token, token_more));
  }
  std::map<std::string, std::string> scopes_;
  Server server_;
};

TEST(Access, AnonymousNeedsNothing) {
  Server server([](const std::string& request) {
    EXPECT_EQ(field_of(request, "Authorization"), "");
    return answer("404 Not Found", first_line(request));
  });
  Access access = make_access("127.0.0.1", {});
  http::Response response = access.send(endpoint_of(server), {.url = "/team/app/manifests/1"}, kPull);
  EXPECT_EQ(response.status, 404u);
  EXPECT_EQ(body_of(response), "GET /v2/team/app/manifests/1");
}

TEST(Access, BasicIsSentOnceItWasAskedFor) {
  int requests = 0;
  Server server([&](const std::string& request) {
    requests++;
    if (field_of(request, "Authorization") == "Basic " + base64_encode("ann:hunter2-secret"))
      return answer("200 OK", "in");
    EXPECT_EQ(field_of(request, "Authorization"), "");
    return answer("401 Unauthorized", "", "WWW-Authenticate: Basic realm=\"r\"\r\n");
  });
  const Endpoint endpoint = endpoint_of(server);
  Access access = make_access(endpoint.authority, ann());
  EXPECT_EQ(access.send(endpoint, {.url = "/a"}, kPull).status, 200u);
  EXPECT_EQ(access.send(endpoint, {.url = "/a"}, kPull).status, 200u);
  EXPECT_EQ(requests, 3);
}

TEST(Access, AWrongPasswordIsTriedOnce) {
  int requests = 0;
  Server server([&](const std::string&) {
    requests++;
    return answer("401 Unauthorized", "", "WWW-Authenticate: Basic realm=\"r\"\r\n");
  });
  const Endpoint endpoint = endpoint_of(server);
  Access access = make_access(endpoint.authority, ann());
  EXPECT_EQ(access.send(endpoint, {.url = "/a"}, kPull).status, 401u);
  EXPECT_EQ(requests, 2);
  Access anonymous = make_access(endpoint.authority, {});
  EXPECT_EQ(anonymous.send(endpoint, {.url = "/a"}, kPull).status, 401u);
  EXPECT_EQ(requests, 3);
}

TEST(Access, ATokenIsFetchedOnceAndUsedAgain) {
  TokenRegistry registry;
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, ann());
  http::Response first = access.send(endpoint, {.url = "/team/app/tags/list"}, kPull);
  EXPECT_EQ(first.status, 200u);
  EXPECT_EQ(body_of(first), "|GET /v2/team/app/tags/list");
  EXPECT_EQ(access.send(endpoint, {.url = "/team/app/tags/list"}, kPull).status, 200u);
  ASSERT_EQ(registry.token_requests.size(), 1u);
  EXPECT_EQ(first_line(registry.token_requests[0]),
            "GET /token?service=svc&scope=repository%3Ateam%2Fapp%3Apull&account=ann");
  EXPECT_EQ(registry.requests.size(), 3u);  // one challenge
}

TEST(Access, AnonymousTokens) {
  TokenRegistry registry;
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, {});
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_EQ(field_of(registry.token_requests.at(0), "Authorization"), "");
}

TEST(Access, SeveralScopesInTheirOrder) {
  TokenRegistry registry;
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, ann());
  access.send(endpoint, {.url = "/x"}, {"repository:team/app:pull,push", "repository:base/os:pull"});
  EXPECT_NE(registry.token_requests.at(0).find(
                "scope=repository%3Ateam%2Fapp%3Apull%2Cpush&scope=repository%3Abase%2Fos%3Apull&"),
            std::string::npos);
}

TEST(Access, AScopeThatIsWantedLaterGoesFirst) {
  TokenRegistry registry;
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, ann());
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  registry.needs = registry.challenge_scope = "repository:remote/team/app:pull";
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_NE(registry.token_requests.back().find(
                "scope=repository%3Aremote%2Fteam%2Fapp%3Apull&scope=repository%3Ateam%2Fapp%3Apull&"),
            std::string::npos);
  const size_t before = registry.requests.size();
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_EQ(registry.requests.size(), before + 1);  // what was learnt is kept
}

TEST(Access, GrownScopes) {
  using Scopes = std::vector<std::string>;
  EXPECT_EQ(grown_scopes({"repository:a:pull,push"}, "repository:a:pull"), Scopes());
  EXPECT_EQ(grown_scopes({"repository:a:*"}, "repository:a:delete"), Scopes());
  EXPECT_EQ(grown_scopes({"repository:a:pull"}, ""), Scopes());
  EXPECT_EQ(grown_scopes({"repository:a:pull"}, "repository:a:push,pull registry:catalog:*"),
            Scopes({"repository:a:push,pull", "registry:catalog:*", "repository:a:pull"}));
}

// In mid-push: the body is sent again from its start.
TEST(Access, ARevokedTokenIsRenewed) {
  TokenRegistry registry;
  registry.needs = "repository:team/app:pull,push";
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, ann());
  const auto put = [&] {
    return access.send(
        endpoint, {.url = "/team/app/manifests/1", .method = "PUT", .body = http::RequestBody::of("hello")},
        kPush);
  };
  EXPECT_EQ(put().status, 200u);
  registry.valid.clear();
  http::Response response = put();
  EXPECT_EQ(response.status, 200u);
  EXPECT_EQ(body_of(response), "hello|PUT /v2/team/app/manifests/1");
  EXPECT_EQ(registry.token_requests.size(), 2u);
}

TEST(Access, ATokenThatIsNeverTakenEnds) {
  TokenRegistry registry;
  registry.needs = "nothing has this";
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, ann());
  http::Response response = access.send(endpoint, {.url = "/x"}, kPull);
  EXPECT_EQ(response.status, 401u);
  EXPECT_NE(body_of(response).find("who are you"), std::string::npos);
  EXPECT_EQ(registry.token_requests.size(), 1u);
}

TEST(Access, AnExpiringTokenIsRenewedBeforeItIsRefused) {
  TokenRegistry registry;
  registry.token_more = R"(,"expires_in":100)";
  const Endpoint endpoint = endpoint_of(registry.server());
  auto clock = std::make_shared<FakeClock>(1'000'000'000'000);
  Access access = make_access(endpoint.authority, ann(), clock);
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  clock->advance_ns(89'000'000'000);
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_EQ(registry.token_requests.size(), 1u);
  clock->advance_ns(2'000'000'000);
  const size_t before = registry.requests.size();
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_EQ(registry.token_requests.size(), 2u);
  EXPECT_EQ(registry.requests.size(), before + 1);
}

TEST(Access, IdentityTokensGoByPost) {
  TokenRegistry registry;
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, {.identity_token = "refresh/secret", .source = "a test"});
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  ASSERT_EQ(registry.token_requests.size(), 1u);
  const std::string& asked = registry.token_requests[0];
  EXPECT_EQ(first_line(asked), "POST /token");
  EXPECT_EQ(asked.substr(asked.find("\r\n\r\n") + 4),
            "grant_type=refresh_token&service=svc&client_id=corten&scope=repository%3Ateam%2Fapp%3Apull&"
            "refresh_token=refresh%2Fsecret");
}

TEST(Access, WherePostIsNotKnownGetIs) {
  TokenRegistry registry;
  registry.post_is_known = false;
  registry.user = "<token>:refresh/secret";
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, {.identity_token = "refresh/secret", .source = "a test"});
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_EQ(registry.token_requests.size(), 2u);
}

TEST(Access, AnotherHostGetsNoCredentials) {
  std::string seen = "nothing";
  Server other([&](const std::string& request) {
    seen = request;
    return answer("201 Created", "");
  });
  TokenRegistry registry;
  Endpoint endpoint = endpoint_of(registry.server());
  endpoint.fields = {{"X-Own", "own-secret"}};
  Access access = make_access(endpoint.authority, ann());
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_NE(registry.requests.back().find("X-Own: own-secret"), std::string::npos);
  EXPECT_EQ(access.send(endpoint, {.url = other.url("/upload"), .method = "PUT"}, kPush).status, 201u);
  EXPECT_EQ(field_of(seen, "Authorization"), "");
  EXPECT_EQ(field_of(seen, "X-Own"), "");
  EXPECT_EQ(seen.find("own-secret"), std::string::npos);
}

// A redirect's place may not send us to a token server.
TEST(Access, ARedirectedPlaceAsksInVain) {
  std::vector<std::string> seen;
  Server thief([&](const std::string& request) {
    seen.push_back(request);
    return answer("401 Unauthorized", "",
                  fmt::format("WWW-Authenticate: Bearer realm=\"http://{}/t\",service=\"s\"\r\n",
                              field_of(request, "Host")));
  });
  Server server([&](const std::string& request) {
    if (field_of(request, "Authorization").empty())
      return answer("401 Unauthorized", "", "WWW-Authenticate: Basic realm=\"r\"\r\n");
    return answer("307 Temporary Redirect", "", "Location: " + thief.url("/blob") + "\r\n");
  });
  Endpoint endpoint = endpoint_of(server);
  endpoint.fields = {{"X-Own", "own-secret"}};
  Access access = make_access(endpoint.authority, ann());
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 401u);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(field_of(seen[0], "Authorization"), "");
  EXPECT_EQ(field_of(seen[0], "X-Own"), "");
}

TEST(Access, AHeadThatIsNotKnownIsAskedByGet) {
  Server server([](const std::string& request) {
    if (request.starts_with("HEAD"))
      return std::string("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 3\r\n\r\n");
    return answer("200 OK", "a manifest", "Docker-Content-Digest: sha256:x\r\n");
  });
  Access access = make_access("x", {});
  http::Response response =
      access.send(endpoint_of(server), {.url = "/a/manifests/1", .method = "HEAD"}, kPull);
  EXPECT_EQ(response.status, 200u);
  EXPECT_EQ(response.field("Docker-Content-Digest"), "sha256:x");
  EXPECT_EQ(response.size, 10u);
  EXPECT_EQ(body_of(response), "");
}

TEST(Access, APortThatSpeaksTlsIsFound) {
  // What Go's servers say to plain requests; the handshake then fails, for there is none here.
  int requests = 0;
  Server server([&](const std::string& request) {
    requests++;
    EXPECT_EQ(field_of(request, "Authorization"), "");
    return std::string(
        "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS "
        "server.\n");
  });
  const Endpoint endpoint = endpoint_of(server);
  EXPECT_TRUE(endpoint.may_be_either_scheme);
  Access access = make_access(endpoint.authority, ann());
  std::string words;
  EXPECT_EQ(http::code_of([&] { access.send(endpoint, {.url = "/x"}, kPull); }, &words), ErrorCode::kIo);
  EXPECT_NE(words.find("it speaks TLS alone"), std::string::npos) << words;
  EXPECT_EQ(requests, 2);
}

// An insecure registry: TLS is tried first; one that has none is spoken to without, once for all.
TEST(Access, APortWithoutTlsIsFound) {
  int requests = 0;
  Server server([&](const std::string&) {
    requests++;
    return answer("200 OK", "");
  });
  Endpoint endpoint = endpoint_of(server);
  endpoint.scheme = "https";
  endpoint.tls.is_verified = false;
  http::ClientOptions options = http::quick();
  options.timeouts = {300, 300};  // this server waits for the end of a line that a greeting does not have
  Access access({.http = options, .credentials = {}});
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_EQ(access.send(endpoint, {.url = "/x"}, kPull).status, 200u);
  EXPECT_EQ(requests, 2);
}

// Where only one scheme is allowed, the other is not tried.
TEST(Access, NoFallBackToPlain) {
  Server server([](const std::string&) -> std::string {
    ADD_FAILURE() << "a plain request";
    return "";
  });
  Endpoint endpoint = endpoint_of(server);
  endpoint.scheme = "https";
  endpoint.may_be_either_scheme = false;
  http::ClientOptions options = http::quick();
  options.timeouts = {300, 300};
  Access access({.http = options, .credentials = {}});
  EXPECT_EQ(http::code_of([&] { access.send(endpoint, {.url = "/x"}, kPull); }), ErrorCode::kIo);
}

TEST(Access, LocationsAreResolved) {
  Endpoint endpoint{.authority = "r.test", .registry = "r.test"};
  Access access = make_access("r.test", {});
  const auto resolved = [&](const std::string& location) {
    http::Response answer;
    answer.url = "https://r.test/v2/a/blobs/uploads/";
    answer.fields = {{"Location", location}};
    return access.resolve_location(endpoint, answer);
  };
  EXPECT_EQ(resolved("/v2/a/blobs/uploads/1?s=x"), "https://r.test/v2/a/blobs/uploads/1?s=x");
  EXPECT_EQ(resolved("1?s=x"), "https://r.test/v2/a/blobs/uploads/1?s=x");
  EXPECT_EQ(resolved("http://r.test/v2/1"), "https://r.test/v2/1");  // behind a proxy
  EXPECT_EQ(resolved("http://r.test:8080/v2/1"), "http://r.test:8080/v2/1");
  EXPECT_EQ(resolved("https://blobs.test/1"), "https://blobs.test/1");
  EXPECT_EQ(
      http::code_of([&] { access.send(endpoint, {.url = "http://blobs.test/1", .method = "PUT"}, kPush); }),
      ErrorCode::kPermission);
  EXPECT_EQ(http::code_of([&] { access.send(endpoint, {.url = "file:///etc/passwd"}, kPull); }),
            ErrorCode::kPermission);
}

TEST(Access, MirrorsAreToldWhoseImagesAreMeant) {
  std::vector<std::string> lines;
  Server server([&](const std::string& request) {
    lines.push_back(first_line(request));
    return answer("200 OK", "");
  });
  Endpoint endpoint = endpoint_of(server);
  endpoint.registry = "docker.io";
  endpoint.adds_namespace = true;
  Access access = make_access("x", {});
  access.send(endpoint, {.url = "/a/manifests/1"}, kPull);
  access.send(endpoint, {.url = "/a/tags/list?n=5", .method = "HEAD"}, kPull);
  EXPECT_EQ(lines, std::vector<std::string>(
                       {"GET /v2/a/manifests/1?ns=docker.io", "HEAD /v2/a/tags/list?n=5&ns=docker.io"}));
}

TEST(Access, ThisMachineIsNotBehindAProxy) {
  Server server([](const std::string&) { return answer("200 OK", ""); });
  http::ClientOptions options = http::quick();
  options.proxies.http = "http://127.0.0.1:1";  // nothing is there
  Access access({.http = options, .credentials = {}});
  EXPECT_EQ(access.send(endpoint_of(server), {.url = "/x"}, kPull).status, 200u);
}

TEST(Access, WhoWasRefusedAndWhatToDo) {
  TokenRegistry registry;
  registry.token_status = "401 Unauthorized";
  const Endpoint endpoint = endpoint_of(registry.server());
  Access access = make_access(endpoint.authority, ann());
  try {
    access.send(endpoint, {.url = "/x"}, kPush);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kPermission);
    EXPECT_EQ(
        std::string(error.what()),
        fmt::format("registry {0} refused pull,push of team/app: token server http://{0}/token answered "
                    "401: bad password (as user \"ann\" from a test)",
                    endpoint.authority));
    EXPECT_NE(error.hint().find("corten login " + endpoint.authority), std::string::npos);
  }
}

}  // namespace
}  // namespace corten::registry
