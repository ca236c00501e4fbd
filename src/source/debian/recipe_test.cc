#include "source/debian/recipe.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"
#include "source/debian/control.h"

namespace corten::source::debian {
namespace {

std::string problem(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    std::string words = error.what();
    if (error.span()) words = fmt::format("{}:{}: {}", error.span()->line, error.span()->column, words);
    return words;
  }
  return "";
}

TEST(Control, ParagraphsAndContinuations) {
  std::vector<std::string> seen;
  parse_paragraphs("# comment\nPackage: a\nDescription: one\n two\n .\n three\n\n\n \nPACKAGE:b\r\nEmpty:\n",
                   "x", [&](const Paragraph& p) {
                     seen.push_back(std::string(p.get("package")) + "|" + std::string(p.get("Description")) +
                                    "|" + std::string(p.get("empty")));
                   });
  EXPECT_EQ(seen, (std::vector<std::string>{"a|one\n two\n .\n three|", "b||"}));
}

TEST(Control, WhatIsNone) {
  auto parse = [](std::string_view text) {
    return problem([&] { parse_paragraphs(text, "x", [](const Paragraph&) {}); });
  };
  EXPECT_EQ(parse(" starts with a blank\n"), "x:1: a continuation line without a field");
  EXPECT_EQ(parse("A: b\n\n c\n"), "x:3: a continuation line without a field");
  EXPECT_EQ(parse("A: b\nno colon\n"), "x:2: expected a field, got \"no colon\"");
  EXPECT_NE(parse("two words: b\n"), "");
  EXPECT_NE(parse(": b\n"), "");
  std::string many;
  for (int i = 0; i < 10'001; i++) many += fmt::format("F{}: x\n", i);
  EXPECT_NE(parse(many), "");
}

TEST(Control, NamesThatBecomePaths) {
  EXPECT_TRUE(is_package_name("libstdc++6"));
  for (const char* name : {"", "a", "../etc", "A", "a/b", "a b", "-a"})
    EXPECT_FALSE(is_package_name(name)) << name;
  EXPECT_TRUE(is_package_version("1:2.3~rc1+b4-5.6"));
  for (const char* version : {"", "a1", "1 2", "1/2"}) EXPECT_FALSE(is_package_version(version)) << version;
  EXPECT_TRUE(is_archive_path("pool/main/g/g++/g++_1.0%3a_amd64.deb"));
  for (const char* path : {"", "/etc/passwd", "a/../b", "../a", "a//b", "a/./b", "a b", "a\nb"})
    EXPECT_FALSE(is_archive_path(path)) << path;
}

TEST(Recipe, AllKeys) {
  Recipe recipe = parse_recipe(R"(
name: builders/go:1
suite: bookworm
mirror: http://mirror.example/debian
architecture: arm64
variant: distroless
include: [libc6, ca-certificates=20230311]
env: {A: b, C: 3}
labels: [x=y]
entrypoint: [/app]
cmd: []
user: nonroot
workdir: /srv
size_budget: 25MB
)",
                               "r.yaml");
  EXPECT_EQ(recipe.name, "builders/go:1");
  EXPECT_EQ(recipe.mirrors, std::vector<std::string>{"http://mirror.example/debian"});
  EXPECT_EQ(recipe.architecture, "arm64");
  EXPECT_EQ(recipe.variant, Variant::kDistroless);
  EXPECT_EQ(recipe.include[1], "ca-certificates=20230311");
  EXPECT_EQ(recipe.env[1].second, "3");
  EXPECT_EQ(recipe.labels.at("x"), "y");
  EXPECT_TRUE(recipe.cmd && recipe.cmd->empty());
  EXPECT_EQ(recipe.size_budget, uint64_t{25} << 20);
}

TEST(Recipe, Errors) {
  auto parse = [](std::string_view text) { return problem([&] { parse_recipe(text, "r.yaml"); }); };
  EXPECT_EQ(parse("includes: [a]"), "1:11: unknown key \"includes\" (did you mean include?)");
  EXPECT_EQ(parse("suite: bookworm\nvariant: minbas"),
            "2:10: variant \"minbas\": there are minbase, distroless and busybox (did you mean minbase?)");
  EXPECT_EQ(parse("include: libc6"), "1:10: include: expected a list");
  EXPECT_NE(parse("include: ['../x']"), "");
  EXPECT_NE(parse("suite: ../../x"), "");
  EXPECT_NE(parse("mirror: ftp://x"), "");
  EXPECT_NE(parse("architecture: vax"), "");
  EXPECT_NE(parse("size_budget: big"), "");
  EXPECT_NE(parse("- a"), "");
  EXPECT_NE(parse("a: [unclosed"), "");
  EXPECT_NE(parse(""), "");
}

Lock small_lock() {
  Lock lock{.suite = "bookworm",
            .architecture = "amd64",
            .variant = Variant::kBusybox,
            .include = {"ca-certificates"},
            .releases = {},
            .packages = {}};
  lock.releases.push_back({"bookworm", "Sat, 11 Jul 2026 10:16:37 UTC", Digest::of("r")});
  lock.packages.push_back({"busybox-static", "1:1.35.0-4", "amd64", "bookworm",
                           "pool/main/b/busybox/busybox-static_1.35.0-4_amd64.deb", 928'200, Digest::of("b"),
                           true});
  lock.packages.push_back({"ca-certificates", "2025", "all", "bookworm-security", "pool/updates/c.deb", 7,
                           Digest::of("c"), false});
  return lock;
}

TEST(Lock, ReadsWhatItWrites) {
  Lock lock = small_lock();
  std::string text = emit_lock(lock);
  EXPECT_EQ(parse_lock(text, "x"), lock);
  EXPECT_EQ(text.find("http"), std::string::npos) << "a lock names no host";
}

TEST(Lock, HostileText) {
  std::string text = emit_lock(small_lock());
  auto parse = [](const std::string& changed) { return problem([&] { parse_lock(changed, "x"); }); };
  EXPECT_NE(parse(""), "");
  EXPECT_NE(parse("# corten base lock 2\n"), "");
  EXPECT_NE(parse(replace_all(text, "pool/updates/c.deb", "../../etc/passwd")), "");
  EXPECT_NE(parse(replace_all(text, "busybox-static ", "../busybox ")), "");
  EXPECT_NE(parse(replace_all(text, " 928200 ", " -1 ")), "");
  EXPECT_NE(parse(replace_all(text, " 928200 ", " 99999999999999 ")), "");
  EXPECT_NE(parse(replace_all(text, "sha256:", "md5:")), "");
  EXPECT_NE(parse(replace_all(text, "suite bookworm\n", "")), "");
  EXPECT_NE(parse(text + "package busybox-static\n"), "");
  EXPECT_NE(parse(text + text.substr(text.find("package busybox"))), "") << "a package that stands twice";
  EXPECT_EQ(parse(text + "fruit apple\n"), "x:9: unknown keyword \"fruit\"");
}

TEST(Lock, FitsItsRecipe) {
  Recipe recipe;
  recipe.architecture = "amd64";
  recipe.variant = Variant::kBusybox;
  recipe.include = {"ca-certificates", "ca-certificates"};
  EXPECT_EQ(problem([&] { check_lock_fits(recipe, small_lock()); }), "");
  recipe.include = {"tzdata"};
  EXPECT_EQ(problem([&] { check_lock_fits(recipe, small_lock()); }),
            "the lock was made for another recipe: include is \"tzdata\", the lock has \"ca-certificates\"");
}

}  // namespace
}  // namespace corten::source::debian
