// How large a Dockerfile may be, and what its variables may grow to. A file is foreign input: sixty lines of
// `ARG a=$a$a` ask for more memory than there is, and ten thousand stages on one another for time without
// end. Each limit lies far above what people and their generators write, and is refused by name.
#pragma once
#include <cstddef>

#include "base/error.h"

namespace corten::dockerfile {

inline constexpr size_t kMostStages = 1000;
inline constexpr size_t kMostInstructions = 10'000;
// What expansion may add to one word. Linux itself gives a process no variable beyond 128 KiB.
inline constexpr size_t kMostGrowthBytes = 1 << 20;
// What one build may hold of values, of histories, and of the copies that stages on stages inherit.
inline constexpr size_t kMostExpandedBytes = 64 << 20;

// Counts towards kMostExpandedBytes. Not thread-safe; one for each walk through a file.
class ExpansionBudget {
 public:
  // Throws Error(kInvalid).
  void take(size_t bytes) {
    taken_ += bytes;
    if (taken_ > kMostExpandedBytes)
      throw Error(ErrorCode::kInvalid, fmt::format("variables and history of this file take more than {} MiB",
                                                   kMostExpandedBytes >> 20))
          .with_hint("a variable that holds itself several times doubles with each line");
  }

 private:
  size_t taken_ = 0;
};

}  // namespace corten::dockerfile
