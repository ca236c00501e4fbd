// --cache-from, --cache-to: which place, and what goes there.
//
// Source: buildx util/buildflags/cache.go and BuildKit's cache backends (dockerfile-features.md,
// section 3.5): one CSV record of key=value, or a bare reference, which is type=registry. Nothing is ignored
// without a word: an attribute is obeyed, refused by name, or remarked upon. What may hold a key (and any
// text after one: a value with a comma in it looks like the next attribute) is in no error and in no name.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "image/layer_blobs.h"
#include "oci/reference.h"

namespace corten::cache {

inline constexpr uint64_t kLocalMaxBytes = 10'000'000'000;

struct S3Spec {
  std::string bucket;        // else AWS_BUCKET
  std::string region;        // "": what the environment or the profile says
  std::string endpoint_url;  // "": Amazon's
  bool use_path_style = false;
  std::string access_key_id, secret_access_key, session_token;  // "": Amazon's chain of credentials
  std::string prefix, blobs_prefix = "blobs/", manifests_prefix = "manifests/";
  std::vector<std::string> names = {
      "buildkit"};  // the manifest goes under each; the first that is there is read
  unsigned upload_parallelism = 4;

  std::string name() const;  // "HOST/bucket/prefix:names", without what is usual
};

struct Spec {
  enum class Type { kRegistry, kLocal, kInline, kS3 };
  Type type = Type::kRegistry;

  oci::Reference reference;  // registry; with a tag or a digest

  std::string directory;         // local: src or dest, as given
  std::string tag = "latest";    // local
  std::optional<Digest> digest;  // local, from: instead of the tag
  bool is_reset = false;         // local, to: everything else that lies there goes

  S3Spec s3;

  // Of an export.
  bool is_max = false;  // mode=max: the steps of all stages, not those of the result alone
  image::Compression compression;
  bool ignores_errors = false;
  bool has_mounts = false;  // mounts=true: cache mounts travel too
  uint64_t max_bytes = 0;   // 0: no limit
  int64_t timeout_s = 600;  // for which an export goes on after the build's end

  std::string name() const;  // "registry ghcr.io/x/y:cache", "local /srv/cache", "s3 bucket", "inline"
};

struct ParsedSpec {
  std::optional<Spec> spec;          // nothing: there is no such cache here, and a remark says so
  std::vector<std::string> remarks;  // to be shown as warnings
};

// The value of a variable, "" when it is not set.
using Variables = std::function<std::string(const std::string& name)>;

// Error(kUsage) for what cannot be read, Error(kUnsupported) for what is not executed. GitHub's own cache
// (type=gha) is nothing in the first, and in the second unless the job offers it: without its variables
// buildx leaves it out without a word.
ParsedSpec parse_cache_from(std::string_view text, const Variables& variables);
ParsedSpec parse_cache_to(std::string_view text, const Variables& variables);

}  // namespace corten::cache
