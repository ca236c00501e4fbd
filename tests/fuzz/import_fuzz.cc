// Images of strangers, from their bytes to layers in the store: whatever an archive says, nothing outside the
// store changes, and a layer that was taken in is whole.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <optional>

#include "archive/gzip_encoder.h"
#include "archive/tar_fields.h"
#include "base/beneath.h"
#include "base/temp_dir.h"
#include "fuzz/fuzz.h"
#include "fuzz/tar_of.h"
#include "source/base_image.h"
#include "source/image_archive.h"
#include "source/layer_import.h"
#include "store/shelves.h"
#include "store/store.h"

namespace corten::fuzz {

using namespace corten::source;
using store::Entry;
using store::EntryType;

namespace {

// The layer beneath has directories and links that lead out, were they followed there.
constexpr std::string_view kNames[] = {"up",
                                       "up/x",
                                       "abs/x",
                                       "etc/passwd",
                                       "../../outside/kept",
                                       "up/..",
                                       "etc",
                                       "a",
                                       "a/b",
                                       "a/b/c",
                                       "loop",
                                       "loop/x",
                                       "a/../../../x",
                                       ".wh.a",
                                       "up/.wh..wh..opq",
                                       "a/.wh.b"};
constexpr std::string_view kLinks[] = {
    "a", "../../../../outside", "up/kept", "/", "etc/passwd", "loop", "a/b", "abs/kept"};

// One layer on others; its blob is these bytes, and comes in two parts.
store::LayerRef import_layer(const std::string& bytes, const oci::Descriptor& descriptor,
                             const DiffId& diff_id, const store::Rootfs& below, store::Store& store) {
  const BlobFetch fetch = [&](const oci::Descriptor& blob, int fd,
                              const std::function<void(uint64_t)>& reached) {
    archive::StringSource from(bytes);
    archive::VerifyingSource verified(from, blob.digest, blob.size, "blob");
    archive::FdSink sink(fd, "blob");
    const std::string first = archive::read_rest(verified, bytes.size() + 1);
    sink.write(first.substr(0, first.size() / 2));
    reached(first.size() / 2);
    sink.write(first.substr(first.size() / 2));
    reached(first.size());
  };
  return source::import_layers({descriptor}, {diff_id}, 1, fetch, store, below).back();
}

class Place {
 public:
  Place() {
    make_directories_on_host(outside());
    write_file_atomic(outside() + "/kept", "kept");
    begin();
  }
  std::string outside() const { return place_ / "outside"; }
  std::string unpacked() const { return place_ / "unpacked"; }
  store::Store& store() { return *store_; }
  const store::Rootfs& below() const { return below_; }

  void check() {
    REQUIRE(names_in_outside().size() == 1 && read_file(outside() + "/kept") == "kept");
    for (const std::string& name : store::names_in(place_.path()))
      REQUIRE(name == "outside" || name == "store" || name == "unpacked");
    // A store that holds much is slow to look at.
    constexpr int kMostInputs = 500;
    if (++inputs_ % kMostInputs == 0) begin();
  }

 private:
  std::vector<std::string> names_in_outside() const { return store::names_in(outside()); }

  void begin() {
    store_.reset();
    remove_tree(place_ / "store");
    store_.emplace(place_ / "store");
    archive::StringSink sink;
    archive::TarWriter writer(sink);
    auto add = [&](const char* path, archive::TarType type, const std::string& link = "") {
      archive::TarHeader header;
      header.path = path;
      header.type = type;
      header.mode = 0755;
      header.uid = geteuid();
      header.gid = getegid();
      header.link = link;
      writer.add(header, "");
    };
    add("a/", archive::TarType::kDirectory);
    add("etc/", archive::TarType::kDirectory);
    add("etc/passwd", archive::TarType::kFile);
    add("up", archive::TarType::kSymlink, "../../../../../../.." + outside());
    add("abs", archive::TarType::kSymlink, outside());
    add("loop", archive::TarType::kSymlink, "loop");
    writer.finish();
    const std::string tar = sink.take();
    oci::Descriptor descriptor;
    descriptor.digest = Digest::of(tar);
    descriptor.size = tar.size();
    below_ = {import_layer(tar, descriptor, {Digest::of(tar)}, {}, *store_)};
  }

  TempDir place_ = TempDir::make(path_exists("/dev/shm") ? "/dev/shm" : "/tmp", "fuzz-");
  std::optional<store::Store> store_;
  store::Rootfs below_;
  int inputs_ = 0;
};

Place& place() {
  static Place only;
  return only;
}

// Every content is there with its bytes, entries lie in directories, and a directory that is made of the
// layer has just its entries.
void check_layer(const store::LayerRef& layer, store::Store& store) {
  auto manifest = store.layers().load(layer.id);
  store::RootfsView whole = store.layers().view({place().below()[0], layer});
  for (const Entry& e : manifest->entries()) {
    if (!e.path.is_root()) {
      const Entry* parent = whole.find(e.path.parent());
      REQUIRE(parent && parent->is_directory());
    }
    if (e.type != EntryType::kFile || e.size == 0) continue;
    REQUIRE(e.size <= 1 << 20 || e.is_hard_link() || store.contents().has(e.content));
    if (e.size <= 1 << 20) REQUIRE(Digest::of(store.contents().read(e.content, 1 << 20)) == e.content);
  }
  // As who may not give files away, or make devices.
  tolerate({ErrorCode::kPermission, ErrorCode::kUnsupported, ErrorCode::kInvalid, ErrorCode::kIo}, [&] {
    std::string body = store.layers().directory(layer, {}).value;
    size_t found = 0;
    for (const auto& item : std::filesystem::recursive_directory_iterator(body)) {
      RootfsPath path(item.path().string().substr(body.size()));
      const Entry* e = manifest->find(path);
      struct stat st;
      REQUIRE(lstat(item.path().c_str(), &st) == 0);
      REQUIRE(e ? e->is_directory() == S_ISDIR(st.st_mode) : S_ISDIR(st.st_mode));
      found += e != nullptr;
    }
    REQUIRE(found <= manifest->entries().size());
  });
}

std::string with_checksums(std::string bytes) {
  for (size_t at = 0; at + archive::kTarBlockBytes <= bytes.size(); at += archive::kTarBlockBytes) {
    if (bytes.compare(at + 257, 5, "ustar") != 0) continue;
    archive::TarBlock block;
    memcpy(&block, bytes.data() + at, sizeof block);
    block.set_checksum();
    memcpy(bytes.data() + at, &block, sizeof block);
  }
  return bytes;
}

std::string members(std::string_view program) {
  return tar_of(program, kNames, kLinks);
}

std::string archive_of(const std::vector<std::pair<std::string, std::string>>& files) {
  archive::StringSink sink;
  archive::TarWriter writer(sink);
  for (const auto& [name, text] : files) {
    archive::TarHeader header;
    header.path = name;
    header.mode = 0644;
    header.size = text.size();
    writer.add(header, text);
  }
  writer.finish();
  return sink.take();
}

std::string gzipped(std::string_view bytes) {
  archive::StringSink sink;
  archive::GzipWriter writer(sink);
  writer.write(bytes);
  writer.finish();
  return sink.take();
}

std::string layer_tar() {
  return archive_of({{"f", "text"}});
}
std::string config_text() {
  return R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[")" +
         Digest::of(layer_tar()).to_string() + "\"]}}";
}
constexpr const char* kManifest = R"([{"Config":"c.json","RepoTags":["a:1"],"Layers":["l/layer.tar"]}])";

}  // namespace

// The first byte says what the others are: a tar, or members in two bytes each; and what is wrong with it.
SLOW_FUZZ_TARGET(import_layer, std::string("\1\x01\0\x25\x20\x18\0\x27\3", 9),
                 std::string("\1\x11\x20\x01\1\x02\2\x04\3", 9),
                 std::string("\3\x20\x40\x21\1\x1e\0\x28\1", 9),
                 std::string("\1\x50\0\x51\0\x0e\0\x0f\0\x17\x80", 11),
                 std::string("\1\x37\1\x47\2\x57\0", 7),
                 std::string(1, '\0') + members(std::string("\x07\3\x18\x20", 4)), "\5\x07\3", "\x09\x07\3") {
  if (input.empty()) return;
  auto mode = static_cast<uint8_t>(input[0]);
  input = input.substr(1, 8 << 10);
  std::string tar = mode & 1 ? members(input.substr(0, 400)) : with_checksums(std::string(input));
  std::string bytes = mode & 2 ? gzipped(tar) : tar;
  oci::Descriptor descriptor;
  descriptor.digest = Digest::of(mode & 4 ? bytes + "x" : bytes);
  descriptor.size = bytes.size() + (mode >> 4 & 1);
  DiffId diff_id{Digest::of(mode & 8 ? "other" : tar)};
  store::Store& store = place().store();
  tolerate({ErrorCode::kInvalid, ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    store::LayerRef layer = import_layer(bytes, descriptor, diff_id, place().below(), store);
    REQUIRE((mode & 0x1c) == 0);
    check_layer(layer, store);
    REQUIRE(import_layer(bytes, descriptor, diff_id, place().below(), store).id == layer.id);
  });
  place().check();
}

// What unpacking leaves are files and directories of its own, and no more bytes than are allowed.
SLOW_FUZZ_TARGET(
    image_archive,
    archive_of({{"manifest.json", kManifest}, {"c.json", config_text()}, {"l/layer.tar", layer_tar()}}),
    archive_of({{"../../outside/kept", "x"}, {"/a", "b"}}), "\1\x11\x20\x01\1\x02\2\x04\3",
    "\1\x07\3\x18\x20\x20\x01\x1a\x60", "\1\x1e\xff\x1f\1") {
  constexpr uint64_t kMostMore = 1 << 20;
  bool is_program = input.starts_with('\1');
  std::string tar = is_program ? members(input.substr(1, 400)) : with_checksums(std::string(input));
  make_directories_on_host(place().unpacked());
  archive::StringSource from(tar);
  tolerate({ErrorCode::kInvalid, ErrorCode::kCorrupt, ErrorCode::kUnsupported, ErrorCode::kIo,
            ErrorCode::kExists, ErrorCode::kNotFound},
           [&] { unpack_image_archive(from, place().unpacked(), kMostMore); });
  uint64_t bytes = 0;
  for (const auto& item : std::filesystem::recursive_directory_iterator(place().unpacked())) {
    struct stat st;
    REQUIRE(lstat(item.path().c_str(), &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)));
    if (S_ISREG(st.st_mode)) bytes += static_cast<uint64_t>(st.st_size);
  }
  REQUIRE(bytes <= tar.size() + kMostMore + (64 << 10));
  if (path_exists(place().unpacked() + "/manifest.json"))
    tolerate({ErrorCode::kInvalid, ErrorCode::kCorrupt, ErrorCode::kUnsupported, ErrorCode::kIo}, [&] {
      for (const DockerImage& image :
           parse_docker_manifest(read_file(place().unpacked() + "/manifest.json", 1 << 20)))
        load_docker_image(image, place().unpacked(), place().store());
    });
  remove_tree(place().unpacked());
  place().check();
}

// manifest.json beside files that are what it should name, and some that are not.
SLOW_FUZZ_TARGET(docker_manifest, kManifest, R"([{"Config":"c.json","Layers":["../../outside/kept"]}])",
                 R"([{"Config":"/c.json","Layers":["l/../l/layer.tar","out"]}])",
                 R"([{"Config":"l","Layers":null}])", R"([{"Config":"out/kept","RepoTags":[7]}])", "[]",
                 "{}") {
  const std::string directory = place().unpacked();
  make_directories_on_host(directory + "/l");
  write_file_atomic(directory + "/c.json", config_text(), 0600, Durable::kNo);
  write_file_atomic(directory + "/l/layer.tar", layer_tar(), 0600, Durable::kNo);
  REQUIRE(symlink(place().outside().c_str(), (directory + "/out").c_str()) == 0);
  tolerate({ErrorCode::kInvalid, ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    for (const DockerImage& image : parse_docker_manifest(input)) {
      LoadedImage loaded = load_docker_image(image, directory, place().store());
      REQUIRE(loaded.layers.size() == image.layers.size());
      REQUIRE(loaded.layers.size() == loaded.config.diff_ids.size() && loaded.config.raw == config_text());
    }
  });
  remove_tree(directory);
  place().check();
}

}  // namespace corten::fuzz
