// What the server counts, in Prometheus' text form (version 0.0.4).
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace corten::registry::serving {

// One request, as it ended.
struct Finished {
  std::string method, target, peer, user, agent;
  unsigned status = 0;
  uint64_t received = 0, sent = 0;  // bytes of bodies
  int64_t begun_ns = 0;             // wall clock
  int64_t took_ns = 0;
};

// Thread-safe.
class Metrics {
 public:
  void count(const Finished& request);
  // `more`: other gauges, by name.
  std::string text(const std::map<std::string, uint64_t>& more) const;

  std::atomic<int64_t> connections = 0;
  std::atomic<uint64_t> collected_files = 0;

 private:
  static constexpr std::array<double, 10> kBounds = {0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 10, 60};
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, unsigned>, uint64_t> requests_;  // by method and status
  std::array<uint64_t, kBounds.size() + 1> durations_{};
  double seconds_ = 0;
  uint64_t received_ = 0, sent_ = 0;
};

}  // namespace corten::registry::serving
