#include "image/copy.h"

#include <mutex>
#include <set>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "oci/manifest.h"

namespace corten::image {

namespace {

constexpr int kMaxDepth = 8;
constexpr size_t kMaxDocuments = 20'000;

class Copy {
 public:
  Copy(CopySource& from, CopyTarget& to, const CopyOptions& options)
      : from_(from), to_(to), options_(options) {}

  Pushed run() {
    TraceSpan span("copy");
    oci::Descriptor root = from_.root();
    if (options_.platform) root = choose(root);
    copied_.root = root;
    document(root, 0, true);
    return copied_;
  }

 private:
  oci::Descriptor choose(oci::Descriptor at) {
    for (int depth = 0; oci::is_index_type(at.media_type); depth++) {
      if (depth > kMaxDepth) fail(ErrorCode::kInvalid, "copy: indexes nest too deep");
      const oci::Index index = oci::parse_index(from_.document(at), at.media_type);
      const oci::Descriptor* chosen = oci::choose_manifest(index, *options_.platform);
      if (!chosen) {
        std::vector<std::string> names;
        for (const oci::Descriptor& entry : index.manifests)
          if (entry.platform && !oci::is_attestation(entry)) names.push_back(entry.platform->format());
        throw Error(ErrorCode::kNotFound,
                    fmt::format("no image for platform {}", options_.platform->format()))
            .with_hint("there is " + join(names, ", "));
      }
      at = *chosen;
    }
    return at;
  }

  static bool is_document(const oci::Descriptor& entry) {
    return oci::is_index_type(entry.media_type) || oci::is_manifest_type(entry.media_type);
  }

  void document(const oci::Descriptor& at, int depth, bool is_root) {
    if (depth > kMaxDepth) fail(ErrorCode::kInvalid, "copy: documents nest too deep");
    if (!seen_.insert(at.digest).second) return;
    if (seen_.size() > kMaxDocuments)
      fail(ErrorCode::kInvalid, "copy: more than {} documents", kMaxDocuments);
    // What refers to the members of an index that is there may still be missing.
    const bool must_walk = options_.with_referrers && oci::is_index_type(at.media_type);
    if (must_walk || !to_.has(at, is_root)) {
      copied_.is_unchanged = false;
      const std::string bytes = from_.document(at);
      if (oci::is_index_type(at.media_type)) {
        std::vector<oci::Descriptor> others;
        for (const oci::Descriptor& entry : oci::parse_index(bytes, at.media_type).manifests)
          if (is_document(entry))
            document(entry, depth + 1, false);
          else
            others.push_back(entry);
        blobs(others);
      } else {
        const oci::Manifest manifest = oci::parse_manifest(bytes, at.media_type);
        std::vector<oci::Descriptor> needed = manifest.layers;
        needed.push_back(manifest.config);
        blobs(needed);
      }
      to_.put(at, bytes, is_root);
    }
    if (!options_.with_referrers) return;
    for (const oci::Descriptor& entry : from_.referrers(at.digest))
      if (is_document(entry)) document(entry, depth + 1, false);
  }

  void blobs(const std::vector<oci::Descriptor>& all) {
    std::vector<oci::Descriptor> needed;
    // A layer that no registry need hold is had from its addresses.
    for (const oci::Descriptor& blob : all)
      if (!(oci::is_foreign_layer_type(blob.media_type) && !blob.urls.empty()) &&
          placed_.insert(blob.digest).second)
        needed.push_back(blob);
    std::mutex mutex;
    parallel_for(needed.size(), options_.jobs, [&](size_t i) {
      const oci::Descriptor& blob = needed[i];
      const registry::Placed placed = to_.place(blob, from_, [&](uint64_t at) {
        if (options_.watch) options_.watch(blob, at, std::nullopt);
      });
      if (options_.watch) options_.watch(blob, blob.size, placed);
      std::lock_guard lock(mutex);
      if (placed == registry::Placed::kSent) copied_.sent++, copied_.sent_bytes += blob.size;
      if (placed == registry::Placed::kMounted) copied_.mounted++;
      if (placed == registry::Placed::kThere) copied_.there++;
    });
  }

  CopySource& from_;
  CopyTarget& to_;
  const CopyOptions& options_;
  std::set<Digest> seen_, placed_;
  Pushed copied_;
};

}  // namespace

Pushed copy(CopySource& from, CopyTarget& to, const CopyOptions& options) {
  return Copy(from, to, options).run();
}

}  // namespace corten::image
