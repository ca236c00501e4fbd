#include "http/url.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::http {
namespace {

std::string code_of(std::string_view text) {
  try {
    parse_url(text);
  } catch (const Error& error) {
    return error.code() == ErrorCode::kInvalid ? "invalid" : "other";
  }
  return "";
}

TEST(Url, PartsOfAnAddress) {
  Url url = parse_url("HTTPS://us%65r:pa%20ss@Example.ORG:8443/a/b?c=d#e");
  EXPECT_EQ(url.scheme, "https");
  EXPECT_EQ(url.user_info, "user:pa ss");
  EXPECT_EQ(url.host, "example.org");
  EXPECT_EQ(url.port, 8443);
  EXPECT_EQ(url.target, "/a/b?c=d");
  EXPECT_EQ(url.shown(), "https://example.org:8443/a/b?c=d");
  EXPECT_EQ(parse_url("http://h").target, "/");
  EXPECT_EQ(parse_url("http://h?x").target, "/?x");
  EXPECT_EQ(parse_url("http://[::1]:80/").authority(), "[::1]");
}

TEST(Url, FilesAsAptWritesThem) {
  EXPECT_EQ(parse_url("file:///srv/a%20b").target, "/srv/a b");
  EXPECT_EQ(parse_url("copy:/srv/x").target, "/srv/x");
  EXPECT_EQ(parse_url("file://localhost/srv/x").target, "/srv/x");
  EXPECT_EQ(code_of("file:srv"), "invalid");
}

TEST(Url, WhatIsNone) {
  for (const char* text :
       {"", "http", "ftp://h/", "http:/h", "http://", "http://h:0/", "http://h:70000/", "http://h:x/",
        "http://[::1/", "http://h/a b", "http://h/\r\nHost: other", "http://u@/"})
    EXPECT_EQ(code_of(text), "invalid") << text;
}

TEST(Url, ErrorsShowNoPassword) {
  try {
    parse_url("http://u:hidden@[::1/");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("hidden"), std::string::npos);
  }
}

TEST(Url, Redirects) {
  Url from = parse_url("https://u:p@h:99/a/b?q");
  EXPECT_EQ(resolve_url(from, "/x").shown(), "https://h:99/x");
  EXPECT_EQ(resolve_url(from, "x").shown(), "https://h:99/a/x");
  EXPECT_EQ(resolve_url(from, "//other/x").shown(), "https://other/x");
  EXPECT_EQ(resolve_url(from, "http://other/x").shown(), "http://other/x");
  EXPECT_EQ(resolve_url(from, "?z").shown(), "https://h:99/a/b?z");
  EXPECT_EQ(resolve_url(from, "/x").user_info, "");
}

TEST(Url, CredentialsAreHidden) {
  EXPECT_EQ(without_credentials("ADD https://u:p@e.com/x http://e.com/a@b /"),
            "ADD https://e.com/x http://e.com/a@b /");
  EXPECT_EQ(without_credentials("https://u@e.com"), "https://e.com");
  EXPECT_EQ(without_credentials("git@e.com:x and a@b://c"), "git@e.com:x and a@b://c");
}

}  // namespace
}  // namespace corten::http
