// A build as BuildKit's solver sees it: operations over the results of operations, each with the digest that
// BuildKit's records have for it.
//
// BuildKit names an operation by a JSON text of its own: the process and its mounts, the list of file
// actions. The text holds nothing of the inputs; these are named by the keys of the operations that made
// them, together with a *selector* (which part is meant), or else by the digest of the content that is meant.
// So an operation is found in a cache when its digest is there and each input is: by key, or by content.
//
// What is built here knows nothing of Dockerfiles (buildkit_plan.h does that), and what cannot be said
// exactly as BuildKit says it has to stay out: an operation that is not described is found nowhere.
// Source: BuildKit v0.32.2, solver/llbsolver/ops and client/llb, as measured (docs/decisions/0012).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "oci/platform.h"

namespace corten::cache {

// What of an input's files counts, when it is known by its content.
struct BuildkitPath {
  std::string path;
  bool follows_links = false;
  bool is_pattern = false;
  std::vector<std::string> includes = {}, excludes = {};  // patterns, relative to what `path` means
  bool is_filtered() const { return is_pattern || !includes.empty() || !excludes.empty(); }
  auto operator<=>(const BuildkitPath&) const = default;
};

// A place in BuildkitGraph::nodes. The empty root file system is none.
using BuildkitNodeId = int;
inline constexpr BuildkitNodeId kNoBuildkitNode = -1;

struct BuildkitInput {
  BuildkitNodeId node = kNoBuildkitNode;
  std::string selector;                              // a digest as text, or ""
  std::optional<std::vector<BuildkitPath>> content;  // it may be known by the content of these, too
};

struct BuildkitNode {
  // Digests of the operation; a source of files has several names. None: no record can be this.
  std::vector<Digest> digests;
  std::vector<BuildkitInput> inputs;
  std::optional<size_t> base;  // of the inputs: the one that the result's uppermost layer lies on
};

// --- What an operation is made of ---
struct BuildkitMount {
  enum class Kind { kBind = 0, kCache = 3, kTmpfs = 4 } kind = Kind::kBind;
  BuildkitNodeId node = kNoBuildkitNode;
  std::string target, selector;
  bool is_read_only = false;
  std::string cache_id;
  int sharing = 0;  // shared, private, locked
  uint64_t size = 0;
};

struct BuildkitSecret {
  std::string id;
  std::optional<std::string> target, variable;
  uint32_t uid = 0, gid = 0, mode = 0400;
  bool is_optional = true;
};

struct BuildkitExec {
  BuildkitNodeId root = kNoBuildkitNode;
  std::vector<std::string> args, environment;
  std::string directory = "/", user, hostname;
  int network = 0;  // its own, the host's, none
  bool is_insecure = false;
  oci::Platform platform;
  std::vector<BuildkitMount> mounts;
  std::vector<BuildkitSecret> secrets;
};

// "app", "33"; an id is a decimal number.
struct BuildkitOwner {
  std::optional<std::string> user, group;
};

struct BuildkitMkdir {
  std::string path;
  uint32_t mode = 0755;
  bool makes_parents = true;
  std::optional<BuildkitOwner> owner;
};

struct BuildkitMkfile {
  std::string path, content;
  uint32_t mode = 0644;
};

struct BuildkitCopy {
  BuildkitNodeId from = kNoBuildkitNode;
  std::string source, destination;
  std::optional<BuildkitOwner> owner;
  std::optional<uint32_t> mode;
  std::string symbolic_mode;
  bool is_plain = false;  // one file, by its name: no links followed, no patterns
  bool unpacks = false;
  std::vector<std::string> includes = {}, excludes = {}, required = {};
};

using BuildkitAction = std::variant<BuildkitMkdir, BuildkitMkfile, BuildkitCopy>;

// Nodes come after their inputs. What is the same operation on the same inputs is one node.
class BuildkitGraph {
 public:
  const std::vector<BuildkitNode>& nodes() const { return nodes_; }
  const BuildkitNode& node(BuildkitNodeId id) const { return nodes_[static_cast<size_t>(id)]; }

  // Files that no key names: a context, by its name, or what could not be described.
  BuildkitNodeId add_nameless(const std::string& name);
  BuildkitNodeId add_unknown();
  BuildkitNodeId add_image(const std::vector<Digest>& manifests, const std::vector<DiffId>& diff_ids,
                           const oci::Platform& platform);
  // Error(kInvalid) for text that is not UTF-8, Error(kUnsupported) for an owner that is a number with a
  // sign. Two mounts in one place are unknown: BuildKit's sort is not stable.
  BuildkitNodeId add_exec(const BuildkitExec& exec);
  BuildkitNodeId add_files(BuildkitNodeId base, const std::vector<BuildkitAction>& actions);
  BuildkitNodeId add_merge(BuildkitNodeId lower, BuildkitNodeId upper);

 private:
  BuildkitNodeId add(BuildkitNode node);

  std::vector<BuildkitNode> nodes_;
  std::map<std::string, BuildkitNodeId> known_;
};

// Whether BuildKit reads it as a pattern: an escaped character makes none.
bool is_buildkit_pattern(std::string_view text);

// The digest that a record has for output `index` of an operation; of content the index is -1.
Digest buildkit_record_digest(const Digest& operation, int index);

}  // namespace corten::cache
