// What registries and other tools' files say to a client.
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "fuzz/fuzz.h"
#include "http/date.h"
#include "registry/access.h"
#include "registry/challenge.h"
#include "registry/credentials.h"
#include "registry/docker_settings.h"
#include "registry/error_body.h"
#include "registry/hosts_toml.h"
#include "registry/login.h"
#include "registry/registries_conf.h"
#include "registry/retry.h"
#include "registry/token_server.h"

namespace corten::fuzz {

namespace {

// Like tolerate(), and what the error says may be shown.
template <typename F>
void read_settings(F read) {
  try {
    read();
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::kInvalid);
    REQUIRE(is_terminal_text(error.what()));
  }
}

std::string written(const registry::Challenge& challenge) {
  std::string text = challenge.scheme;
  const char* before = " ";
  for (const auto& [name, value] : challenge.parameters) {
    text += before + name + "=\"" + replace_all(replace_all(value, "\\", "\\\\"), "\"", "\\\"") + "\"";
    before = ",";
  }
  return text;
}

}  // namespace

// What was understood, written down, is understood as the same.
FUZZ_TARGET(challenge, R"(Bearer realm="https://auth.test/token",service="s",scope="repository:a:pull,push")",
            R"(Basic realm="a \"b\"", Negotiate YWJj==, bearer realm=x)", "A b=c,d e=\"", "NTLM") {
  std::string text;
  const std::vector<registry::Challenge> found = registry::parse_challenges(input);
  REQUIRE(found.size() <= 16);
  for (const registry::Challenge& challenge : found) {
    REQUIRE(!challenge.scheme.empty() && challenge.parameters.size() <= 16);
    for (const auto& [name, value] : challenge.parameters)
      REQUIRE(value.find_first_of("\r\n\x1b") == std::string::npos);
    text += (text.empty() ? "" : ", ") + written(challenge);
  }
  if (text.size() > 8000) return;
  const std::vector<registry::Challenge> again = registry::parse_challenges(text);
  REQUIRE(again.size() == found.size());
  for (size_t i = 0; i < found.size(); i++) {
    REQUIRE(again[i].scheme == found[i].scheme);
    REQUIRE(again[i].parameters == found[i].parameters);
  }
}

FUZZ_TARGET(grown_scopes, "repository:a:pull", "registry:catalog:* repository:a/b:pull,push", "a  b", "::,") {
  const std::vector<std::string> had = {"repository:a:pull", "repository:b:*"};
  const std::vector<std::string> grown = registry::grown_scopes(had, input);
  if (grown.empty()) return;
  REQUIRE(grown.size() > had.size() && grown.size() <= had.size() + 16);
  REQUIRE(std::vector<std::string>(grown.end() - 2, grown.end()) == had);
  REQUIRE(registry::grown_scopes(grown, join(grown, " ")).empty());
}

// A realm that is let through is not of a private place, however it is spelt.
FUZZ_TARGET(realm, "https://auth.docker.io/token", "https://127.0.0.1/", "https://[::1]/t", "https://0x7f.1/",
            "http://a.test", "https://localhost./", "https://[::ffff:10.0.0.1]:443/t?a=b") {
  try {
    registry::check_realm(std::string(input), {.registry = "registry.test"});
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::kPermission || error.code() == ErrorCode::kInvalid);
    REQUIRE(is_terminal_text(error.what()));
    return;
  }
  const http::Url url = http::parse_url(input);
  REQUIRE(url.scheme == "https" && !registry::is_loopback(url.host) && url.user_info.empty());
  REQUIRE(!http::is_in_network(url.host, "10.0.0.0/8") && !http::is_in_network(url.host, "fd00::/8"));
}

FUZZ_TARGET(credential_file, R"({"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}},"credsStore":"x"})",
            R"({"auths":{"a.test/ns":{"username":"u","password":"p","identitytoken":"t"}},
               "credHelpers":{"b.test":"ecr-login"},"HttpHeaders":{"X-Meta-A":"b"}})",
            "{\"auths\":5}") {
  read_settings([&] {
    const registry::CredentialFile file = registry::parse_credential_file(input, "config.json");
    for (const auto& [key, credential] : file.auths) REQUIRE(!credential.is_anonymous());
    const registry::Credentials all = registry::Credentials::from_files({file});
    for (const auto& [key, credential] : file.auths)
      if (file.store.empty() && file.helpers.empty() && key.find('/') == std::string::npos)
        REQUIRE(!all.find(key, "a").is_anonymous());
  });
}

FUZZ_TARGET(registries_conf,
            "[[registry]]\nprefix = \"docker.io/library\"\nlocation = \"a.test/b\"\ninsecure = true\n"
            "[[registry.mirror]]\nlocation = \"m.test:5000\"\npull-from-mirror = \"digest-only\"\n",
            "[[registry]]\nprefix = \"*.a.test\"\nblocked = true\n",
            "[registries.insecure]\nregistries = ['a.test']\n", "a = [[[[[[1]]]]]]\n") {
  read_settings([&] {
    for (const registry::RegistryRule& rule : registry::parse_registries_conf(input, "registries.conf")) {
      REQUIRE(!rule.prefix.empty());
      if (!rule.prefix.starts_with("*.")) REQUIRE(rule.matches(rule.prefix) == rule.prefix.size());
      for (const registry::MirrorRule& mirror : rule.mirrors) REQUIRE(!mirror.location.empty());
    }
  });
}

FUZZ_TARGET(hosts_toml,
            "server = \"https://a.test\"\n[host.\"https://m.test/p\"]\ncapabilities = [\"pull\"]\n"
            "ca = [\"a\"]\nclient = [[\"c\", \"k\"]]\nskip_verify = true\noverride_path = true\n"
            "[host.\"https://m.test/p\".header]\nx = [\"a\"]\n",
            "[host.\"m.test:80\"]\n", "server = 'http://[::1]:5000/v2/'") {
  read_settings([&] {
    const registry::HostsToml toml =
        registry::parse_hosts_toml(input, "/d/hosts.toml", {.authority = "a.test", .registry = "a.test"});
    for (const auto& mirror : toml.mirrors) {
      REQUIRE(mirror.endpoint.is_mirror && !mirror.endpoint.authority.empty());
      REQUIRE(http::parse_url(mirror.endpoint.base() + "/x").host ==
              http::parse_url("https://" + mirror.endpoint.authority).host);
    }
  });
}

FUZZ_TARGET(daemon_json,
            R"({"registry-mirrors":["https://m.test/"],"insecure-registries":["a:1","10.0.0.0/8"]})",
            R"({"registry-mirrors":["file:///x"]})") {
  read_settings([&] {
    for (const std::string& network : registry::parse_daemon_json(input, "daemon.json").insecure_networks)
      http::is_in_network("10.1.2.3", network);
  });
}

FUZZ_TARGET(registry_error, R"({"errors":[{"code":"DENIED","message":"no","detail":{}}]})", "<html>\n502\n",
            R"({"error":"invalid_grant","error_description":"expired"})") {
  const std::string text = registry::error_text(input);
  REQUIRE(is_terminal_text(text) && text.find('\n') == std::string::npos && text.size() < 12000);
}

// No wait is negative, and no date lies where it cannot be reckoned with.
FUZZ_TARGET(retry_after, "120", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994", "Fri, 31 Dec 9999 23:59:60 GMT", "999999999999999999999") {
  constexpr int64_t kYears = int64_t{400 * 365 + 97} * 24 * 3600;  // 400
  for (const int64_t now : {int64_t{0}, int64_t{1'800'000'000}}) {
    if (const auto wait = registry::parse_retry_after(input, now))
      REQUIRE(*wait >= 0 && *wait <= 21 * kYears);
    if (const auto date = http::parse_date(input, now)) REQUIRE(*date >= -kYears && *date <= 21 * kYears);
  }
}

// A login that is written into another tool's file is found there, and what else was there is there still.
SLOW_FUZZ_TARGET(login_file,
                 R"({"auths":{"a.test":{"auth":"YTpi"},"https://new.test/v2/":{}},"other":{"x":1}})", "{}",
                 " \n", R"({"auths":null,"HttpHeaders":{"X-Meta-A":"b"}})",
                 R"({"auths":{"new.test":{"auth":"YTpi"},"NEW.test":{"identitytoken":"t"}}})") {
  static const TempDir directory = TempDir::for_test();
  const std::string path = directory / "config.json";
  read_settings([&] {
    const registry::CredentialFile before = registry::parse_credential_file(input, path);
    if (!before.store.empty() || !before.helpers.empty()) return;  // no programs are run here
    write_file_atomic(path, input, 0600);
    registry::save_login("new.test", {.user = "u", .password = "p"}, path);
    const auto read = [&] { return registry::parse_credential_file(read_file(path), path); };
    REQUIRE(registry::Credentials::from_files({read()}).find("new.test", "a").password == "p");
    REQUIRE(registry::remove_login("new.test", path));
    std::vector<std::string> others, kept;
    for (const auto& [key, credential] : before.auths)
      if (key != registry::credential_key("new.test")) others.push_back(key + credential.password);
    for (const auto& [key, credential] : read().auths) kept.push_back(key + credential.password);
    REQUIRE(kept == others);
  });
}

}  // namespace corten::fuzz
