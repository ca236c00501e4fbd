#include "registry/server/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/strings.h"

namespace corten::registry::serving {

std::string access_line(const Finished& request) {
  Json line = Json::object(
      {{"time", format_rfc3339(request.begun_ns / 1'000'000'000, request.begun_ns % 1'000'000'000)},
       {"client", request.peer},
       {"method", printable(request.method)},
       {"target", printable(request.target)},
       {"status", static_cast<int>(request.status)},
       {"received", request.received},
       {"sent", request.sent},
       {"milliseconds", static_cast<double>(request.took_ns) / 1e6}});
  if (!request.user.empty()) line.set("user", printable(request.user));
  if (!request.agent.empty()) line.set("agent", printable(request.agent));
  return line.dump() + "\n";
}

AccessLog::AccessLog(const std::string& path) {
  if (path == "-") {
    file_ = STDERR_FILENO;
  } else {
    own_ = open_file(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
    file_ = own_.get();
  }
}

// A log that cannot be written to stops no request.
void AccessLog::add(const Finished& request) {
  const std::string line = access_line(request);
  std::lock_guard lock(mutex_);
  if (::write(file_, line.data(), line.size()) < 0) return;
}

}  // namespace corten::registry::serving
