// What strangers send to the embedded registry: requests, their targets, ranges, manifests, digests, tokens;
// its own journal, and its file of users.
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "fuzz/fuzz.h"
#include "http/url.h"
#include "oci/media_type.h"
#include "registry/server/byte_range.h"
#include "registry/server/htpasswd.h"
#include "registry/server/journal.h"
#include "registry/server/manifest_facts.h"
#include "registry/server/request_target.h"
#include "registry/server/server.h"
#include "registry/server/uploads.h"
#include "registry/server/web_token.h"

namespace corten::fuzz {

namespace serving = registry::serving;

// A target that was taken holds no control characters, and means the same when it is written again.
FUZZ_TARGET(request_target, "/v2/a/b/manifests/v1?tag=a&tag=b", "/v2/%61/tags/list?n=5&last=x%2fy",
            "http://host/v2/?a", "/?a=%", "/%00",
            "/v2/a/referrers/sha256:ab?artifactType=application/x+json#f") {
  const std::optional<serving::Target> target = serving::parse_target(input);
  if (!target) return;
  REQUIRE(target->path.starts_with('/') && target->query.size() <= serving::kMaxQueryParts);
  std::string again;
  for (char c : target->path) again += c == '/' ? "/" : http::percent_encode(std::string(1, c));
  char between = '?';
  const auto is_clean = [](const std::string& text) {
    for (char c : text)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
    return true;
  };
  REQUIRE(is_clean(target->path));
  for (const auto& [key, value] : target->query) {
    REQUIRE(is_clean(key) && is_clean(value));
    again += between + http::percent_encode(key) + "=" + http::percent_encode(value);
    between = '&';
  }
  if (again.size() > serving::kMaxTargetBytes) return;
  const std::optional<serving::Target> second = serving::parse_target(again);
  REQUIRE(second && second->path == target->path && second->query == target->query);
}

// Whatever is asked for lies within the content.
FUZZ_TARGET(range, "bytes=0-1", "bytes=5-", "bytes=-3", "bytes=0-99999999999999999999", "bytes=1-2,3-4",
            "bytes=-0") {
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, uint64_t{1} << 62}) {
    const serving::RangeRequest range = serving::parse_range(input, size);
    if (range.kind != serving::RangeRequest::Kind::kPart) continue;
    REQUIRE(range.part.begin < range.part.end && range.part.end <= size);
  }
}

FUZZ_TARGET(content_range, "0-1", "bytes 5-9/10", "9-3", "18446744073709551615-18446744073709551615", "0-") {
  const std::optional<serving::ByteRange> range = serving::parse_content_range(input);
  if (range) REQUIRE(range->begin < range->end && range->size() > 0);
}

FUZZ_TARGET(content_digest, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha512:", "sha256:..") {
  const std::optional<serving::ContentDigest> digest = serving::ContentDigest::parse(input);
  if (!digest) return;
  REQUIRE(digest->to_string() == input);
  REQUIRE(input.find('/') == std::string_view::npos && input.find('.') == std::string_view::npos);
  serving::is_upload_id(input);
}

// What it refers to can be told again from its descriptor.
FUZZ_TARGET(
    pushed_manifest,
    R"({"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:)"
    R"(e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]})",
    R"({"manifests":[],"annotations":{"a":"b"},"artifactType":"x/y","mediaType":"application/vnd.oci.image.index.v1+json"})") {
  tolerate({ErrorCode::kInvalid}, [&] {
    const serving::ManifestFacts facts = serving::read_manifest_facts(input, "");
    const Json descriptor = serving::referrer_descriptor(
        facts, serving::ContentDigest::of(serving::Algorithm::kSha256, input), input.size());
    REQUIRE(Json::parse(descriptor.dump()) == descriptor);
  });
}

// A record that is read is written as the same bytes; paths of it stay below the registry's two directories.
FUZZ_TARGET(registry_journal, serving::encode_record(7, {}).append("x"), [] {
  const serving::Change put = serving::Change::put("blobs/sha256/ab/abc", "data");
  const serving::Change move = serving::Change::move("repositories/a/_uploads/x", "blobs/sha256/ab/abd");
  return serving::encode_record(3, {&put, &move});
}()) {
  const std::optional<serving::Record> record = serving::decode_record(input);
  if (!record) return;
  std::vector<const serving::Change*> changes;
  for (const serving::Change& change : record->changes) {
    changes.push_back(&change);
    for (const std::string* path :
         {&change.path, change.kind == serving::Change::Kind::kMove ? &change.data : &change.path})
      REQUIRE((path->starts_with("blobs/") || path->starts_with("repositories/")) &&
              path->find("/../") == std::string::npos);
  }
  REQUIRE(serving::encode_record(record->generation, changes) == input.substr(0, record->size));
}

// An error names the file and the line alone: what stands there may be a password.
FUZZ_TARGET(htpasswd, "ann:$2y$05$" + std::string(53, 'a') + "\n# x\n", "5ecre7:5ecre7", "a:$2y$\n:b\n") {
  try {
    for (const auto& [name, hash] : serving::parse_htpasswd(input, "f")) {
      REQUIRE(!name.empty() && name.find_first_of(":\n") == std::string::npos);
      REQUIRE(hash.size() == 60 && hash.starts_with("$2"));
    }
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::kInvalid);
    REQUIRE(std::string_view(error.what()).size() < 60);
  }
}

namespace {

std::string base64url(std::string_view bytes) {
  std::string text = base64_encode(bytes);
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

// A token server whose key the verifier knows.
class Signer {
 public:
  Signer() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free) {
    FILE* out = fopen((directory_ / "key.pem").c_str(), "w");
    REQUIRE(out && PEM_write_PUBKEY(out, key_.get()) == 1);
    fclose(out);
    verifier.emplace(serving::WebTokenOptions{directory_ / "key.pem", "reg", "us"});
  }
  std::string sign(const std::string& text) const {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    unsigned char signature[64];
    size_t size = sizeof signature;
    REQUIRE(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1);
    REQUIRE(EVP_DigestSign(context.get(), signature, &size,
                           reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1);
    return base64url({reinterpret_cast<const char*>(signature), size});
  }
  std::optional<serving::WebTokenVerifier> verifier;

 private:
  TempDir directory_ = TempDir::for_test();
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

}  // namespace

// What nobody signed is refused; what was signed is refused, or is for us and in time.
FUZZ_TARGET(
    web_token,
    R"({"iss":"us","sub":"ann","aud":"reg","exp":1800000300,"access":[{"type":"repository","name":"a","actions":["pull"]}]})",
    R"({"iss":"us","aud":["x","reg"],"exp":1800000300,"nbf":1800000000})", R"({"iss":"us","aud":[5]})",
    base64url(R"({"alg":"ES256"})") + ".e30." + base64url(std::string(64, 'x')),
    base64url(R"({"alg":"none"})") + ".e30.", "..", "[]") {
  static const Signer signer;
  constexpr int64_t kNow = 1'800'000'000;
  REQUIRE(!tolerate({ErrorCode::kPermission}, [&] { signer.verifier->verify(input, kNow); }));
  const std::string text = base64url(R"({"alg":"EdDSA"})") + "." + base64url(input);
  tolerate({ErrorCode::kPermission}, [&] {
    const serving::WebToken token = signer.verifier->verify(text + "." + signer.sign(text), kNow);
    const Json claims = Json::parse(input);
    REQUIRE(claims.get_string("iss") == "us" && claims.get_string("sub") == token.subject);
    REQUIRE(claims.get_int("exp") > kNow - 61 && claims.get_int("nbf") < kNow + 61);
  });
}

namespace {

// A registry that everybody may write, for as long as the program runs.
class Served {
 public:
  Served() {
    serving::ServerOptions options{.listen = "127.0.0.1:0", .threads = 1};
    options.service.root = directory_ / "registry";
    options.service.max_bytes = 1 << 20;
    options.service.log = [](const std::string& line) { broken(line.c_str(), "a failure of ours", 0); };
    server_.emplace(std::move(options));
  }
  // What comes until the server ends the connection.
  std::string say(std::string_view bytes) const {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(server_->port());
    REQUIRE(connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const timeval limit{20, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    shutdown(socket.get(), SHUT_WR);
    std::string heard;
    char buffer[16384];
    while (true) {
      const ssize_t n = recv(socket.get(), buffer, sizeof buffer, 0);
      REQUIRE(n >= 0 || errno == ECONNRESET);
      if (n <= 0) return heard;
      heard.append(buffer, static_cast<size_t>(n));
    }
  }

 private:
  TempDir directory_ = TempDir::for_test();
  std::optional<serving::Server> server_;
};

std::string asked(const std::string& line, const std::string& body = {}, const std::string& fields = {}) {
  return fmt::format("{} HTTP/1.1\r\nHost: a\r\n{}Content-Length: {}\r\n\r\n{}", line, fields, body.size(),
                     body);
}

std::string digest_of(std::string_view bytes) {
  return serving::ContentDigest::of(serving::Algorithm::kSha256, bytes).to_string();
}

const std::string kPushed = fmt::format(
    R"({{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"a/b","digest":"{}","size":2}},"layers":[]}})",
    oci::kOciManifest, digest_of("{}"));

}  // namespace

// Every connection comes to an end, and no answer is the fault of the server.
SLOW_FUZZ_TARGET(
    served,
    asked("POST /v2/a/blobs/uploads/?digest=" + digest_of("{}"), "{}") +
        asked("PUT /v2/a/manifests/v1", kPushed, "Content-Type: " + std::string(oci::kOciManifest) + "\r\n") +
        asked("GET /v2/a/manifests/v1") + asked("GET /v2/a/tags/list?n=1") + asked("GET /v2/_catalog") +
        asked("GET /v2/a/referrers/" + digest_of(kPushed)) +
        asked("DELETE /v2/a/manifests/" + digest_of(kPushed)),
    asked("GET /v2/a/blobs/" + digest_of("{}"), "", "Range: bytes=0-0\r\nIf-None-Match: \"x\"\r\n") +
        asked("HEAD /v2/a/blobs/" + digest_of("{}")) + asked("DELETE /v2/a/blobs/" + digest_of("{}")) +
        asked("POST /v2/b/blobs/uploads/?mount=" + digest_of("{}") + "&from=a"),
    "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: y\r\n\r\n",
    "PATCH /v2/a/blobs/uploads/00000000000000000000000000000000 HTTP/1.1\r\nContent-Range: 0-2\r\n"
    "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    "GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\nAuthorization: Basic YTpi\r\n\r\nGET / "
    "HTTP/1.1\r\n\r\n",
    "GET /v2/\x1b HTTP/1.1\r\n\r\n") {
  static const Served served;
  const std::string heard = served.say(input);
  if (heard.empty()) return;
  REQUIRE(heard.starts_with("HTTP/1.1 ") && heard.find("HTTP/1.1 500 ") == std::string::npos);
  for (char c : heard.substr(0, heard.find("\r\n\r\n")))
    REQUIRE(c == '\r' || c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F));
}

}  // namespace corten::fuzz
