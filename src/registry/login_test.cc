#include "registry/login.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "http/server_test.h"

namespace corten::registry {
namespace {

using http::answer;
using http::Server;

mode_t mode_of(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(stat(path.c_str(), &st), 0) << path;
  return st.st_mode & 07777;
}

const Credential kAnn{.user = "ann", .password = "hunter2-secret"};

TEST(Login, ARegistryWithBasic) {
  Server server([&](const std::string& request) {
    EXPECT_TRUE(request.starts_with("GET /v2/ "));
    return request.find("Authorization: Basic " + base64_encode("ann:hunter2-secret")) != std::string::npos
               ? answer("200 OK", "{}")
               : answer("401 Unauthorized", R"({"errors":[{"code":"UNAUTHORIZED","message":"no"}]})",
                        "WWW-Authenticate: Basic realm=\"r\"\r\n");
  });
  const std::string host = fmt::format("127.0.0.1:{}", server.port());
  EXPECT_EQ(check_login(Hosts(), http::quick(), host, kAnn).password, "hunter2-secret");
  std::string words;
  Credential wrong = kAnn;
  wrong.password = "letmein";
  EXPECT_EQ(http::code_of([&] { check_login(Hosts(), http::quick(), host, wrong); }, &words),
            ErrorCode::kPermission);
  EXPECT_NE(words.find("refused (401): UNAUTHORIZED: no (as user \"ann\""), std::string::npos) << words;
  EXPECT_EQ(words.find("letmein"), std::string::npos);
}

TEST(Login, AnIdentityTokenIsKeptInPlaceOfThePassword) {
  std::string asked;
  Server server([&](const std::string& request) {
    if (request.starts_with("GET /token")) {
      asked = request;
      return answer("200 OK", R"({"access_token":"t","refresh_token":"refresh-secret"})");
    }
    return request.find("Authorization: Bearer t\r\n") != std::string::npos
               ? answer("200 OK", "{}")
               : answer("401 Unauthorized", "",
                        fmt::format("WWW-Authenticate: Bearer realm=\"{}\",service=\"s\"\r\n",
                                    "http://127.0.0.1:" + request.substr(request.find("127.0.0.1:") + 10, 5) +
                                        "/token"));
  });
  const Credential kept =
      check_login(Hosts(), http::quick(), fmt::format("127.0.0.1:{}", server.port()), kAnn);
  EXPECT_EQ(kept.identity_token, "refresh-secret");
  EXPECT_EQ(kept.password, "");
  EXPECT_TRUE(
      asked.starts_with("GET /token?service=s&account=ann&offline_token=true&client_id=corten HTTP/1.1"))
      << asked;
}

TEST(Login, WhatIsNoRegistry) {
  Server server([](const std::string&) { return answer("404 Not Found", "<html>"); });
  std::string words;
  EXPECT_EQ(
      http::code_of(
          [&] { check_login(Hosts(), http::quick(), fmt::format("127.0.0.1:{}", server.port()), kAnn); },
          &words),
      ErrorCode::kNotFound);
  EXPECT_NE(words.find("this is no registry"), std::string::npos);
}

TEST(Login, TheFileIsClosedAndAllElseStays) {
  TempDir home = TempDir::for_test();
  const std::string file = home / "new/config.json";
  EXPECT_EQ(save_login("docker.io", kAnn, file).place, file);
  EXPECT_EQ(mode_of(file), 0600u);
  EXPECT_EQ(mode_of(home / "new"), 0700u);
  EXPECT_EQ(Json::parse(read_file(file)).dump(), R"({"auths":{"https://index.docker.io/v1/":{"auth":")" +
                                                     base64_encode("ann:hunter2-secret") + "\"}}}");

  write_file_atomic(
      file,
      R"({"zeta":1,"auths":{"b.test":{"auth":"eDp5"},"https://a.test/v1/":{"auth":"eDp5"}},"alpha":{"z":1,"a":2}})",
      0644);
  Credential token = kAnn;
  token.password.clear();
  token.identity_token = "refresh";
  save_login("a.test", token, file);
  EXPECT_EQ(mode_of(file), 0600u);
  EXPECT_EQ(Json::parse(read_file(file)).dump(),
            R"({"zeta":1,"auths":{"b.test":{"auth":"eDp5"},"a.test":{"auth":")" + base64_encode("ann:") +
                R"(","identitytoken":"refresh"}},"alpha":{"z":1,"a":2}})");
  EXPECT_TRUE(remove_login("a.test", file));
  EXPECT_FALSE(remove_login("a.test", file));
  EXPECT_FALSE(remove_login("a.test", home / "none/config.json"));
  EXPECT_FALSE(path_exists(home / "none"));
  EXPECT_EQ(Json::parse(read_file(file)).dump(),
            R"({"zeta":1,"auths":{"b.test":{"auth":"eDp5"}},"alpha":{"z":1,"a":2}})");
}

TEST(Login, AMalformedFileIsLeftAsItIs) {
  TempDir home = TempDir::for_test();
  const std::string file = home / "config.json";
  write_file_atomic(file, "{ oops");
  EXPECT_EQ(http::code_of([&] { save_login("a.test", kAnn, file); }), ErrorCode::kInvalid);
  EXPECT_EQ(http::code_of([&] { remove_login("a.test", file); }), ErrorCode::kInvalid);
  EXPECT_EQ(read_file(file), "{ oops");
}

TEST(Login, ALinkIsFollowed) {
  TempDir home = TempDir::for_test();
  write_file_atomic(home / "real.json", "{}");
  ASSERT_EQ(symlink("real.json", (home / "config.json").c_str()), 0);
  save_login("a.test", kAnn, home / "config.json");
  struct stat st {};
  ASSERT_EQ(lstat((home / "config.json").c_str(), &st), 0);
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  EXPECT_NE(read_file(home / "real.json").find("a.test"), std::string::npos);
}

TEST(Login, ManyAtOnceLoseNothing) {
  TempDir home = TempDir::for_test();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++)
    threads.emplace_back([&, i] { save_login(fmt::format("r{}.test", i), kAnn, home / "config.json"); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Json::parse(read_file(home / "config.json")).find("auths")->as_object().size(), 8u);
}

}  // namespace
}  // namespace corten::registry
