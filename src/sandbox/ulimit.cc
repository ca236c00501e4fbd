#include "sandbox/ulimit.h"

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"

namespace corten::sandbox {

ResourceLimit parse_ulimit(std::string_view text) {
  static const std::map<std::string, int, std::less<>> kNames = {
      {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
      {"data", RLIMIT_DATA},         {"fsize", RLIMIT_FSIZE},
      {"locks", RLIMIT_LOCKS},       {"memlock", RLIMIT_MEMLOCK},
      {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
      {"nofile", RLIMIT_NOFILE},     {"nproc", RLIMIT_NPROC},
      {"rss", RLIMIT_RSS},           {"rtprio", RLIMIT_RTPRIO},
      {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
      {"stack", RLIMIT_STACK}};
  size_t equals = text.find('=');
  if (equals == std::string_view::npos) fail(ErrorCode::kUsage, "invalid ulimit argument: {}", text);
  auto name = kNames.find(text.substr(0, equals));
  if (name == kNames.end()) {
    std::vector<std::string> names;
    for (const auto& [known, number] : kNames) names.push_back(known);
    fail(ErrorCode::kUsage, "invalid ulimit type: {}{}", text.substr(0, equals),
         did_you_mean(text.substr(0, equals), names));
  }
  auto value_of = [&](std::string_view number) {
    auto value = parse_int(number);
    if (!value || *value < -1) fail(ErrorCode::kUsage, "invalid ulimit value: {}", text);
    return *value == -1 ? RLIM_INFINITY : static_cast<rlim_t>(*value);
  };
  std::string_view values = text.substr(equals + 1);
  size_t colon = values.find(':');
  rlim_t soft = value_of(values.substr(0, colon));
  rlim_t hard = colon == std::string_view::npos ? soft : value_of(values.substr(colon + 1));
  if (hard != RLIM_INFINITY && (soft == RLIM_INFINITY || soft > hard))
    fail(ErrorCode::kUsage, "ulimit soft limit must be less than or equal to hard limit: {}", text);
  return {name->second, soft, hard};
}

}  // namespace corten::sandbox
