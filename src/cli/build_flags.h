// The flags of `corten build`: docker buildx build's, as far as they are executed. Unknown ones are errors;
// those of old Docker that mean nothing here are taken, with a warning where buildx warns.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "build/request.h"
#include "cache/spec.h"
#include "cli/app.h"
#include "cli/build_calls.h"
#include "cli/output_spec.h"
#include "report/progress.h"

namespace corten::cli {

enum class Pull { kMissing, kAlways, kNever };  // of base images

struct BuildFlags {
  std::string context;
  std::string file;  // -f
  std::string on;    // --on: where else it is built
  std::vector<std::string> tags;
  std::vector<OutputSpec> outputs;
  std::vector<image::AnnotationRule> annotations;  // of --annotation: for all outputs
  std::vector<std::string> build_args, build_contexts, labels, secrets, ssh, no_cache_filter, ulimits,
      extra_hosts, platforms;
  std::string target, network = "default", iidfile, metadata_file, timestamps = "layer", progress, shm_size,
                      size_budget, max_size, min_free;
  std::string load_to;                 // --load=podman; "" is the store alone
  std::vector<std::string> immutable;  // patterns of tags that --push does not move
  Pull pull = Pull::kMissing;
  std::vector<cache::Spec> cache_from, cache_to;
  Call call;  // --call, --check
  sandbox::ResourceLimits limits;
  int64_t step_timeout_ns = 0;
  bool no_cache = false, allows_insecure = false, load = false, quiet = false, trace = false;
};

// Error(kUsage) for what cannot be read, Error(kUnsupported) for what is not executed yet.
BuildFlags parse_build_flags(const Arguments& arguments, const std::string& command_name);

}  // namespace corten::cli
