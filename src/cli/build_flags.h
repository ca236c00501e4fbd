// The flags of `corten build`: docker buildx build's, as far as they are executed. Unknown ones are errors;
// those of old Docker that mean nothing here are taken and said so.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "build/request.h"
#include "cli/app.h"
#include "cli/build_calls.h"
#include "report/progress.h"

namespace corten::cli {

struct OutputSpec {
  std::string type;  // oci, docker, local, tar, image
  std::string dest;  // a path; "-": standard output; "": none
  std::map<std::string, std::string> attributes;
};

// `type=oci,dest=x`, a bare directory, or `-`. Error(kUsage).
OutputSpec parse_output(std::string_view text);

struct BuildFlags {
  std::string context;
  std::string file;  // -f
  std::vector<std::string> tags;
  std::vector<OutputSpec> outputs;
  std::vector<std::string> build_args, build_contexts, labels, secrets, ssh, no_cache_filter, ulimits,
      extra_hosts, platforms;
  std::string target, network = "default", iidfile, metadata_file, timestamps = "layer", progress, shm_size,
                      size_budget;
  Call call;  // --call, --check
  bool no_cache = false, load = false, quiet = false;
};

// Error(kUsage) for what cannot be read, Error(kUnsupported) for what is not executed yet.
BuildFlags parse_build_flags(const Arguments& arguments, const std::string& command_name);

// key=value[,key=value]; CSV quoting as buildx has it.
std::map<std::string, std::string> parse_attributes(std::string_view text);

}  // namespace corten::cli
