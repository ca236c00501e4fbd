#include "oci/reference.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::oci {
namespace {

const std::string kHex(64, 'a');

TEST(Reference, NormalisesAsDocker) {
  struct Case {
    std::string text, full, familiar;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"ubuntu", "docker.io/library/ubuntu", "ubuntu"},
           {"ubuntu:22.04", "docker.io/library/ubuntu:22.04", "ubuntu:22.04"},
           {"team/app", "docker.io/team/app", "team/app"},
           {"library/ubuntu", "docker.io/library/ubuntu", "ubuntu"},
           {"library/team/app", "docker.io/library/team/app", "library/team/app"},
           {"docker.io/ubuntu", "docker.io/library/ubuntu", "ubuntu"},
           {"index.docker.io/team/app:x", "docker.io/team/app:x", "team/app:x"},
           {"localhost/app", "localhost/app", "localhost/app"},
           {"localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"},
           {"[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app"},
           {"ghcr.io/a/b/c:v1.2-x_y", "ghcr.io/a/b/c:v1.2-x_y", "ghcr.io/a/b/c:v1.2-x_y"},
           {"docker.io/r.io/app", "docker.io/r.io/app", "docker.io/r.io/app"},
           {"Registry/app", "Registry/app", "Registry/app"},
           {"a--b/c__d/e.f", "docker.io/a--b/c__d/e.f", "a--b/c__d/e.f"},
           {"app:1@sha256:" + kHex, "docker.io/library/app:1@sha256:" + kHex, "app:1@sha256:" + kHex},
           {"r.io/app@sha256:" + kHex, "r.io/app@sha256:" + kHex, "r.io/app@sha256:" + kHex}}) {
    Reference reference = Reference::parse(c.text);
    EXPECT_EQ(reference.to_string(), c.full);
    EXPECT_EQ(reference.familiar(), c.familiar);
    EXPECT_EQ(Reference::parse(reference.to_string()), reference);
    EXPECT_EQ(Reference::parse(reference.familiar()), reference);
  }
}

TEST(Reference, RefusesWithDockersWords) {
  auto problem = [](std::string_view text) -> std::string {
    try {
      return "accepted as " + Reference::parse(text).to_string();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalid);
      return error.message();
    }
  };
  EXPECT_EQ(problem("Ubuntu"), "invalid reference format: repository name (Ubuntu) must be lowercase");
  EXPECT_EQ(problem("r.io/Foo/bar:X"),
            "invalid reference format: repository name (Foo/bar) must be lowercase");
  EXPECT_EQ(problem(kHex),
            "invalid repository name (" + kHex + "), cannot specify 64-byte hexadecimal strings");
  EXPECT_EQ(problem("a@sha512:" + kHex + kHex), "invalid reference format: unsupported digest algorithm");
  EXPECT_EQ(problem("a@sha256:abc"), "invalid reference format: invalid checksum digest length");
  EXPECT_EQ(problem("a/" + std::string(255, 'x')),
            "invalid reference format: repository name must not be more than 255 characters");
  for (std::string text :
       {"",         "/",       "a/",      "/a",     "a//b", "-a",   "a-",       "a..b",
        "a___b",    "a:",      "a:-b",    "a:b:c",  "a@",   "a b",  "a:b/c",    "r.io/",
        "r.io:x/a", "r.io:/a", ".r.io/a", "[::1/a", "[]/a", "a\nb", "a@sha256", "https://r.io/a"})
    EXPECT_EQ(problem(text), "invalid reference format") << text;
  EXPECT_EQ(problem("a:" + std::string(129, 't')), "invalid reference format");
  EXPECT_FALSE(Reference::try_parse("A"));
}

TEST(Reference, Variations) {
  Reference app = Reference::parse("app");
  EXPECT_EQ(app.manifest_part(), "latest");
  EXPECT_EQ(app.with_default_tag().to_string(), "docker.io/library/app:latest");
  Digest digest = Digest::of("x");
  Reference pinned = app.with_tag("1").with_digest(digest);
  EXPECT_EQ(pinned.manifest_part(), digest.to_string());
  EXPECT_EQ(pinned.with_default_tag(), pinned);
  EXPECT_EQ(pinned.without_digest().to_string(), "docker.io/library/app:1");
  EXPECT_EQ(pinned.repository_only(), app);
  EXPECT_EQ(app.with_digest(digest).with_default_tag().tag(), "");
  EXPECT_THROW(app.with_tag("a b"), Error);
  EXPECT_EQ(app.api_host(), "registry-1.docker.io");
  EXPECT_EQ(Reference::parse("r.io:443/a").api_host(), "r.io:443");
}

}  // namespace
}  // namespace corten::oci
