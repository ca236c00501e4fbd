// One JSON object a line for each request: time, client, user, method, target, status, bytes, duration.
#pragma once
#include <mutex>
#include <string>

#include "base/unique_fd.h"
#include "registry/server/metrics.h"

namespace corten::registry::serving {

std::string access_line(const Finished& request);

// Thread-safe. Lines are appended whole, so that the file may be shared or moved away (the server keeps the
// open one until it is started again).
class AccessLog {
 public:
  // "-" is standard error.
  explicit AccessLog(const std::string& path);
  void add(const Finished& request);

 private:
  std::mutex mutex_;
  UniqueFd own_;
  int file_ = -1;
};

}  // namespace corten::registry::serving
