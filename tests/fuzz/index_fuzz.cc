// The store's index, as a disk, a crash or somebody with an editor may leave it: rows with values of other
// types and sizes, JSON that is none, digests of other things. Whatever it says, reading is an answer or an
// Error, nothing leaves the store, what is made with its help is right, and fsck mends it.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include <fmt/core.h>

#include "archive/compression.h"
#include "base/beneath.h"
#include "base/temp_dir.h"
#include "fuzz/fuzz.h"
#include "image/layer_blobs.h"
#include "image/layer_reuse.h"
#include "store/shelves.h"
#include "store/store.h"

namespace corten::fuzz {

using namespace corten::store;

namespace {

struct Column {
  const char *table, *name;
};
constexpr Column kColumns[] = {
    {"layers", "id"},          {"layers", "entries"},    {"layers", "bytes"},
    {"layers", "boot"},        {"layers", "used"},       {"bodies", "layer"},
    {"bodies", "time"},        {"bodies", "mapping"},    {"bodies", "used"},
    {"diffs", "layer"},        {"diffs", "time"},        {"diffs", "diff_id"},
    {"diffs", "tar_bytes"},    {"diffs", "checkpoints"}, {"blobs", "diff_id"},
    {"blobs", "format"},       {"blobs", "digest"},      {"blobs", "size"},
    {"blobs", "recipe"},       {"blobs", "used"},        {"actions", "key"},
    {"actions", "kind"},       {"actions", "layer"},     {"actions", "time"},
    {"actions", "record"},     {"actions", "created"},   {"actions", "used"},
    {"images", "id"},          {"images", "layers"},     {"images", "size"},
    {"images", "added"},       {"tags", "name"},         {"tags", "image"},
    {"builds", "id"},          {"builds", "started"},    {"builds", "status"},
    {"builds", "name"},        {"builds", "record"},     {"cache_mounts", "id"},
    {"cache_mounts", "name"},  {"cache_mounts", "used"}, {"cache_mounts", "sharing"},
    {"indexes", "id"},         {"indexes", "members"},   {"indexes", "added"},
    {"lineages", "family"},    {"lineages", "layer"},    {"lineages", "time"},
    {"predecessors", "layer"}, {"predecessors", "time"}, {"predecessors", "earlier"},
    {"facts", "name"},         {"facts", "value"},       {"predecessors", "earlier_time"},
};
constexpr size_t kColumnCount = sizeof kColumns / sizeof kColumns[0];
constexpr const char* kTag = "docker.io/library/app:1";
constexpr const char* kIndexTag = "docker.io/library/both:1";
constexpr int64_t kTime = 1'000'000'000;

// A store with two versions of a layer, an image, an index, a build and what is remembered of them; made once
// and copied for each input.
class Original {
 public:
  Original() {
    make_directories_on_host(outside());
    write_file_atomic(outside() + "/kept", "kept");
    Store store(path());
    first = save("first", store);
    second = save("second", store);
    for (const LayerRef& layer : {first, second}) {
      store.layers().succeed(family, layer);
      image::ensure_diff(layer, store);
      blob = image::ensure_blob(layer, {}, 1, store).digest;
      store.record_action({.key = Digest::of("key" + layer.id.hex()),
                           .kind = "exact",
                           .layer = layer,
                           .record = R"({"step":"copy","sources":["a"],"destination":"/"})"});
    }
    tar = store.layers().find_diff(second)->diff_id;
    Image image;
    image.config = R"({"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}})";
    image.id = Digest::of(image.config);
    image.layers = {first};
    image.tags = {kTag};
    store.save_image(image);
    store.save_index({{{.os = "linux", .architecture = "amd64"}, image.id}}, {kIndexTag});
    store.cache_mount_directory("go", "shared", "0");
    BuildPlace build = store.begin_build("0123456789abcdef");
    write_file_atomic(build.directory + "/log", "log");
    store.save_build({.id = "0123456789abcdef",
                      .started_ns = 1,
                      .finished_ns = 2,
                      .status = "running",
                      .name = "app",
                      .details = Json::object({{"context", "/c"}})});
    store.recover_after_crash();
  }

  std::string path() const { return place_ / "original"; }
  std::string copy_path() const { return place_ / "store"; }
  std::string outside() const { return place_ / "outside"; }

  std::string copy() const {
    remove_tree(copy_path());
    std::filesystem::copy(path(), copy_path(), std::filesystem::copy_options::recursive);
    REQUIRE(chmod(copy_path().c_str(), 0700) == 0);
    return copy_path();
  }

  // What no damage may touch.
  void check_surroundings() const {
    REQUIRE(names_in(place_.path()).size() == 3 && read_file(outside() + "/kept") == "kept");
    for (const char* name : {"contents", "layers", "dirs", "blobs", "mounts", "builds", "volumes", "git",
                             "lists", "locks", "stat", "tmp", "leases", "index.db", "format", "lock"})
      REQUIRE(path_exists(copy_path() + "/" + name));
    REQUIRE(path_exists(copy_path() + "/volumes/data/kept"));
  }

  LayerRef first, second;
  DiffId tar;
  Digest blob, family = Digest::of("family");

 private:
  // Enough entries for a delta.
  static LayerRef save(const std::string& text, Store& store) {
    std::vector<Entry> entries;
    for (int i = 0; i < 40; i++) {
      Entry e;
      e.path = RootfsPath(fmt::format("f{}", i));
      e.mode = 0644;
      e.uid = geteuid();
      e.gid = getegid();
      if (i == 20) {
        e.size = text.size();
        e.content = store.contents().add_bytes(text);
      } else {
        e.content = store.contents().add_bytes("");
      }
      entries.push_back(std::move(e));
    }
    write_file_atomic(store.volume_directory("data") + "/kept", "kept");
    return {store.layers().save(Manifest(std::move(entries))), kTime};
  }

  TempDir place_ = TempDir::make(path_exists("/dev/shm") ? "/dev/shm" : "/tmp", "fuzz-");
};

const Original& original() {
  static const Original made;
  return made;
}

// Changes in few bytes: a column, a row, what is done with it, and what for. Many change nothing, since a key
// stands there already.
class Damage {
 public:
  explicit Damage(std::string_view input) : rest_(input) {}

  void apply(Database& database) {
    constexpr int kMost = 8;
    for (int i = 0; i < kMost && !rest_.empty(); i++) {
      const Column& column = kColumns[byte() % kColumnCount];
      change(column, byte(), database);
    }
  }

 private:
  uint8_t byte() {
    if (rest_.empty()) return 0;
    auto value = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    return value;
  }
  std::string take(size_t size) {
    std::string bytes(rest_.substr(0, size));
    rest_.remove_prefix(bytes.size());
    return bytes;
  }
  int64_t number() {
    int64_t value = 0;
    std::string bytes = take(8);
    memcpy(&value, bytes.data(), bytes.size());
    return value;
  }

  void change(const Column& column, uint8_t how, Database& database) {
    const int64_t row = how >> 4 & 1;
    std::string value, type = "BLOB";
    switch (how & 15) {
      case 0:
        write(column, row, "NULL", database);
        return;
      case 1:
        write(column, row, fmt::format("CAST({} AS INTEGER)", number()), database);
        return;
      case 2:
        write(column, row, "1e300", database);
        return;
      case 3:
      case 4:
        value = take(byte());
        type = (how & 15) == 3 ? "TEXT" : "BLOB";
        break;
      case 5: {  // another thing's digest
        const Digest digests[] = {original().first.id, original().second.id, original().tar.digest,
                                  original().blob, original().family};
        const Digest& digest = digests[byte() % 5];
        value.assign(reinterpret_cast<const char*>(digest.bytes().data()), digest.bytes().size());
        break;
      }
      case 6:
        write(column, row, "NULL", database, true);
        return;
      default: {  // a part of what stands there
        Statement before = database.prepare(fmt::format("SELECT {0}, typeof({0}) FROM {1} LIMIT 1 OFFSET {2}",
                                                        column.name, column.table, row));
        if (!before.step()) return;
        value = before.text(0);
        if (before.text(1) == "text") type = "TEXT";
        size_t at = byte();
        std::string with = take(byte() & 7);
        if (at <= value.size()) value.replace(at, with.size(), with);
        if (how & 32) value.resize(at);
      }
    }
    std::string hex;
    for (char c : value) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
    write(column, row, fmt::format("CAST(x'{}' AS {})", hex, type), database);
  }

  static void write(const Column& column, int64_t row, const std::string& value, Database& database,
                    bool removes = false) {
    std::string where =
        fmt::format("WHERE {0} IS (SELECT {0} FROM {1} LIMIT 1 OFFSET {2})", column.name, column.table, row);
    database.execute(
        removes ? fmt::format("DELETE FROM {} {}", column.table, where)
                : fmt::format("UPDATE OR IGNORE {} SET {}={} {}", column.table, column.name, value, where));
  }

  std::string_view rest_;
};

// One thing after the other, each an answer or an Error of these codes.
template <typename F>
void any(F read) {
  tolerate({ErrorCode::kCorrupt, ErrorCode::kInvalid, ErrorCode::kNotFound, ErrorCode::kIo}, read);
}

void read_rows(Store& store, const std::function<void(const std::function<void()>&)>& each) {
  each([&] { store.images(); });
  each([&] { store.indexes(); });
  each([&] { store.actions(); });
  each([&] { store.builds(); });
  each([&] { Collector(store).records(); });
  each([&] { store.prune({.all_images = true, .collect = {.only_plan = true}}); });
}

// What builds and exports look up; where it gives a blob, that is the right one.
void use(Store& store) {
  const Original& o = original();
  for (const LayerRef& layer : {o.first, o.second}) {
    any([&] { store.find_action(Digest::of("key" + layer.id.hex())); });
    any([&] { store.layers().lowers(layer, {}, [](const RootfsPath&) { return false; }); });
    any([&] { image::hash_tar(layer, store, {}); });
  }
  any([&] { store.layers().latest(o.family); });
  any([&] { store.find_image(kTag, {.os = "linux", .architecture = "amd64"}); });
  any([&] { store.find_image(kIndexTag, {.os = "linux", .architecture = "amd64"}); });
  any([&] { store.find_image(o.blob.hex().substr(0, 3)); });
  any([&] { store.layers().find_layers(o.tar); });
  any([&] { image::ensure_blob(o.second, {}, 1, store); });
  any([&] {
    archive::StringSink sink;
    if (!image::compress_changes(o.second, 1, store, sink)) return;
    archive::StringSource packed(sink.bytes());
    auto plain = archive::open_decompressor(packed);
    REQUIRE(Digest::of(archive::read_rest(*plain, 1 << 20)) == o.tar.digest);
  });
  for (const char* name : {"", "^0", "012", "app"}) any([&] { store.find_build(name); });
}

void forget_builds(Store& store) {
  std::vector<BuildRecord> builds;
  any([&] { builds = store.builds(); });
  for (const BuildRecord& build : builds) any([&] { store.delete_build(build.id); });
}

}  // namespace

SLOW_FUZZ_TARGET(index_rows, std::string("\x1c\x00\x27\x03\x05[{}]x", 9), std::string("\x15\x05\x00", 3),
                 std::string("\x21\x03\x0b../contents", 14), std::string("\x21\x03\x00", 3),
                 std::string("\x34\x03\x01x\x34\x13\x14-9223372036854775808", 27), "\x2b\x09\x04\x01[",
                 "\x1c\x29\x09", std::string("\x17\x01\xff\xff\xff\xff\xff\xff\xff\x7f", 10)) {
  std::string path = original().copy();
  {
    Store store(path);
    Damage(input).apply(store.database());
  }
  {
    Store store(path);
    any([&] { store.recover_after_crash(); });
    read_rows(store, any<const std::function<void()>&>);
    use(store);
    forget_builds(store);
    original().check_surroundings();
  }
  Store store(path);
  store.check(true);
  REQUIRE(store.check(false).empty());
  // Now nothing is left that could not be read.
  read_rows(store, [](const std::function<void()>& read) { read(); });
  store.prune(
      {.all_images = true, .collect = {.may_go = [](const CacheRecord&) { return true; }, .all = true}});
  original().check_surroundings();
}

// The index's own bytes: places and what stands there instead.
SLOW_FUZZ_TARGET(index_pages, std::string("\x10\x00\x02", 3), std::string("\x00\x10\x0d\x05\x20\xff", 6),
                 std::string("\x3c\x00\x63", 3)) {
  std::string path = original().copy(), file = path + "/index.db";
  std::string bytes = read_file(file);
  for (size_t i = 0; i + 2 < std::min<size_t>(input.size(), 60); i += 3) {
    // The pages' heads more often than the rest.
    size_t at = static_cast<uint8_t>(input[i]) + 256 * static_cast<uint8_t>(input[i + 1]);
    bytes[(at & 1 ? (at / 2 % 32) * 4096 + at / 64 : at) % bytes.size()] = input[i + 2];
  }
  write_file_atomic(file, bytes, 0600, Durable::kNo);
  tolerate({ErrorCode::kCorrupt, ErrorCode::kIo, ErrorCode::kUnsupported, ErrorCode::kPermission}, [&] {
    Store store(path);
    read_rows(store, any<const std::function<void()>&>);
    use(store);
    forget_builds(store);
    any([&] { store.check(true); });
  });
  original().check_surroundings();
}

}  // namespace corten::fuzz
