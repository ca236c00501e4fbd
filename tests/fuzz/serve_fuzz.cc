// What strangers send to the embedded registry: request targets, ranges, manifests, digests; and its own
// journal.
#include "base/json.h"
#include "fuzz/fuzz.h"
#include "http/url.h"
#include "registry/server/byte_range.h"
#include "registry/server/journal.h"
#include "registry/server/manifest_facts.h"
#include "registry/server/request_target.h"
#include "registry/server/uploads.h"

namespace corten::fuzz {

namespace serving = registry::serving;

// A target that was taken holds no control characters, and means the same when it is written again.
FUZZ_TARGET(request_target, "/v2/a/b/manifests/v1?tag=a&tag=b", "/v2/%61/tags/list?n=5&last=x%2fy",
            "http://host/v2/?a", "/?a=%", "/%00",
            "/v2/a/referrers/sha256:ab?artifactType=application/x+json#f") {
  const std::optional<serving::Target> target = serving::parse_target(input);
  if (!target) return;
  REQUIRE(target->path.starts_with('/') && target->query.size() <= serving::kMaxQueryParts);
  std::string again;
  for (char c : target->path) again += c == '/' ? "/" : http::percent_encode(std::string(1, c));
  char between = '?';
  const auto is_clean = [](const std::string& text) {
    for (char c : text)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
    return true;
  };
  REQUIRE(is_clean(target->path));
  for (const auto& [key, value] : target->query) {
    REQUIRE(is_clean(key) && is_clean(value));
    again += between + http::percent_encode(key) + "=" + http::percent_encode(value);
    between = '&';
  }
  if (again.size() > serving::kMaxTargetBytes) return;
  const std::optional<serving::Target> second = serving::parse_target(again);
  REQUIRE(second && second->path == target->path && second->query == target->query);
}

// Whatever is asked for lies within the content.
FUZZ_TARGET(range, "bytes=0-1", "bytes=5-", "bytes=-3", "bytes=0-99999999999999999999", "bytes=1-2,3-4",
            "bytes=-0") {
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, uint64_t{1} << 62}) {
    const serving::RangeRequest range = serving::parse_range(input, size);
    if (range.kind != serving::RangeRequest::Kind::kPart) continue;
    REQUIRE(range.part.begin < range.part.end && range.part.end <= size);
  }
}

FUZZ_TARGET(content_range, "0-1", "bytes 5-9/10", "9-3", "18446744073709551615-18446744073709551615", "0-") {
  const std::optional<serving::ByteRange> range = serving::parse_content_range(input);
  if (range) REQUIRE(range->begin < range->end && range->size() > 0);
}

FUZZ_TARGET(content_digest, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha512:", "sha256:..") {
  const std::optional<serving::ContentDigest> digest = serving::ContentDigest::parse(input);
  if (!digest) return;
  REQUIRE(digest->to_string() == input);
  REQUIRE(input.find('/') == std::string_view::npos && input.find('.') == std::string_view::npos);
  serving::is_upload_id(input);
}

// What it refers to can be told again from its descriptor.
FUZZ_TARGET(
    pushed_manifest,
    R"({"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:)"
    R"(e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]})",
    R"({"manifests":[],"annotations":{"a":"b"},"artifactType":"x/y","mediaType":"application/vnd.oci.image.index.v1+json"})") {
  tolerate({ErrorCode::kInvalid}, [&] {
    const serving::ManifestFacts facts = serving::read_manifest_facts(input, "");
    const Json descriptor = serving::referrer_descriptor(
        facts, serving::ContentDigest::of(serving::Algorithm::kSha256, input), input.size());
    REQUIRE(Json::parse(descriptor.dump()) == descriptor);
  });
}

// A record that is read is written as the same bytes; paths of it stay below the registry's two directories.
FUZZ_TARGET(registry_journal, serving::encode_record(7, {}).append("x"), [] {
  const serving::Change put = serving::Change::put("blobs/sha256/ab/abc", "data");
  const serving::Change move = serving::Change::move("repositories/a/_uploads/x", "blobs/sha256/ab/abd");
  return serving::encode_record(3, {&put, &move});
}()) {
  const std::optional<serving::Record> record = serving::decode_record(input);
  if (!record) return;
  std::vector<const serving::Change*> changes;
  for (const serving::Change& change : record->changes) {
    changes.push_back(&change);
    for (const std::string* path :
         {&change.path, change.kind == serving::Change::Kind::kMove ? &change.data : &change.path})
      REQUIRE((path->starts_with("blobs/") || path->starts_with("repositories/")) &&
              path->find("/../") == std::string::npos);
  }
  REQUIRE(serving::encode_record(record->generation, changes) == input.substr(0, record->size));
}

}  // namespace corten::fuzz
