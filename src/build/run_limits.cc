#include "build/run_limits.h"

#include <poll.h>
#include <signal.h>
#include <sys/statvfs.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/signals.h"
#include "base/strings.h"
#include "sandbox/ulimit.h"

namespace corten::build {

void check_limits(const Request& request) {
  if (request.limits.any()) sandbox::ControlGroup::make(request.limits);
}

RunLimits::RunLimits(const Request& request, std::string store)
    : request_(request), store_(std::move(store)), kills_before_(sandbox::machine_out_of_memory_kills()) {
  if (request.limits.any()) group_.emplace(sandbox::ControlGroup::make(request.limits));
}

void RunLimits::add_to(sandbox::Spec& spec) const {
  for (const std::string& text : request_.ulimits) spec.limits.push_back(sandbox::parse_ulimit(text));
  if (group_) spec.cgroup_entrances = group_->entrances();
}

sandbox::Exit RunLimits::wait(sandbox::Process& process) {
  if (request_.step_timeout_ns) {
    int64_t end = monotonic_ns() + request_.step_timeout_ns;
    for (int64_t left; (left = end - monotonic_ns()) > 0;) {
      constexpr int64_t kLongest = 60'000'000'000;
      pollfd ended{.fd = process.pidfd(), .events = POLLIN, .revents = 0};
      if (poll(&ended, 1, static_cast<int>(std::min(left, kLongest) / 1'000'000 + 1)) > 0) break;
    }
    pollfd ended{.fd = process.pidfd(), .events = POLLIN, .revents = 0};
    is_late_ = poll(&ended, 1, 0) == 0;
    if (is_late_) process.kill();
  }
  sandbox::Exit exit = process.wait();
  if (group_) use_ = group_->use();
  if (use_.peak_bytes) exit.use.max_resident_bytes = *use_.peak_bytes;
  return exit;
}

// Which --ulimit it was. The kernel kills at the hard limit of processor time; process 1 does not even hear
// SIGXCPU.
std::string RunLimits::ulimit_text(int signal, int64_t processor_ns) const {
  constexpr double kNear = 0.8;  // the limit is kept by ticks, the use by nanoseconds
  for (const std::string& text : request_.ulimits) {
    sandbox::ResourceLimit limit = sandbox::parse_ulimit(text);
    bool is_time = limit.resource == RLIMIT_CPU && (signal == SIGXCPU || signal == SIGKILL) &&
                   static_cast<double>(processor_ns) >= kNear * 1e9 * static_cast<double>(limit.soft);
    bool is_size = limit.resource == RLIMIT_FSIZE && signal == SIGXFSZ;
    if (is_time)
      return fmt::format(", limit {} (--ulimit), used {}", text,
                         format_duration(processor_ns / 1'000'000 * 1'000'000));
    if (is_size) return fmt::format(", limit {} (--ulimit)", text);
  }
  return "";
}

Error RunLimits::failure(const std::string& command, const sandbox::Exit& exit) const {
  std::string text =
      fmt::format("process {} did not complete successfully: exit code: {}", quote(command), exit.code);
  if (is_late_)
    return Error(ErrorCode::kFailed, fmt::format("{}: killed after {}: its time was over", text,
                                                 format_duration(request_.step_timeout_ns)))
        .with_hint("give it more: --step-timeout");
  std::string peak = use_.peak_bytes ? fmt::format(", peak {}", human_size(*use_.peak_bytes)) : "";
  if (use_.killed && request_.limits.memory_bytes)
    return Error(ErrorCode::kFailed, fmt::format("{}: out of memory: limit {}{}", text,
                                                 human_size(*request_.limits.memory_bytes), peak))
        .with_hint("give it more: --resource memory=SIZE");
  // A shell says 128 and the number when one of its programs was killed.
  constexpr int kSignalBase = 128, kHighest = 64;
  int signal = exit.signal                                                      ? exit.signal
               : exit.code > kSignalBase && exit.code <= kSignalBase + kHighest ? exit.code - kSignalBase
                                                                                : 0;
  if (signal == SIGKILL && sandbox::machine_out_of_memory_kills() > kills_before_)
    return Error(ErrorCode::kFailed,
                 fmt::format("{}: out of memory: the kernel killed a process meanwhile{}", text, peak))
        .with_hint("the machine, or the control group that corten runs in, has too little memory for it");
  if (struct statvfs disk; statvfs(store_.c_str(), &disk) == 0) {
    constexpr uint64_t kFull = 1 << 20;
    uint64_t left = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
    if (left < kFull || (disk.f_files && disk.f_favail == 0))
      return Error(ErrorCode::kFailed,
                   fmt::format("{}: the disk is full: {} has {}{} left", text, store_, human_size(left),
                               disk.f_files && disk.f_favail == 0 ? " and no inodes" : ""))
          .with_hint("make room: 'corten prune', 'corten du'");
  }
  if (signal) {
    text +=
        fmt::format(": {} by {}", exit.signal ? "killed" : "a program of it was killed", signal_name(signal));
    text += ulimit_text(signal, exit.use.user_ns + exit.use.system_ns);
  }
  return Error(ErrorCode::kFailed, text);
}

}  // namespace corten::build
