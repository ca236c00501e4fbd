// Layers as they come (tars with whiteouts and links) and as the store keeps them.
#include <sys/stat.h>

#include <set>

#include "archive/tar.h"
#include "base/beneath.h"
#include "base/recorded_owner.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "fuzz/fuzz.h"
#include "fuzz/tar_of.h"
#include "store/accounts.h"
#include "store/borrowed.h"
#include "store/delta.h"
#include "store/layer_tar.h"
#include "store/shelves.h"

namespace corten::fuzz {

using namespace corten::store;

namespace {

Entry entry(std::string_view path, EntryType type) {
  Entry e;
  e.path = RootfsPath(path);
  e.type = type;
  e.mode = type == EntryType::kSymlink ? 0 : 0755;
  if (type == EntryType::kSymlink) e.link = "/a/../../b";
  return e;
}

std::string manifest_bytes() {
  std::vector<Entry> entries = {entry("a", EntryType::kDirectory), entry("a/f", EntryType::kFile),
                                entry("a/g", EntryType::kFile),    entry("l", EntryType::kSymlink),
                                entry("w", EntryType::kWhiteout),  entry("dev", EntryType::kCharDevice)};
  entries[0].opaque = true;
  entries[2].hard_link = RootfsPath("a/f");
  entries[1].xattrs["security.capability"] = "x";
  entries[5].time_ns = -1;
  return Manifest(std::move(entries)).serialize();
}

}  // namespace

// What is read is what would be written, and nothing else is read; no path leads out.
FUZZ_TARGET(layer_manifest, manifest_bytes(), Manifest().serialize()) {
  tolerate({ErrorCode::kCorrupt}, [&] {
    Manifest manifest = Manifest::parse(input);
    REQUIRE(manifest.serialize() == input);
    for (const Entry& e : manifest.entries()) {
      REQUIRE(manifest.find(e.path) == &e);
      for (const std::string& part : e.path.components())
        REQUIRE(part != ".." && part != "." && !part.empty());
    }
    manifest.children(RootfsPath());
    manifest.content_bytes();
    auto other = Manifest::parse(manifest_bytes());
    make_delta(manifest, other, 1000);
    make_delta(other, manifest, 1000);
  });
}

namespace {

constexpr std::string_view kNames[] = {"a",       "a/b",  "a/b/c",     "../a",  "/b",    "b",
                                       "c",       "c/d",  "./",        "..",    ".wh.a", "a/.wh..wh..opq",
                                       "a/.wh.b", ".wh.", ".wh..wh.x", "c/../b"};
constexpr std::string_view kLinks[] = {"a", "b", "../../x", "/a/b", "c", ".", "a/b/c", "/"};

}  // namespace

// Any members in any order, above a layer of the same names: a manifest whose hard links name a file of the
// same content, owner and mode in it, whose entries lie in directories, and which writes and reads back as
// itself.
FUZZ_TARGET(layer_members, std::string("\x50\0\x01\1\x21\2\x30\3", 8),
            std::string("\0\1\x25\0\x20\x20\x1a\0", 8), std::string("\x05\1\x20\x20\x01\1\x25\x60", 8),
            "\x12\x40\x05\x07\x0b\x01\x2c\x09") {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  static Lease lease{place.path()};
  static Contents contents = [] {
    make_directories_on_host(place / "leases");
    make_directories_on_host(place / "tmp");
    return Contents(place / "contents", lease);
  }();
  auto read = [&](const std::string& bytes, const Tree& below) {
    archive::StringSource from(bytes);
    return read_layer_tar(from, below, contents);
  };
  input = input.substr(0, 400);
  size_t middle = input.size() / 4 * 2;
  tolerate({ErrorCode::kInvalid, ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    EmptyTree nothing;
    auto lower =
        std::make_shared<const Manifest>(read(tar_of(input.substr(0, middle), kNames, kLinks), nothing));
    RootfsView below({lower});
    auto upper = std::make_shared<const Manifest>(read(tar_of(input.substr(middle), kNames, kLinks), below));
    RootfsView whole({lower, upper});
    for (const auto& manifest : {lower, upper}) {
      for (const Entry& e : manifest->entries()) {
        if (!e.path.is_root()) {
          const Entry* parent = whole.find(e.path.parent());
          if (manifest == upper) REQUIRE(parent && parent->is_directory());
        }
        if (!e.is_hard_link()) continue;
        const Entry* first = manifest->find(e.hard_link);
        REQUIRE(first && first->type == EntryType::kFile && !first->is_hard_link() && first->path < e.path);
        REQUIRE(first->content == e.content && first->mode == e.mode && first->uid == e.uid);
      }
      REQUIRE(Manifest::parse(manifest->serialize()).serialize() == manifest->serialize());
    }
    archive::StringSink sink;
    archive::TarWriter writer(sink);
    write_layer_tar(*upper, {}, contents, writer);
    writer.finish();
    REQUIRE(layer_tar_offsets(*upper, {}).back() + archive::kTarEndBytes == sink.bytes().size());
    // The same is seen, with opaque directories or with whiteouts; what had the layer's time has it as its
    // own.
    auto seen = [](const Tree& tree) {
      std::vector<Entry> entries;
      walk(tree, RootfsPath(), [&](const Entry& e) {
        entries.push_back(e);
        entries.back().opaque = false;
        if (!e.time_ns) entries.back().time_ns = 0;
      });
      return entries;
    };
    RootfsView again({lower, std::make_shared<const Manifest>(read(sink.bytes(), below))});
    REQUIRE(seen(again) == seen(whole));
  });
}

FUZZ_TARGET(accounts,
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n\nstaff:x:50:app,root\n",
            "a:::\n\n:::::::\n", "x:y:4294967296:-1\n\nx:y:4294967295:a,,b\n") {
  size_t middle = std::min(input.find("\n\n"), input.size());
  Accounts accounts = Accounts::parse(input.substr(0, middle), input.substr(middle));
  for (const char* text : {"root", "app:staff", "0", "1000:50", ":", "4294967295"})
    tolerate({ErrorCode::kInvalid}, [&] {
      RunUser user = accounts.run_user(text);
      REQUIRE(!user.groups.empty() && user.groups[0] == user.gid);
    });
  tolerate({ErrorCode::kInvalid}, [&] { accounts.run_user(input.substr(0, 64)); });
}

FUZZ_TARGET(recorded_owner, "0:6 b 8 1", "1000:50", "4294967295:0 c 1 3") {
  if (auto owner = RecordedOwner::parse(input)) REQUIRE(RecordedOwner::parse(owner->to_string()) == owner);
}

namespace {
std::string lease_record(char kind, char digest) {
  return std::string(1, kind) + std::string(32, digest);
}
}  // namespace

// What a lease names is what its whole records say, read once each, in whatever pieces it was written; of a
// dead one nothing is left.
FUZZ_TARGET(lease_file, lease_record('l', 'a') + lease_record('c', 'b'),
            lease_record('b', '\xff') + lease_record('?', '\0').substr(0, 20),
            lease_record('m', 'a') + lease_record('g', 'a') + lease_record('m', 'a')) {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  make_directories_on_host(place / "leases");
  make_directories_on_host(place / "tmp");
  constexpr size_t kRecord = 33;
  const std::string file = place / "leases/0123456789abcdef";
  LeasesRead leases(place.path());
  size_t fresh = 0;
  for (size_t size : {input.size() / 2, input.size()}) {
    write_file_atomic(file, input.substr(0, size), 0600, Durable::kNo);
    fresh += leases.read().size();
    REQUIRE(fresh <= size / kRecord && leases.read().empty());
  }
  size_t named = 0;
  std::set<std::string_view> records;
  for (size_t at = 0; at + kRecord <= input.size(); at += kRecord) records.insert(input.substr(at, kRecord));
  for (std::string_view record : records) {
    std::array<uint8_t, 32> bytes;
    std::copy(record.begin() + 1, record.end(), bytes.begin());
    REQUIRE(leases.names(static_cast<Held>(record[0]), Digest(bytes)));
    named++;
  }
  REQUIRE(fresh == named);
  for (Held kind : {Held::kLayer, Held::kContent, Held::kBlob, Held::kMount, Held::kGit})
    REQUIRE(leases.of(kind).size() <= named);
  REQUIRE(sweep_dead_leases(place.path()));
  REQUIRE(!path_exists(file) && !sweep_dead_leases(place.path()));
}

// The record of a directory that was lent: it goes home, or nowhere, and never out of the store. An I stands
// for its inode.
FUZZ_TARGET(borrowed_record, "corten-borrowed-1\nmounts/m/data\nI\n", "corten-borrowed-1\n../out/x\nI\n",
            "corten-borrowed-1\n/tmp\n1\n", "corten-borrowed-1\n\nI\n",
            "corten-borrowed-1\nmounts/m/../../../x\nI\n") {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  static const std::string root = place / "store", temporary = root + "/tmp/0123456789abcdef";
  make_directories_on_host(place / "out");
  make_directories_on_host(root + "/mounts/m");
  make_directories_on_host(temporary + "/tree/lent");
  struct stat st;
  REQUIRE(stat((temporary + "/tree/lent").c_str(), &st) == 0);
  std::string text;
  for (char c : input) text += c == 'I' ? std::to_string(st.st_ino) : std::string(1, c);
  write_file_atomic(temporary + "/borrowed-1", text, 0600, Durable::kNo);
  rescue(temporary);
  REQUIRE(names_in(place.path()).size() == 2 && names_in(place / "out").empty());
  for (const std::string& name : names_in(root))
    REQUIRE(name == "mounts" || name == "tmp" || !path_exists(temporary + "/tree/lent"));
  remove_tree(root);
}

}  // namespace corten::fuzz
