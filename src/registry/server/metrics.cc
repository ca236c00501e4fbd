#include "registry/server/metrics.h"

#include <fmt/core.h>

#include <algorithm>

namespace corten::registry::serving {

namespace {

// Methods are the client's words: only known ones become a label.
std::string known_method(const std::string& method) {
  constexpr std::string_view kKnown[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
  return std::find(std::begin(kKnown), std::end(kKnown), method) == std::end(kKnown) ? "other" : method;
}

void add(std::string& text, std::string_view name, std::string_view kind, std::string_view help) {
  text += fmt::format("# HELP corten_registry_{} {}\n# TYPE corten_registry_{} {}\n", name, help, name, kind);
}

}  // namespace

void Metrics::count(const Finished& request) {
  const double seconds = static_cast<double>(request.took_ns) / 1e9;
  const size_t bucket =
      static_cast<size_t>(std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin());
  std::lock_guard lock(mutex_);
  requests_[{known_method(request.method), request.status}]++;
  durations_[bucket]++;
  seconds_ += seconds;
  received_ += request.received;
  sent_ += request.sent;
}

std::string Metrics::text(const std::map<std::string, uint64_t>& more) const {
  std::string text;
  std::lock_guard lock(mutex_);
  add(text, "requests_total", "counter", "requests answered");
  for (const auto& [key, count] : requests_)
    text += fmt::format("corten_registry_requests_total{{method=\"{}\",code=\"{}\"}} {}\n", key.first,
                        key.second, count);
  add(text, "request_duration_seconds", "histogram", "from a request's first byte to the last of its answer");
  uint64_t sum = 0;
  for (size_t i = 0; i < kBounds.size(); i++) {
    sum += durations_[i];
    text += fmt::format("corten_registry_request_duration_seconds_bucket{{le=\"{}\"}} {}\n", kBounds[i], sum);
  }
  sum += durations_.back();
  text += fmt::format("corten_registry_request_duration_seconds_bucket{{le=\"+Inf\"}} {}\n", sum);
  text += fmt::format("corten_registry_request_duration_seconds_sum {:.6f}\n", seconds_);
  text += fmt::format("corten_registry_request_duration_seconds_count {}\n", sum);
  add(text, "received_bytes_total", "counter", "bytes of requests' bodies");
  text += fmt::format("corten_registry_received_bytes_total {}\n", received_);
  add(text, "sent_bytes_total", "counter", "bytes of answers' bodies");
  text += fmt::format("corten_registry_sent_bytes_total {}\n", sent_);
  add(text, "collected_files_total", "counter", "blobs and uploads that garbage collection removed");
  text += fmt::format("corten_registry_collected_files_total {}\n", collected_files.load());
  add(text, "connections", "gauge", "open connections");
  text += fmt::format("corten_registry_connections {}\n", connections.load());
  for (const auto& [name, value] : more) {
    add(text, name, "gauge", "now");
    text += fmt::format("corten_registry_{} {}\n", name, value);
  }
  return text;
}

}  // namespace corten::registry::serving
