// What a build is asked for: a plain value and the places that sources come from.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dockerfile/ignore.h"
#include "oci/platform.h"
#include "sandbox/cgroup.h"
#include "source/base_image.h"
#include "source/ssh_agent.h"
#include "store/tree.h"

namespace corten::build {

enum class Timestamps {
  kLayer,   // DESIGN, "Time": times that nobody set are the layer's
  kSource,  // BuildKit's: a checkout's times, and the clock's
};

struct Secret {
  std::string value;
};

// What ADD names by address: an http(s) file or a git repository.
struct RemoteSource {
  std::string address;  // as written, expanded
  bool is_git = false;
  std::optional<bool> keep_git_dir;  // --keep-git-dir
  std::string checksum;              // sha256:... or a commit
  bool operator==(const RemoteSource&) const = default;
};

struct RemoteTree {
  std::shared_ptr<const store::Tree> tree;  // its contents are in the store
  std::string file;                         // the one file in it; "" when all of it is meant
};

// What a build takes from outside, asked for by name while the plan is made. Implementations are thread-safe.
// Who wants to know how a fetch goes on. Called from the thread that fetches; both may be empty.
struct FetchWatch {
  std::function<void(std::string_view)> note;  // what is waited for: "fetching https://..."
  std::function<void(uint64_t current, uint64_t total)>
      progress;  // bytes; total 0 when the server does not say
};

class Sources {
 public:
  virtual ~Sources() = default;
  // The main context; null when the build has none (Dockerfile on standard input).
  virtual std::shared_ptr<const store::Tree> main_context() = 0;
  // `--build-context NAME=...`: a tree, or an image, or nothing by that name.
  virtual std::shared_ptr<const store::Tree> named_tree(const std::string& name) = 0;
  virtual std::optional<source::BaseImage> named_image(const std::string& name,
                                                       const oci::Platform& platform) = 0;
  virtual bool has_named(const std::string& name) = 0;
  // An image by reference. Error(kNotFound) says where it was looked for and what to do.
  virtual source::BaseImage image(const std::string& reference, const oci::Platform& platform) = 0;
  // Fetches it, or finds it unchanged.
  virtual RemoteTree remote(const RemoteSource& source, const FetchWatch& watch) = 0;
  // Whether the ignore rules hide this path of the main context (for the words of an error).
  virtual bool is_ignored(const RootfsPath&) { return false; }
  // The ignore rules of the main context, for the checks; null when it has none.
  virtual const dockerfile::IgnoreMatcher* ignore_matcher() { return nullptr; }
};

struct Request {
  std::string dockerfile;       // the text
  std::string dockerfile_name;  // as errors show it
  std::string project;  // tells builds of one thing from others: a tag, or the context; no part of any key
  std::string target;
  bool all_stages = false;  // look at every stage, not only at what the target needs
  std::map<std::string, std::string> build_args;
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<oci::Platform> platforms;  // one image each; normalised, at least one, none twice
  oci::Platform build_platform;          // this machine's
  bool platform_given = false;
  bool is_index = false;  // the result is an index: several platforms, or one and BUILDKIT_MULTI_PLATFORM
  // Why programs of another architecture cannot be run here; "" when they can. Asked only for a RUN that
  // needs it; unset: nothing but our own architecture runs.
  std::function<std::string(const oci::Platform&)> why_not_run;
  // Why no RUN at all can be executed here, and the line that mends it; "" when it can.
  std::string no_run, no_run_hint;
  std::map<std::string, Secret> secrets;
  std::map<std::string, std::shared_ptr<source::SshAgent>> ssh;  // by id
  std::string network = "default";                               // default, none, host
  bool allows_insecure = false;                                  // RUN --security=insecure may be run
  bool no_cache = false;
  std::set<std::string> no_cache_stages;  // lower case
  Timestamps timestamps = Timestamps::kLayer;
  std::optional<int64_t> source_date_epoch;                      // seconds
  std::vector<std::pair<std::string, std::string>> extra_hosts;  // name, address
  std::vector<std::string> ulimits;                              // "nofile=1024:2048"
  sandbox::ResourceLimits limits;  // of each RUN; change no result, so they are in no key
  int64_t step_timeout_ns = 0;     // of each RUN, from the start of its process; 0: none
  uint64_t shm_bytes = 64 << 20;
  std::map<std::string, std::string> proxies;  // HTTP_PROXY ... as the host has them; never part of a key
  unsigned threads = 1;
};

}  // namespace corten::build
