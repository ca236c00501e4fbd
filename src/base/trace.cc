#include "base/trace.h"

#include <time.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "base/clock.h"

namespace corten {

namespace {

struct Sum {
  uint64_t count = 0;
  int64_t ns = 0, cpu_ns = 0;
};

struct Trace {
  bool is_on = false;
  int64_t began_ns = 0;
  std::mutex mutex;
  std::map<std::string_view, Sum> sums;
};

Trace& trace() {
  static Trace the_trace;
  return the_trace;
}

thread_local TraceSpan* innermost = nullptr;

int64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

double milliseconds(int64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

}  // namespace

void start_tracing() {
  trace().is_on = true;
  trace().began_ns = monotonic_ns();
}

TraceSpan::TraceSpan(const char* name) : name_(trace().is_on ? name : nullptr) {
  if (!name_) return;
  outer_ = innermost;
  innermost = this;
  began_ns_ = monotonic_ns();
  cpu_began_ns_ = clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

TraceSpan::~TraceSpan() {
  if (!name_) return;
  int64_t took = monotonic_ns() - began_ns_, cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_began_ns_;
  innermost = outer_;
  if (outer_) {
    outer_->inner_ns_ += took;
    outer_->inner_cpu_ns_ += cpu;
  }
  std::lock_guard lock(trace().mutex);
  Sum& sum = trace().sums[name_];
  sum.count++;
  sum.ns += took - inner_ns_;
  sum.cpu_ns += cpu - inner_cpu_ns_;
}

std::string trace_report() {
  std::lock_guard lock(trace().mutex);
  std::vector<std::pair<std::string_view, Sum>> sums(trace().sums.begin(), trace().sums.end());
  std::stable_sort(sums.begin(), sums.end(),
                   [](const auto& a, const auto& b) { return a.second.ns > b.second.ns; });
  std::string text = fmt::format("{:>10} {:>10} {:>8}  {}\n", "ms", "cpu ms", "times", "in");
  for (const auto& [name, sum] : sums)
    text += fmt::format("{:>10.1f} {:>10.1f} {:>8}  {}\n", milliseconds(sum.ns), milliseconds(sum.cpu_ns),
                        sum.count, name);
  timespec cpu{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  text += fmt::format("{:>10.1f} {:>10.1f} {:>8}  the whole command\n",
                      milliseconds(monotonic_ns() - trace().began_ns),
                      milliseconds(cpu.tv_sec * 1'000'000'000 + cpu.tv_nsec), "");
  return text;
}

}  // namespace corten
