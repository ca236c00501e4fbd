// The Dockerfile's checks with all that a build knows: its arguments, its base images, its ignore file.
#pragma once
#include "build/request.h"
#include "dockerfile/lint.h"

namespace corten::build {

// `all_stages`: what `--check` looks at when it has no target; a build looks at the stages that it needs.
// A base image that cannot be found is no error here: what depends on it is not said. Throws Error(kInvalid)
// for check options that are none.
dockerfile::LintResult check_dockerfile(const Request& request, Sources& sources,
                                        const dockerfile::PartialDockerfile& file, bool all_stages);

}  // namespace corten::build
