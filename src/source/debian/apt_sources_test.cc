#include "source/debian/apt_sources.h"

#include <gtest/gtest.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace corten::source::debian {
namespace {

std::string shown(const std::vector<ArchiveSuite>& sources) {
  std::string text;
  for (const ArchiveSuite& s : sources)
    text += s.uri + " " + s.suite + (s.keyring.empty() ? "" : " " + s.keyring) +
            (s.is_optional ? " optional" : "") + "\n";
  return text;
}

TEST(AptSources, OneLineStyle) {
  EXPECT_EQ(
      shown(parse_sources_list("# deb http://x y main\n"
                               "deb http://a/debian/ bookworm main contrib # rest\n"
                               "deb-src http://a/debian bookworm main\n"
                               "deb [arch=amd64 signed-by=/k.gpg] https://b/debian bookworm-updates main\n"
                               "deb http://c/flat ./\n"
                               "deb http://d/debian bookworm contrib\n"
                               "deb cdrom:[x]/ bookworm main\n"
                               "deb http://e/debian ../../x main\n",
                               "f")),
      "http://a/debian bookworm\nhttps://b/debian bookworm-updates /k.gpg\n");
  EXPECT_THROW(parse_sources_list("deb [x http://a b main\n", "f"), Error);
  EXPECT_THROW(parse_sources_list("deb http://a\n", "f"), Error);
}

TEST(AptSources, Deb822Style) {
  EXPECT_EQ(
      shown(parse_deb822_sources(
          "Types: deb deb-src\nURIs: http://a/debian copy:/srv\nSuites: x x-updates\nComponents: "
          "main\nSigned-By: /k.gpg\n\n"
          "Types: deb\nEnabled: no\nURIs: http://b\nSuites: x\nComponents: main\n\n"
          "Types: deb-src\nURIs: http://c\nSuites: x\nComponents: main\n\n"
          "Types: deb\nURIs: http://d\nSuites: x\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY "
          "BLOCK-----\n .\n AAAA\n -----END PGP PUBLIC KEY BLOCK-----\n",
          "f")),
      "http://a/debian x /k.gpg\nhttp://a/debian x-updates /k.gpg\ncopy:/srv x /k.gpg\ncopy:/srv x-updates "
      "/k.gpg\n"
      "http://d x -----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n\n");
}

TEST(AptSources, AllFilesOfTheMachine) {
  TempDir etc = TempDir::for_test();
  EXPECT_TRUE(read_apt_sources({etc.path()}).empty());
  make_directories_on_host(etc / "sources.list.d");
  write_file_atomic(etc / "sources.list", "deb http://one x main\n");
  write_file_atomic(etc / "sources.list.d/b.list", "deb http://three x main\n");
  write_file_atomic(etc / "sources.list.d/a.list", "deb http://two x main\n");
  write_file_atomic(etc / "sources.list.d/c.sources",
                    "Types: deb\nURIs: http://four\nSuites: x\nComponents: main\n");
  write_file_atomic(etc / "sources.list.d/d.list.save", "deb http://old x main\n");
  EXPECT_EQ(shown(read_apt_sources({etc.path()})),
            "http://one x\nhttp://two x\nhttp://three x\nhttp://four x\n");
}

TEST(AptSources, ChosenBySuite) {
  std::vector<ArchiveSuite> apt = {{"http://a/debian", "x", "k", false},
                                   {"http://a/debian", "x", "k", false},
                                   {"http://a/debian", "x-updates", "k", false},
                                   {"http://s/debian", "x-security", "k", false}};
  EXPECT_EQ(shown(choose_sources(apt, "x", {})),
            "http://a/debian x k\nhttp://a/debian x-updates k\nhttp://s/debian x-security k\n");
  EXPECT_EQ(shown(choose_sources(apt, "y", {})),
            "http://a/debian y k optional\nhttp://a/debian y-updates k optional\nhttp://s/debian y-security "
            "k optional\n");
  EXPECT_EQ(shown(choose_sources(apt, "sid", {})), "http://a/debian sid k optional\n");
  EXPECT_EQ(shown(choose_sources(apt, "x", {"http://m/"})),
            "http://m x\nhttp://m x-updates optional\nhttp://m x-security optional\n");
  EXPECT_TRUE(choose_sources({}, "x", {}).empty());
}

}  // namespace
}  // namespace corten::source::debian
