// Whole conversations with registries, token servers and clouds: whatever is answered, a client comes to an
// end, with right bytes or with an error that may be shown, and its password goes to nobody else.
#include <sys/mman.h>
#include <unistd.h>

#include <set>

#include "base/clock.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "fuzz/script.h"
#include "oci/media_type.h"
#include "registry/clean/acr_repository.h"
#include "registry/clean/ecr_repository.h"
#include "registry/clean/github_repository.h"
#include "registry/cloud/aws_sts.h"
#include "registry/cloud/ecr.h"
#include "registry/remote.h"
#include "registry/token_server.h"

namespace corten::fuzz {

namespace {

constexpr const char* kRegistry = "127.0.0.1:5000";

// A client with a password for one registry, which says `input`.
void converse(std::string_view input,
              const std::function<void(registry::Remote&, const oci::Reference& image)>& talk) {
  Script script(input);
  try {
    registry::Credentials credentials;
    credentials.add(kRegistry, {.user = "u", .password = kSecret});
    registry::Access access({.http = script.options(), .credentials = credentials, .retry = kAtOnce});
    const registry::Hosts hosts;
    registry::Remote remote(access, hosts, {.retry = kAtOnce, .warn = [](const std::string& line) {
                                              REQUIRE(is_terminal_text(line));
                                            }});
    talk(remote, oci::Reference::parse(std::string(kRegistry) + "/a/b:v1"));
  } catch (const Error& error) {
    check_error(error);
  }
  // A registry without TLS may name any token server; nothing else takes the password anywhere.
  if (to_lower(input).find("realm") == std::string::npos && input.find("5ecre7") == std::string_view::npos) {
    REQUIRE(!script.is_heard_elsewhere(kSecret, kRegistry));
    REQUIRE(!script.is_heard_elsewhere(base64_encode(std::string("u:") + kSecret), kRegistry));
  }
}

const std::string kBlob = "hello, blob";
const std::string kIndexText = R"({"schemaVersion":2,"manifests":[]})";

std::string in_json(const std::string& body) {
  return answer("200 OK", body, "Content-Type: application/vnd.oci.image.index.v1+json\r\n");
}

}  // namespace

FUZZ_TARGET(remote_reads, in_json(kIndexText), in_json(R"({"name":"a/b","tags":["v1","v2"]})"),
            answer("200 OK", R"({"tags":["a"]})", "Link: </v2/a/b/tags/list?last=a>; rel=\"next\"\r\n") +
                answer("200 OK", R"({"tags":["b"]})"),
            answer("401 Unauthorized", "", "WWW-Authenticate: Basic realm=\"x\"\r\n") + in_json(kIndexText),
            answer("401 no", "",
                   "WWW-Authenticate: Bearer realm=\"http://auth.test/t\",service=\"s\",scope=\"repository:a/"
                   "b:pull\"\r\n") +
                answer("200 OK", R"({"token":"abc","expires_in":60})") + in_json(kIndexText),
            answer("200 OK", kBlob), answer("206 Partial Content", "llo", "Content-Range: bytes 2-4/11\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello\x1e" +
                answer("206 Partial", ", blob", "Content-Range: bytes 5-10/11\r\n"),
            answer("307 x", "", "Location: http://elsewhere.test/x\r\n") + answer("200 OK", kBlob),
            answer("429 Too many", "", "Retry-After: 0\r\n") + in_json(kIndexText),
            answer("404 x", R"({"errors":[{"code":"NAME_UNKNOWN","message":"\u001b[31m"}]})",
                   "Warning: 299 - \"old\"\r\n")) {
  converse(input, [](registry::Remote& remote, const oci::Reference& image) { remote.find(image); });
  converse(input, [](registry::Remote& remote, const oci::Reference& image) {
    const registry::RemoteManifest found = remote.manifest(image);
    REQUIRE(found.descriptor.digest == Digest::of(found.bytes));
    REQUIRE(found.descriptor.size == found.bytes.size());
  });
  converse(input, [](registry::Remote& remote, const oci::Reference& image) {
    std::set<std::string> seen;
    for (const std::string& tag : remote.tags(image))
      REQUIRE(oci::is_valid_tag(tag) && seen.insert(tag).second);
  });
  converse(input, [](registry::Remote& remote, const oci::Reference& image) {
    for (const oci::Descriptor& entry : remote.referrers(image, Digest::of("x"), "a/b").manifests)
      REQUIRE(entry.artifact_type == "a/b");
  });
  const oci::Descriptor blob = oci::describe("application/octet-stream", kBlob);
  converse(input, [&](registry::Remote& remote, const oci::Reference& image) {
    const UniqueFd file(memfd_create("blob", MFD_CLOEXEC));
    remote.fetch_blob(image, blob, file.get());
    std::string bytes(100, '\0');
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(0, pread(file.get(), bytes.data(), 100, 0))));
    REQUIRE(bytes == kBlob);
  });
  converse(input, [&](registry::Remote& remote, const oci::Reference& image) {
    REQUIRE(remote.read_part(image, blob, 2, 3).size() == 3);
  });
}

FUZZ_TARGET(
    remote_writes,
    answer("404 x", "") + answer("202 Accepted", "", "Location: /v2/a/b/blobs/uploads/1\r\n") +
        answer("201 Created", ""),
    answer("404 x", "") +
        answer("202 Accepted", "", "Location: http://elsewhere.test/1?a=b\r\nOCI-Chunk-Min-Length: 9\r\n") +
        answer("201 Created", ""),
    answer("404 x", "") + answer("202 x", "", "Location: u\r\n") + answer("503 x", "") +
        answer("204 x", "", "Range: 0-4\r\n") + answer("202 x", "", "Range: 0-10\r\n") + answer("201 x", ""),
    answer("404 x", "") + answer("202 x", "", "Location: u\r\n") + answer("413 x", "too large"),
    answer("200 OK", "", "Content-Length: 11\r\n"), answer("201 Created", "", "OCI-Subject: sha256:a\r\n"),
    answer("202 Accepted", ""),
    answer("201 Created", "") + answer("404 x", "") + answer("201 Created", "") + in_json(kIndexText)) {
  converse(input, [](registry::Remote& remote, const oci::Reference& image) {
    registry::OutgoingBlob blob;
    blob.descriptor = oci::describe("application/octet-stream", kBlob);
    blob.open = [](uint64_t offset) {
      REQUIRE(offset <= kBlob.size());
      return http::RequestBody::of(kBlob.substr(offset)).open();
    };
    blob.mount_from = {"c/d"};
    remote.push_blob(image, blob, [](uint64_t at) { REQUIRE(at <= kBlob.size()); });
  });
  const std::string manifest = fmt::format(
      R"({{"schemaVersion":2,"mediaType":"{0}","manifests":[],"subject":{{"mediaType":"{0}","digest":"{1}","size":1}}}})",
      oci::kOciIndex, Digest::of("x").to_string());
  converse(input, [&](registry::Remote& remote, const oci::Reference& image) {
    remote.put_manifest(image, manifest, std::string(oci::kOciIndex));
  });
  converse(input,
           [](registry::Remote& remote, const oci::Reference& image) { remote.remove_manifest(image); });
}

FUZZ_TARGET(token_answer, R"({"token":"abc","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"})",
            R"({"access_token":"abc","refresh_token":"r","expires_in":-1})",
            R"({"token":"a b","expires_in":99999999999999})", "[]") {
  for (const char* status : {"200 OK", "401 Unauthorized", "307 Temporary"}) {
    const std::string all =
        answer(status, std::string(input), "Location: " + to_lower(printable(input)) + "\r\n");
    Script script(all);
    http::Client client(script.options());
    registry::TokenRequest request{.realm = "http://auth.test/token",
                                   .service = "s",
                                   .scopes = {"repository:a:pull"},
                                   .credential = {.user = "u", .password = kSecret},
                                   .registry = "registry.test",
                                   .is_insecure = true,
                                   .wants_refresh_token = true};
    try {
      const registry::Token token = registry::fetch_token(client, request, 1'800'000'000, kAtOnce);
      REQUIRE(!token.value.empty() && token.value.find_first_of(" \r\n\t\x7f") == std::string::npos);
      REQUIRE(token.lasts_s > 0 && token.lasts_s <= 24 * 3600);
    } catch (const Error& error) {
      if (input.find("5ecre7") == std::string_view::npos) check_error(error);
    }
  }
}

// What Amazon, Azure and GitHub answer to a list, a login, a scan: always the same, also page after page.
FUZZ_TARGET(
    cloud_answer, R"({"authorizationData":[{"authorizationToken":"YTpi","expiresAt":1.7e9}]})",
    R"({"imageScanStatus":{"status":"COMPLETE"},"imageScanFindings":{"findings":[{"name":"CVE-1",)"
    R"("severity":"HIGH","attributes":[{"key":"package_name","value":"x"}]}],"enhancedFindings":)"
    R"([{"severity":"LOW","packageVulnerabilityDetails":{"vulnerablePackages":[{"name":"y"}]}}]}})",
    R"({"imageDetails":[{"imageDigest":"sha256:a","imageTags":["t"],"imagePushedAt":1e300}]})",
    R"([{"name":"sha256:a","id":1,"updated_at":"2026-01-01T00:00:00Z","metadata":{"container":{"tags":["v"]}}}])",
    R"({"manifests":[{"digest":"sha256:a","tags":["v"],"lastUpdateTime":"2026-01-01T00:00:00.1Z",)"
    R"("changeableAttributes":{"deleteEnabled":false}}]})",
    R"({"__type":"com.amazonaws.ecr#RepositoryNotFoundException","message":"no\u001b"})",
    "<R><Account>1</Account><AccessKeyId>a</AccessKeyId></R>") {
  using namespace registry;
  for (const char* status : {"200 OK", "400 Bad"}) {
    std::string all;
    for (int page = 0; page < 3; page++) all += answer(status, std::string(input));
    const auto with_client = [&](auto ask) {
      Script script(all);
      http::Client client(script.options());
      const cloud::Environment environment = [](const std::string& name) -> std::string {
        return name == "AWS_ENDPOINT_URL" ? "http://127.0.0.1:1" : "";
      };
      const SystemClock clock;
      const cloud::AwsCredentials keys{"AK", kSecret, "", "a test"};
      Access access({.http = script.options(), .credentials = {}, .retry = kAtOnce});
      try {
        ask(client, cloud::Ecr({client, clock, environment}, keys, "eu-west-1"),
            cloud::Sts{client, clock, environment, "eu-west-1"}, access);
      } catch (const Error& error) {
        check_error(error);
      }
    };
    const Endpoint endpoint = Hosts().origin(kRegistry);
    with_client([](auto&, const cloud::Ecr& ecr, auto&&, auto&) { cloud::ecr_login(ecr); });
    with_client([](auto&, const cloud::Ecr& ecr, auto&&, auto&) {
      cloud::scan_findings(ecr, {.image = cloud::parse_ecr_image("app:1")});
    });
    with_client([&](auto&, cloud::Ecr&& ecr, auto&&, Access& access) {
      clean::EcrRepository(access, endpoint, "a/b", std::move(ecr)).list();
    });
    with_client([](auto&, auto&&, const cloud::Sts& sts, auto&) {
      REQUIRE(!sts.caller_identity({"AK", kSecret, "", "a test"}).account.empty());
    });
    with_client([](auto&, auto&&, const cloud::Sts& sts, auto&) {
      sts.assume_role_with_web_identity({.arn = "arn", .session_name = "s", .external_id = ""}, "token");
    });
    with_client([&](http::Client& client, auto&&, auto&&, Access& access) {
      clean::GithubRepository hub(access, endpoint, "a/b", client,
                                  {.url = "http://127.0.0.1:1", .token = kSecret});
      for (const clean::Listed& listed : hub.list().manifests) hub.remove(listed.digest);
    });
    with_client([&](auto&, auto&&, auto&&, Access& access) {
      clean::AcrRepository(access, endpoint, "a/b", kAtOnce).list();
    });
  }
}

}  // namespace corten::fuzz
