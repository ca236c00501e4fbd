// What may come from a cache that others write, and what says where caches are.
#include <algorithm>
#include <set>

#include "base/path.h"
#include "base/strings.h"
#include "cache/buildkit_records.h"
#include "cache/chunker.h"
#include "cache/index.h"
#include "cache/mount_recipe.h"
#include "cache/s3_place.h"
#include "cache/spec.h"
#include "fuzz/script.h"

namespace corten::fuzz {

using namespace corten::cache;

namespace {

std::string recipe_body() {
  using Type = MountEntry::Type;
  MountRecipe recipe;
  recipe.entries = {{.type = Type::kDirectory, .mode = 0755},
                    {.type = Type::kDirectory, .path = "d", .mode = 01777, .uid = 1000, .mtime_ns = -1},
                    {.type = Type::kFile, .path = "d/f", .size = 5},
                    {.type = Type::kHardLink, .path = "d/g", .link = "d/f"},
                    {.type = Type::kSymlink, .path = "d/l", .link = "../x"},
                    {.type = Type::kGap, .size = 2},
                    {.type = Type::kSeen, .size = 3}};
  recipe.chunks = {{Digest::of("abcdefghij"), 10, oci::describe(kChunkMediaType, "packed")}};
  return emit_recipe_body(recipe);
}

const std::string kKey = "5ecre7-5ecre7";

// A shard's text, before it is compressed.
std::string entries_text() {
  Entry entry{.key = Digest::of("key"),
              .step = "RUN make",
              .layer = {Digest::of("layer"), 7},
              .manifest = {},
              .blobs = {},
              .used_day = 20'000};
  entry.manifest = oci::describe(kLayerManifestType, "manifest");
  LayerBlobRecord record{.time = 7,
                         .diff = {{Digest::of("tar")}, 10'240},
                         .format = "gz1",
                         .blob = {},
                         .chunks = {},
                         .place = "registry x/y"};
  record.blob = oci::describe("application/vnd.oci.image.layer.v1.tar+gzip", "blob");
  record.chunks = oci::describe(kLayerChunksType, "chunks");
  entry.blobs.push_back(record);
  return expand(pack_entries({&entry}), 1 << 20, "entries");
}

}  // namespace

// Entries of a shard: what is read is what would be written, and fits what uses it.
FUZZ_TARGET(cache_entries, entries_text(), "{\"entries\":[]}") {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    const std::map<Digest, Entry> entries = unpack_entries(compress(input));
    std::vector<const Entry*> list;
    for (const auto& [key, entry] : entries) {
      REQUIRE(key == entry.key && entry.blobs.size() <= 16);
      REQUIRE(entry.layer.time + 1 > entry.layer.time);
      list.push_back(&entry);
    }
    REQUIRE(unpack_entries(pack_entries(list)) == entries);
  });
}

// The same as it lies in a place: any bytes end in an error of ours.
FUZZ_TARGET(cache_shard, compress(entries_text())) {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported, ErrorCode::kCorrupt},
           [&] { unpack_entries(input); });
}

// An image's config with a cache in it.
FUZZ_TARGET(
    inline_cache,
    R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"corten.cache.v1":{"version":1,"layers":[{"key":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","step":"RUN x","layer":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","time":7,"exported":8}]}})") {
  oci::Manifest manifest;
  manifest.layers.push_back(oci::describe("application/vnd.oci.image.layer.v1.tar+gzip", "blob"));
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    if (auto contents = read_inline_cache(manifest, input))
      for (const auto& [key, entry] : contents->entries)
        REQUIRE(entry.is_inline() && entry.blobs.size() == 1);
  });
}

namespace {

const std::string kDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string buildkit_config() {
  return R"({"layers":[{"blob":")" + kDigest + R"(","parent":-1},{"blob":")" + kDigest +
         R"("}],"records":[{"digest":")" + kDigest +
         R"("},{"layers":[{"layer":1,"createdAt":"x"}],"digest":")" + kDigest +
         R"(","inputs":[[{"selector":"s","link":0},{"link":1}]]},{"chains":[{"layers":[1,0]}],"digest":")" +
         kDigest + R"("}]})";
}

void check_buildkit(const BuildkitRecords& records) {
  for (size_t i = 0; i < records.records().size(); i++) {
    const BuildkitRecord& record = records.records()[i];
    for (const auto& input : record.inputs)
      for (const auto& link : input) REQUIRE(link.record < records.records().size());
    for (const auto& stack : record.results)
      for (const size_t layer : stack) REQUIRE(layer < records.layers().size());
    const auto& alike = records.with(record.digest);
    REQUIRE(std::find(alike.begin(), alike.end(), i) != alike.end());
  }
}

}  // namespace

// BuildKit's list of records: whatever is read leads nowhere but into itself.
FUZZ_TARGET(buildkit_records, buildkit_config(), R"({"records":[]})") {
  oci::Descriptor blob = oci::describe("application/vnd.oci.image.layer.v1.tar+gzip", "");
  blob.annotations["containerd.io/uncompressed"] = kDigest;
  tolerate({ErrorCode::kInvalid}, [&] { check_buildkit(BuildkitRecords::parse(input, {blob})); });
}

// The same in an image's config.
FUZZ_TARGET(
    buildkit_inline,
    R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"moby.buildkit.cache.v0":"W3sibGF5ZXJzIjpbeyJsYXllciI6MH1dLCJkaWdlc3QiOiJzaGEyNTY6ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NSJ9XQ=="})") {
  oci::Manifest manifest;
  manifest.layers.push_back(oci::describe("application/vnd.oci.image.layer.v1.tar+gzip", "blob"));
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] {
    if (auto records = BuildkitRecords::parse_inline(manifest, input)) check_buildkit(*records);
  });
}

// What is read is what would be written; no path leads out, is there twice, or lies in what is no directory.
FUZZ_TARGET(mount_recipe, recipe_body()) {
  tolerate({ErrorCode::kCorrupt}, [&] {
    MountRecipe recipe = parse_recipe_body(input);
    REQUIRE(emit_recipe_body(recipe) == input);
    std::set<std::string> directories, files, all;
    uint64_t bytes = 0;
    for (const MountEntry& e : recipe.entries) {
      bytes += e.size;
      if (e.type == MountEntry::Type::kGap || e.type == MountEntry::Type::kSeen) continue;
      REQUIRE(all.insert(e.path).second);
      REQUIRE(all.size() == 1 || directories.contains(RootfsPath(e.path).parent().str()));
      REQUIRE(!e.path.starts_with('/'));
      for (const std::string& part : RootfsPath(e.path).components())
        REQUIRE(part != ".." && part != "." && !part.empty() && part.find('\0') == part.npos);
      if (e.type == MountEntry::Type::kDirectory) directories.insert(e.path);
      if (e.type == MountEntry::Type::kHardLink) REQUIRE(files.contains(e.link));
      if (e.type == MountEntry::Type::kFile) files.insert(e.path);
    }
    REQUIRE(bytes == recipe.bytes());
    for (const MountChunk& chunk : recipe.chunks) REQUIRE(chunk.size <= kMaxChunkBytes);
  });
}

// The same behind a compressed frame: any bytes end in an error of ours or in a recipe.
FUZZ_TARGET(mount_recipe_blob, emit_recipe(parse_recipe_body(recipe_body()))) {
  tolerate({ErrorCode::kCorrupt, ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] { parse_recipe(input); });
}

// What a bucket answers to reading and to writing, in one piece and in parts.
FUZZ_TARGET(s3_answers, answer("200 OK", "hello, blob"),
            answer("404 No", "<Error><Code>NoSuchKey</Code></Error>"),
            answer("206 Part", "llo", "Content-Range: bytes 2-4/11\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello\x1e" +
                answer("206 Part", ", blob", "Content-Range: bytes 5-10/11\r\n"),
            answer("404 No", "") + answer("200 OK", "<R><UploadId>u</UploadId></R>") +
                answer("200 OK", "", "ETag: \"a\"\r\n") + answer("200 OK", "", "ETag: \"b\"\r\n") +
                answer("200 OK", "<Error><Code>InternalError</Code></Error>"),
            answer("403 No", "<Error><Code>ExpiredToken</Code><Message>a&lt;b</Message></Error>",
                   "x-amz-bucket-region: b\r\n")) {
  const std::string bytes = "hello, blob";
  const oci::Descriptor blob = oci::describe("application/octet-stream", bytes);
  S3Spec spec{.bucket = "b", .region = "r", .endpoint_url = "http://127.0.0.1:9", .use_path_style = true};
  spec.access_key_id = "AK";
  spec.secret_access_key = kSecret;
  const SystemClock clock;
  const auto with_place = [&](uint64_t part_bytes, auto ask) {
    Script script(input);
    http::Client client(script.options());
    try {
      S3Place place(spec, client, clock, {.retry = kAtOnce, .part_bytes = part_bytes});
      ask(place);
    } catch (const Error& error) {
      if (input.find("5ecre7") == input.npos) check_error(error);
    }
    REQUIRE(input.find("5ecre7") != input.npos || !script.is_heard_elsewhere(kSecret, ""));
  };
  with_place(100, [](Place& place) { place.manifest(); });
  with_place(100, [](Place& place) { place.put_manifest("{}"); });
  with_place(100, [&](Place& place) { REQUIRE(place.read_blob(blob, 100) == bytes); });
  with_place(100, [&](Place& place) { REQUIRE(place.read_part(blob, 2, 3).size() == 3); });
  for (const uint64_t part_bytes : {100, 5})
    with_place(part_bytes, [&](Place& place) {
      place.put_blob({blob, [&](uint64_t offset) {
                        REQUIRE(offset <= bytes.size());
                        return http::RequestBody::of(bytes.substr(offset)).open();
                      }});
    });
}

// Any pieces put together are the stream, and no piece is too large.
FUZZ_TARGET(chunks, std::string(5 << 10, 'x'), "abc") {
  std::string stream, joined;
  for (int i = 0; i < 64; i++) stream += std::string(input) + static_cast<char>(i);
  Chunker chunker([&](std::string_view chunk) {
    REQUIRE(!chunk.empty() && chunk.size() <= kMaxChunkBytes);
    joined += chunk;
  });
  chunker.write(stream);
  chunker.cut();
  REQUIRE(joined == stream);
}

// A key that stands anywhere in the value is in no error, no remark and no name; what is shown may be shown.
FUZZ_TARGET(cache_spec, "user/app:cache", "type=registry,ref=a,mode=max,compression=zstd,compression-level=3",
            "type=local,dest=/x,tag=a,max-size=1GB,timeout=5m", "type=gha,scope=a", "\"type=local\",src=b",
            "type=s3,bucket=b,name=a;b,endpoint_url=http://x,use_path_style=true") {
  const Variables none = [](const std::string&) { return std::string(); };
  for (auto parse : {parse_cache_from, parse_cache_to})
    for (const std::string& text :
         {std::string(input), "type=s3,access_key_id=a,secret_access_key=" + kKey + "," + std::string(input),
          std::string(input) + ",secret_access_key=" + kKey + "," + kKey}) {
      std::string shown;
      try {
        ParsedSpec parsed = parse(text, none);
        REQUIRE(parsed.spec || !parsed.remarks.empty());
        if (parsed.spec) shown = parsed.spec->name();
        for (const std::string& remark : parsed.remarks) shown += "\n" + remark;
      } catch (const Error& error) {
        REQUIRE(error.code() == ErrorCode::kUsage || error.code() == ErrorCode::kUnsupported);
        shown = std::string(error.what()) + "\n" + error.hint();
      }
      REQUIRE(shown.find(kKey) == shown.npos || input.find("5ecre7") != input.npos);
      REQUIRE(is_terminal_text(shown));
    }
}

}  // namespace corten::fuzz
