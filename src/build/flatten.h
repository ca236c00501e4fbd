// Two layers made one.
#pragma once
#include "store/manifest.h"

namespace corten::build {

// What is seen when `upper` lies on `lower`, which stands on nothing. A directory that both have, alike but
// for its time, has the lower one's time if that is set: what a process touched in passing keeps the time
// that its package gave it.
store::Manifest flatten(std::shared_ptr<const store::Manifest> lower,
                        std::shared_ptr<const store::Manifest> upper);

}  // namespace corten::build
