// What a finished build leaves: the image in the store, archives, files, and what scripts read.
#pragma once
#include <string>
#include <vector>

#include "build/solve.h"
#include "cli/build_flags.h"
#include "store/store.h"

namespace corten::cli {

struct FinishedBuild {
  store::Image image;
  std::string manifest_digest;  // "" until something was exported
};

// Makes the image of the target stage and every output. `vertex` is the progress line that it reports on.
FinishedBuild write_outputs(const build::BuildResult& result, const build::Request& request,
                            const BuildFlags& flags, store::Store& store, build::Events& events, int vertex);

}  // namespace corten::cli
