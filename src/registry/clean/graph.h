// What may be deleted from a repository, and why; pure.
//
// Cleaners destroy images because they look at one manifest at a time: an "untagged" manifest is a platform
// of a tagged index, an SBOM or a signature of a tagged image, a child of a child. This one looks at the
// whole: it starts from the tags, walks
//
//   tag -> manifest;  index -> its manifests (children, attestations among them);  manifest -> its subject;
//   manifest -> what refers to it (subject fields), the fallback tag sha256-HEX, cosign's sha256-HEX.sig,
//   .att, .sbom
//
// and deletes nothing that can be reached from anything that stays. What it cannot know, it keeps: a tag
// whose age nobody tells, a manifest that was pushed a moment ago (its index may be on its way), signatures
// of images that are somewhere else. When a manifest that stays cannot be read, nobody can say what it
// reaches, and no manifest is deleted at all.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace corten::registry::clean {

// A manifest or an index. Digests are texts: other algorithms than SHA-256 count too.
struct Node {
  std::string digest, media_type, artifact_type;
  uint64_t size = 0;                                    // of the manifest itself
  std::vector<std::pair<std::string, uint64_t>> blobs;  // configuration and layers, with their sizes
  std::vector<std::string> children;                    // of an index
  std::string subject;                                  // what it refers to
  std::optional<int64_t> pushed_s, created_s;           // since 1970; by the registry, by the image itself
  bool is_locked = false;                               // the registry forbids its deletion
  bool is_readable = true;                              // false: what it reaches is not known
};

struct Snapshot {
  std::map<std::string, std::string> tags;  // to digests
  std::map<std::string, Node> nodes;        // by digest; what a tag or an index names and is not here is gone
};

struct Rules {
  std::vector<std::string> tags;        // patterns (path.Match); none: every tag
  std::optional<int64_t> older_than_s;  // seconds
  std::optional<int> keep_last;         // manifests, the newest of those that the patterns name
  bool untagged = false;                // manifests that no tag reaches
  std::set<std::string> in_use_digests, in_use_tags;
  // An age beside `untagged` alone is about what is untagged: who cleans up after his builds does not mean
  // old releases.
  bool names_tags() const { return !tags.empty() || keep_last || (older_than_s && !untagged); }
};

// Untagged manifests that are younger are kept, whatever the rules: a push sends children before their index.
inline constexpr int64_t kYoungestUntagged_s = 3600;

struct Verdict {
  std::string name;  // a tag, or a digest
  bool is_deleted = false;
  std::string reason;  // of either
  bool operator==(const Verdict&) const = default;
};

struct Plan {
  std::vector<Verdict> tags, manifests;  // each tag and each manifest of the snapshot, by name
  std::vector<std::string> removals;     // digests, in this order: an index before its children, a subject
                                         // before what refers to it
  std::vector<std::string> untags;       // tags that go while their manifest stays
  uint64_t bytes = 0;                    // of manifests and blobs that nothing else in the repository has
  std::string blocked_by;                // a manifest that stays and cannot be read: removals is empty then
};

Plan plan_cleaning(const Snapshot& snapshot, const Rules& rules, int64_t now_s);

// "sha256:HEX" for "sha256-HEX", "sha256-HEX.sig", ".att", ".sbom"; "" for other tags (distribution-spec,
// "Referrers Tag Schema"; cosign's SIGNATURE_SPEC.md).
std::string subject_of_tag(const std::string& tag);

}  // namespace corten::registry::clean
