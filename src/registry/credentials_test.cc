#include "registry/credentials.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "http/server_test.h"
#include "registry/credential_files.h"
#include "registry/credential_helper.h"

namespace corten::registry {
namespace {

// Variables as they were, afterwards.
class Environment {
 public:
  void set(const std::string& name, const std::string& value) {
    const char* old = getenv(name.c_str());
    if (!was_.contains(name)) was_[name] = old ? std::optional<std::string>(old) : std::nullopt;
    setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : was_)
      value ? setenv(name.c_str(), value->c_str(), 1) : unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::optional<std::string>> was_;
};

// A home without anything, and no variables that lead elsewhere.
struct Home {
  Home() {
    for (const char* name : {"DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE",
                             "DOCKER_AUTH_CONFIG", "CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"})
      environment.set(name, "");
    environment.set("HOME", directory.path());
  }
  std::string put(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    make_directories_on_host(directory / name.substr(0, name.rfind('/') + 1));
    write_file_atomic(directory / name, text, mode);
    return directory / name;
  }
  // A helper that answers `get` by these lines of shell.
  void put_helper(const std::string& name, const std::string& shell) {
    put("bin/docker-credential-" + name, "#!/bin/sh\nread -r server\n" + shell + "\n", 0755);
    environment.set("PATH", directory / "bin" + ":/usr/bin:/bin");
  }
  TempDir directory = TempDir::for_test();
  Environment environment;
};

std::string auth(const std::string& user, const std::string& password) {
  return "{\"auth\":\"" + base64_encode(user + ":" + password) + "\"}";
}

TEST(Credentials, AllFormsOfAuths) {
  const CredentialFile file = parse_credential_file(
      R"({"auths":{
        "https://index.docker.io/v1/":)" +
          auth("hub", "a:b") + R"(,
        "Ghcr.io":{"username":"u","password":"p"},
        "acr.test":{"auth":")" +
          base64_encode("0000:") + R"(","identitytoken":"refresh"},
        "plain.test":{"registrytoken":"bearer"},
        "https://old.test/v2/":)" +
          auth("old", "o") + R"(,
        "empty.test":{}, "null.test":null},
      "HttpHeaders":{"X-Meta-Team":"a","User-Agent":"Docker"}})",
      "f");
  const Credentials credentials = Credentials::from_files({file});
  EXPECT_EQ(credentials.find("docker.io", "library/x").password, "a:b");
  EXPECT_EQ(credentials.find("registry-1.docker.io", "library/x").user, "hub");
  EXPECT_EQ(credentials.find("ghcr.io", "a/b").password, "p");
  EXPECT_EQ(credentials.find("GHCR.io", "a/b").source, "f");
  EXPECT_EQ(credentials.find("acr.test", "a").identity_token, "refresh");
  EXPECT_EQ(credentials.find("plain.test", "a").registry_token, "bearer");
  EXPECT_EQ(credentials.find("old.test", "a").user, "old");
  EXPECT_TRUE(credentials.find("empty.test", "a").is_anonymous());
  EXPECT_TRUE(credentials.find("ghcr.io.evil.test", "a").is_anonymous());
  EXPECT_TRUE(credentials.find("io", "a").is_anonymous());
  EXPECT_EQ(credentials.request_fields().size(), 1u);
}

TEST(Credentials, TheLongestPathCounts) {
  const Credentials credentials = Credentials::from_files({parse_credential_file(
      "{\"auths\":{\"r.test\":" + auth("host", "1") + ",\"r.test/team\":" + auth("team", "2") +
          ",\"r.test/team/app\":" + auth("app", "3") + ",\"other.test/a\":" + auth("a", "4") +
          ",\"docker.io/me\":" + auth("me", "5") + "}}",
      "f")});
  EXPECT_EQ(credentials.find("r.test", "x").user, "host");
  EXPECT_EQ(credentials.find("r.test", "team/x").user, "team");
  EXPECT_EQ(credentials.find("r.test", "team/app").user, "app");
  EXPECT_EQ(credentials.find("r.test", "team/app/deep").user, "app");
  EXPECT_EQ(credentials.find("r.test", "teamwork").user, "host");
  EXPECT_TRUE(credentials.find("other.test", "b").is_anonymous());
  EXPECT_EQ(credentials.find("registry-1.docker.io", "me/app").user, "me");
}

TEST(Credentials, MalformedFilesShowNothingOfThemselves) {
  for (const std::string& text :
       {std::string("{\n\"auths\": {\"a.test\": {\"password\": \"hunter2-secret\",,}}}"),
        std::string("{\"auths\": {\"a.test\": {\"auth\": \"hunter2-secret\"}}}"),
        std::string("{\"auths\": {\"a.test\": \"hunter2-secret\"}}"),
        std::string("{\"auths\": \"hunter2-secret\"}"), std::string("hunter2-secret"),
        std::string("{\"credsStore\": [\"hunter2-secret\"]}")}) {
    std::string words;
    EXPECT_EQ(http::code_of([&] { parse_credential_file(text, "/h/config.json"); }, &words),
              ErrorCode::kInvalid);
    EXPECT_TRUE(words.starts_with("/h/config.json")) << words;
    EXPECT_EQ(words.find("hunter2"), std::string::npos) << words;
  }
  std::string words;
  http::code_of([&] { parse_credential_file("{\n\n  oops}", "f"); }, &words);
  EXPECT_EQ(words, "f:3: this is no JSON");
  EXPECT_TRUE(parse_credential_file("", "f").auths.empty());
}

TEST(Credentials, WhereFilesAreLookedFor) {
  Home home;
  EXPECT_TRUE(Credentials::from_system().find("r.test", "a").is_anonymous());
  home.put(".config/containers/auth.json", "{\"auths\":{\"r.test\":" + auth("containers", "1") + "}}");
  EXPECT_EQ(Credentials::from_system().find("r.test", "a").user, "containers");
  home.environment.set("XDG_RUNTIME_DIR", home.directory / "run");
  home.put("run/containers/auth.json", "{\"auths\":{\"r.test\":" + auth("runtime", "1") + "}}");
  EXPECT_EQ(Credentials::from_system().find("r.test", "a").user, "runtime");
  const std::string docker =
      home.put(".docker/config.json", "{\"auths\":{\"r.test\":" + auth("docker", "1") + "}}");
  EXPECT_EQ(Credentials::from_system().find("r.test", "a").user, "docker");
  EXPECT_EQ(Credentials::from_system().find("r.test", "a").source, docker);
  home.environment.set("DOCKER_AUTH_CONFIG", "{\"auths\":{\"r.test\":" + auth("variable", "1") + "}}");
  EXPECT_EQ(Credentials::from_system().find("r.test", "a").user, "variable");
  const std::string named = home.put("named.json", "{\"auths\":{\"other.test\":" + auth("named", "1") + "}}");
  EXPECT_TRUE(Credentials::from_system(named).find("r.test", "a").is_anonymous());
  EXPECT_EQ(Credentials::from_system(named).find("other.test", "a").user, "named");
  EXPECT_EQ(http::code_of([&] { Credentials::from_system(named + "x"); }), ErrorCode::kNotFound);
}

TEST(Credentials, GitLabsVariables) {
  Home home;
  home.environment.set("CI_REGISTRY", "gitlab.test:5050");
  home.environment.set("CI_REGISTRY_USER", "job");
  home.environment.set("CI_REGISTRY_PASSWORD", "hunter2-secret");
  EXPECT_EQ(Credentials::from_system().find("gitlab.test:5050", "a").user, "job");
  EXPECT_TRUE(Credentials::from_system().find("gitlab.test", "a").is_anonymous());
}

TEST(Credentials, GivenOnesFirstProvidersLast) {
  Credentials credentials = Credentials::from_files(
      {parse_credential_file("{\"auths\":{\"r.test\":" + auth("file", "1") + "}}", "f")});
  credentials.add_provider([](const std::string& host, const std::string& repository) {
    return host == "none.test" ? std::nullopt
                               : std::optional<Credential>({.user = repository, .password = "p"});
  });
  EXPECT_EQ(credentials.find("r.test", "a").user, "file");
  EXPECT_EQ(credentials.find("cloud.test", "a/b").user, "a/b");
  EXPECT_TRUE(credentials.find("none.test", "a").is_anonymous());
  credentials.add("R.test", {.user = "given", .password = "p"});
  EXPECT_EQ(credentials.find("r.test", "a").user, "given");
}

TEST(Credentials, HelpersOfHostsAndForAll) {
  Home home;
  home.put_helper("one", R"(echo run >>"$HOME/runs"; [ "$1" = get ] || exit 3
case $server in r.test) echo '{"ServerURL":"r.test","Username":"ann","Secret":"one"}';;
*) echo 'credentials not found in native keychain'; exit 1;; esac)");
  home.put_helper("all", R"(case $server in https://index.docker.io/v1/)
echo '{"Username":"<token>","Secret":"refresh"}';;
*) echo 'credentials not found in native keychain'; exit 1;; esac)");
  const Credentials credentials = Credentials::from_files({parse_credential_file(
      R"({"credHelpers":{"r.test":"one","s.test":"one"},"credsStore":"all","auths":{"s.test":)" +
          auth("file", "1") + "}}",
      "f")});
  EXPECT_EQ(credentials.find("r.test", "a").password, "one");
  EXPECT_EQ(credentials.find("r.test", "b").source, "docker-credential-one");
  EXPECT_EQ(credentials.find("registry-1.docker.io", "b").identity_token, "refresh");
  EXPECT_EQ(credentials.find("registry-1.docker.io", "b").user, "");
  EXPECT_EQ(credentials.find("s.test", "a").user, "file");      // neither knows it
  EXPECT_EQ(read_file(home.directory / "runs"), "run\nrun\n");  // once for each host
}

TEST(Credentials, HelpersThatFail) {
  Home home;
  home.put_helper("broken", "echo 'hunter2 is not \033[2J the word' >&2; exit 2");
  home.put_helper("garbage", "echo hunter2-secret");
  home.put_helper("flood", "exec cat /dev/zero");
  std::string words;
  EXPECT_EQ(http::code_of([&] { helper_get("broken", "r.test"); }, &words), ErrorCode::kPermission);
  EXPECT_NE(words.find("docker-credential-broken get failed (exit code 2)"), std::string::npos) << words;
  EXPECT_EQ(words.find('\033'), std::string::npos);
  EXPECT_EQ(http::code_of([&] { helper_get("garbage", "r.test"); }, &words), ErrorCode::kPermission);
  EXPECT_EQ(words.find("hunter2"), std::string::npos);
  EXPECT_NE(http::code_of([&] { helper_get("flood", "r.test"); }, &words), ErrorCode::kInternal);
  EXPECT_EQ(http::code_of([&] { helper_get("nowhere", "r.test"); }, &words), ErrorCode::kNotFound);
  EXPECT_NE(words.find("docker-credential-nowhere: no such program"), std::string::npos) << words;
  for (const char* name : {"", "../evil", "a b", "a;b"})
    EXPECT_EQ(http::code_of([&] { helper_get(name, "r.test"); }), ErrorCode::kInvalid) << name;

  // Named for this host, it has to work; for all, what needs no credentials goes on, and the error to come
  // tells.
  const Credentials strict =
      Credentials::from_files({parse_credential_file(R"({"credHelpers":{"r.test":"broken"}})", "f")});
  EXPECT_EQ(http::code_of([&] { strict.find("r.test", "a"); }), ErrorCode::kPermission);
  const Credentials lax =
      Credentials::from_files({parse_credential_file(R"({"credsStore":"nowhere"})", "f")});
  EXPECT_TRUE(lax.find("r.test", "a").is_anonymous());
  EXPECT_NE(join(lax.search_notes("r.test"), "\n").find("docker-credential-nowhere: no such program"),
            std::string::npos);
}

TEST(Credentials, KeysAsTheyAreWritten) {
  EXPECT_EQ(credential_key("https://index.docker.io/v1/"), "docker.io");
  EXPECT_EQ(credential_key("index.docker.io/v1"), "docker.io");
  EXPECT_EQ(credential_key("Registry-1.docker.io"), "docker.io");
  EXPECT_EQ(credential_key("r.test:5000/"), "r.test:5000");
  EXPECT_EQ(credential_key("R.test/Ns"), "r.test/Ns");
  EXPECT_EQ(credential_key("http://r.test/some/where"), "r.test");
  EXPECT_EQ(stored_key("docker.io"), "https://index.docker.io/v1/");
  EXPECT_EQ(stored_key("r.test"), "r.test");
}

}  // namespace
}  // namespace corten::registry
