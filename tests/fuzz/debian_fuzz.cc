// What a Debian archive and the machine's apt say, recipes and locks, and packages.
#include <algorithm>

#include "base/strings.h"
#include "base/temp_dir.h"
#include "fuzz/fuzz.h"
#include "fuzz/tar_of.h"
#include "source/debian/apt_sources.h"
#include "source/debian/archive_index.h"
#include "source/debian/control.h"
#include "source/debian/extracted_rootfs.h"
#include "source/debian/package.h"
#include "source/debian/package_test.h"
#include "source/debian/recipe.h"

namespace corten::fuzz {

using namespace corten::source::debian;

namespace {
const std::string kDigest = std::string(64, 'a');
}

// Paragraphs as Packages has them: values are parts of the text, without blanks at their ends.
FUZZ_TARGET(debian_control,
            "Package: libc6\nVersion: 2.36-9+deb12u10\nEssential: yes\nDescription: a\n b\n .\n c\n\n"
            "package: x\n# comment\nDepends: a (>= 1) | b\n",
            " continued\n", "Field\n", "A:\r\nB: \n\t\n", "a: 1\n \n b\n",
            "-----BEGIN PGP SIGNED MESSAGE-----\n") {
  tolerate({ErrorCode::kInvalid}, [&] {
    parse_paragraphs(input, "Packages", [&](const Paragraph& paragraph) {
      REQUIRE(!paragraph.fields().empty());
      for (const auto& [name, value] : paragraph.fields()) {
        REQUIRE(!name.empty() && name.find_first_of(" \t\n:") == name.npos);
        REQUIRE(name.data() >= input.data() && name.data() + name.size() <= input.data() + input.size());
        REQUIRE(value.empty() ||
                (value.data() >= input.data() && value.data() + value.size() <= input.data() + input.size()));
        REQUIRE(trim(value) == value);
        REQUIRE(paragraph.get(to_upper(std::string(name))) == paragraph.get(name));
      }
      tolerate({ErrorCode::kInvalid}, [&] { REQUIRE(!paragraph.require("Package").empty()); });
    });
  });
}

// Every file that a release vouches for lies below the archive.
FUZZ_TARGET(debian_release,
            "Origin: Debian\nSuite: stable\nCodename: bookworm\nDate: Sat, 21 Nov 2026 02:11:10 UTC\n"
            "Acquire-By-Hash: yes\nSHA256:\n " +
                kDigest + " 12 main/binary-amd64/Packages.xz\n " + kDigest + "  0 ../x\n",
            "SHA256: " + kDigest + " -1 a\n", "Date: \x1b[2J\nSHA256:\n " + kDigest + " 1 a\n") {
  tolerate({ErrorCode::kInvalid}, [&] {
    ReleaseFile release = parse_release(input, "Release");
    REQUIRE(!release.files.empty() && is_terminal_text(release.date));
    for (const auto& [path, item] : release.files) {
      REQUIRE(is_archive_path(path) && !path.starts_with('/') &&
              ("/" + path + "/").find("/../") == path.npos);
      REQUIRE(item.size <= INT64_MAX);
    }
  });
}

// The machine's sources in both styles: only what can be fetched, of suites that are names.
FUZZ_TARGET(
    debian_sources, "deb [signed-by=/k.gpg arch=amd64] http://mirror/debian/ bookworm main contrib # x\n",
    "deb-src http://x y main\ndeb [ http://x y main\n", "deb cdrom:[x]/ a main\ndeb http://h ./\n",
    "Types: deb deb-src\nURIs: http://a/ https://b\nSuites: x x-updates ./\nComponents: main\nSigned-By:\n "
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n AAAA\n -----END PGP PUBLIC KEY BLOCK-----\n",
    "Types: deb\nURIs: copy:/x\nSuites: s\nComponents: main\nEnabled: no\n") {
  for (auto parse : {parse_sources_list, parse_deb822_sources})
    tolerate({ErrorCode::kInvalid}, [&] {
      std::vector<ArchiveSuite> all = parse(input, "sources.list");
      for (const ArchiveSuite& source : all) {
        REQUIRE(is_suite(source.suite) && !source.uri.ends_with('/'));
        REQUIRE(source.uri.find_first_of(" \t\n") == source.uri.npos);
        REQUIRE(source.keyring.empty() || source.keyring[0] == '/' ||
                source.keyring.find("-----BEGIN PGP") != source.keyring.npos);
      }
      for (const ArchiveSuite& chosen : choose_sources(all, "bookworm", {}))
        REQUIRE(chosen.suite.starts_with("bookworm"));
    });
}

// A recipe fits the lock that is made for it; a lock is written as it was read.
FUZZ_TARGET(
    debian_recipe, "variant: minbase\ninclude: [curl, ca-certificates=2]\nenv: {A: b}\nsize_budget: 80MB\n",
    "name: x\nsuite: trixie\nmirror: http://m/debian\narchitecture: arm64\nvariant: distroless\ncmd: [a]\n"
    "entrypoint: [/a]\nuser: nobody\nworkdir: /w\nlabels: {a: b}\n",
    "- a\n", "&a [*a]\n", "include: &x [*x, *x]\n", "variant: minbas\n", "suite: '../x'\n") {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    Recipe recipe = parse_recipe(input, "recipe.yaml");
    REQUIRE(is_suite(recipe.suite));
    Lock lock;
    lock.suite = recipe.suite;
    lock.architecture = recipe.architecture;
    lock.variant = recipe.variant;
    lock.include = recipe.include;
    std::sort(lock.include.begin(), lock.include.end());
    lock.include.erase(std::unique(lock.include.begin(), lock.include.end()), lock.include.end());
    Lock again = parse_lock(emit_lock(lock), "lock");
    REQUIRE(again == lock);
    check_lock_fits(recipe, again);
  });
}

FUZZ_TARGET(debian_lock,
            "# corten base lock 1\nsuite bookworm\narchitecture amd64\nvariant minbase\ninclude curl\n"
            "release bookworm sha256:" +
                kDigest + " Sat, 01 Jan 2000 00:00:00 UTC\npackage bash 5.2 amd64 12 sha256:" + kDigest +
                " bookworm pool/main/b/bash.deb essential\npackage zlib1g 1:1.2 amd64 9 sha256:" + kDigest +
                " bookworm pool/z.deb\n",
            "# corten base lock 1\nsuite x\narchitecture amd64\nvariant busybox\npackage a 1 all 0 sha256:00 "
            "x ../y\n") {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    Lock lock = parse_lock(input, "lock");
    REQUIRE(parse_lock(emit_lock(lock), "lock") == lock);
    for (const LockedPackage& package : lock.packages)
      REQUIRE(is_archive_path(package.path) && is_package_name(package.name) && package.size > 0);
  });
}

namespace {

constexpr std::string_view kNames[] = {
    "./usr/", "./usr/bin/", "./usr/bin/a", "./bin", "./bin/sh",   "./a",     "./a/b", "/abs",
    "./../x", "./.wh.a",    "./usr/lib/",  "./lib", "./lib/x.so", "./etc/c", "./",    "./a"};
constexpr std::string_view kLinks[] = {"./a",         "usr/bin", "../../x", "/usr/bin",
                                       "./usr/bin/a", "lib",     ".",       "./a/b"};

std::string control_tar() {
  archive::StringSink sink;
  archive::TarWriter writer(sink);
  constexpr std::string_view kControl = "Package: x\nVersion: 1\n";
  writer.add({.path = "./control", .mode = 0644, .size = kControl.size()}, kControl);
  writer.finish();
  return sink.take();
}

}  // namespace

// A package's files, with their places in a root: they stay in it, each in a directory.
FUZZ_TARGET(debian_package, std::string("\x50\0\x51\0\x02\3\x23\x20", 8),
            std::string("\x24\x60\x02\1\x12\x80", 6), std::string("\x05\1\x16\0\x26\x40", 6),
            std::string("\x08\1", 2), std::string("\x09\1", 2), std::string("\x05\1\x15\0\x50\0\x5f\0", 8)) {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  static store::Store store(place / "store");
  tolerate({ErrorCode::kInvalid, ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    std::string bytes = ar({{"debian-binary", "2.0\n"},
                            {"control.tar", control_tar()},
                            {"data.tar", tar_of(input.substr(0, 400), kNames, kLinks)}});
    archive::StringSource from(bytes);
    Package package = read_package(from, "x", store.contents());
    REQUIRE(package.control.starts_with("Package: x"));
    REQUIRE(store::Manifest::parse(package.files.serialize()).id() == package.files.id());
    store::EmptyTree nothing;
    store::LayerBuilder builder(nothing);
    make_merged_usr("amd64", builder);
    place_package(package, builder);
    place_package(package, builder);
    store::Manifest placed = builder.finish();
    for (const store::Entry& e : placed.entries()) {
      if (e.path.is_root()) continue;
      const store::Entry* parent = e.path.parent().is_root() ? nullptr : placed.find(e.path.parent());
      REQUIRE(e.path.parent().is_root() || (parent && parent->is_directory()));
      REQUIRE(!e.path.filename().starts_with(".wh."));
      if (!e.is_hard_link()) continue;
      const store::Entry* first = placed.find(e.hard_link);
      REQUIRE(first && first->type == store::EntryType::kFile && !first->is_hard_link());
    }
  });
}

FUZZ_TARGET(busybox_applets, std::string("[\0[[\0ash\0cat\0sh\0\0", 17), std::string("\0\0\0", 3)) {
  tolerate({ErrorCode::kCorrupt}, [&] {
    for (const std::string& name : busybox_applets(input))
      REQUIRE(!name.empty() && name.find('/') == name.npos && name != "." && name != "..");
  });
}

}  // namespace corten::fuzz
