// `corten base` from end to end, without the command line: the small archive beside this file, with the
// helper program that chooses packages.
#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "build/debian_base.h"
#include "source/debian/resolve.h"

namespace corten::build {
namespace {

using source::debian::Lock;
using source::debian::Recipe;
using source::debian::Variant;

class DebianBaseTest : public testing::Test {
 protected:
  DebianBaseTest() {
    char directory[4096];
    archive_ = std::string(getcwd(directory, sizeof directory)) + "/tests/debian";
    make_directories_on_host(place_ / "apt/sources.list.d");
    write_file_atomic(place_ / "apt/sources.list.d/test.sources",
                      fmt::format("Types: deb\nURIs: copy:{0}/archive\nSuites: test\nComponents: "
                                  "main\nSigned-By: {0}/keyring.asc\n",
                                  archive_));
    recipe_.suite = "test";
    recipe_.architecture = "amd64";
    recipe_.variant = Variant::kDistroless;
  }

  source::debian::ResolveOptions options(store::Store& store) {
    return {.http = http_,
            .store = store,
            .progress = [this](std::string_view line) { notes_ += std::string(line) + "\n"; },
            .etc_apt = {place_ / "apt"}};
  }
  std::string chosen(const Lock& lock) {
    std::string text;
    for (const auto& p : lock.packages) text += p.name + "=" + p.version + " ";
    return text;
  }
  std::string chosen() { return chosen(source::debian::resolve(recipe_, options(store_))); }
  std::string problem() {
    try {
      chosen();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  DebianBase make(const Lock& lock, store::Store& store) {
    source::debian::fetch_packages(recipe_, lock, options(store));
    RunningProcesses running;
    Request request;
    Executor executor{store, request, {}, clock_, {}, running};
    return make_debian_base(recipe_, lock, executor, {.note = [](std::string_view) {}, .output = {}});
  }
  std::string content(store::Store& store, const DebianBase& base, std::string_view path) {
    auto manifest = store.layers().load(base.layers.at(0).id);
    const store::Entry* e = manifest->find(RootfsPath(path));
    return e && e->type == store::EntryType::kFile ? store.contents().read(e->content, 1 << 20) : "";
  }

  TempDir place_ = TempDir::for_test();
  std::string archive_, notes_;
  store::Store store_{place_ / "store"};
  http::Client http_;
  FakeClock clock_{1'800'000'000'000'000'000};
  Recipe recipe_;
};

TEST_F(DebianBaseTest, DependenciesAreFollowedAsAptFollowsThem) {
  recipe_.include = {"server"};
  // The newest version by Debian's order, the first alternative, the package of the very name rather than one
  // that provides it, no recommended ones, and nothing that only maintainer scripts need.
  EXPECT_EQ(chosen(), "base-files=1 ca-certificates=2 libreal0=1 netbase=1 server=1 tool=1.10 tzdata=1 ");
}

TEST_F(DebianBaseTest, AVersionCanBePinned) {
  recipe_.include = {"tool=1.9"};
  EXPECT_EQ(chosen(), "base-files=1 ca-certificates=2 netbase=1 tool=1.9 tzdata=1 ");
}

TEST_F(DebianBaseTest, WhatCannotBeIsExplained) {
  recipe_.include = {"broken"};
  EXPECT_NE(problem().find("nowhere-to-be-found"), std::string::npos) << problem();
  recipe_.include = {"serverr"};
  EXPECT_EQ(problem(), "package serverr: not in test (did you mean server?)");
  recipe_.include = {};
  recipe_.suite = "elsewhere";
  EXPECT_NE(problem().find("suite elsewhere: found in none"), std::string::npos) << problem();
}

TEST_F(DebianBaseTest, DistrolessIsOnlyExtracted) {
  Lock lock = source::debian::resolve(recipe_, options(store_));
  DebianBase base = make(lock, store_);
  EXPECT_EQ(content(store_, base, "etc/ssl/certs/ca-certificates.crt"), "first\nsecond\n");
  EXPECT_EQ(content(store_, base, "etc/os-release"), "PRETTY_NAME=test\n");
  EXPECT_EQ(content(store_, base, "usr/lib/libold.so"), "library\n");
  EXPECT_TRUE(content(store_, base, "var/lib/dpkg/status.d/tzdata").starts_with("Package: tzdata\n"));
  EXPECT_NE(content(store_, base, "var/lib/dpkg/status.d/tzdata.md5sums") + "x", "");
  EXPECT_NE(content(store_, base, "usr/share/doc/tzdata/copyright"), "");
  EXPECT_EQ(content(store_, base, "usr/share/doc/tzdata/changelog"), "");
  EXPECT_NE(content(store_, base, "etc/passwd").find("nonroot:x:65532:65532:"), std::string::npos);
  EXPECT_EQ(store_.layers().load(base.layers[0].id)->find(RootfsPath("tmp"))->mode, 01777u);
  EXPECT_EQ(base.created, "2023-11-14T22:13:20Z") << "the newest entry of any package";
  EXPECT_TRUE(base.config.config.cmd.empty());
}

TEST_F(DebianBaseTest, BusyboxHasItsAppletsAndAlpinesScripts) {
  recipe_.variant = Variant::kBusybox;
  DebianBase base = make(source::debian::resolve(recipe_, options(store_)), store_);
  auto manifest = store_.layers().load(base.layers[0].id);
  for (const char* path : {"usr/bin/sh", "usr/bin/env", "usr/bin/[["}) {
    ASSERT_TRUE(manifest->find(RootfsPath(path))) << path;
    EXPECT_EQ(manifest->find(RootfsPath(path))->link, "busybox");
  }
  EXPECT_EQ(manifest->find(RootfsPath("usr/sbin/adduser"))->mode, 0755u);
  EXPECT_EQ(base.config.config.cmd, std::vector<std::string>{"/bin/sh"});
}

TEST_F(DebianBaseTest, ALockBuildsTheSameElsewhereAndWithoutAnArchive) {
  Lock lock = source::debian::resolve(recipe_, options(store_));
  DebianBase first = make(source::debian::parse_lock(source::debian::emit_lock(lock), "x"), store_);
  store::Store other(place_ / "other");
  EXPECT_EQ(make(lock, other).layers, first.layers);
  clock_.advance_ns(int64_t{86'400} * 400 * 1'000'000'000);
  write_file_atomic(place_ / "apt/sources.list.d/test.sources",
                    "Types: deb\nURIs: copy:/nonexistent\nSuites: test\nComponents: main\n");
  DebianBase again = make(lock, store_);
  EXPECT_EQ(again.layers, first.layers);
  EXPECT_EQ(again.created, first.created);
}

TEST_F(DebianBaseTest, ChangedPackagesAreRefused) {
  Lock lock = source::debian::resolve(recipe_, options(store_));
  lock.packages[0].digest = Digest::of("another");
  try {
    make(lock, store_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
  }
  EXPECT_FALSE(store_.contents().has(lock.packages[0].digest));
}

TEST_F(DebianBaseTest, TheBudgetNamesTheLargest) {
  recipe_.size_budget = 100;
  try {
    make(source::debian::resolve(recipe_, options(store_)), store_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("largest packages: "), std::string::npos);
  }
}

}  // namespace
}  // namespace corten::build
