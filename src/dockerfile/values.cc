#include "dockerfile/values.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/signals.h"
#include "base/strings.h"

namespace corten::dockerfile {

namespace {

std::optional<uint16_t> parse_port(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  auto value = parse_int(text);
  if (!value || *value > 65535) return std::nullopt;
  return static_cast<uint16_t>(*value);
}

struct PortRange {
  uint16_t first, last;
};

std::optional<PortRange> parse_port_range(std::string_view text) {
  size_t dash = text.find('-');
  auto first = parse_port(text.substr(0, dash));
  auto last = dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1));
  if (!first || !last || *last < *first) return std::nullopt;
  return PortRange{*first, *last};
}

}  // namespace

PortSpec parse_port_spec(std::string_view text) {
  PortSpec spec;
  std::string_view rest = text;
  size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    spec.protocol_as_written = std::string(rest.substr(slash + 1));
    rest = rest.substr(0, slash);
  }
  spec.protocol = spec.protocol_as_written.empty() ? "tcp" : to_lower(spec.protocol_as_written);
  size_t colon = rest.rfind(':');
  std::string_view port = colon == std::string_view::npos ? rest : rest.substr(colon + 1);
  if (port.empty()) fail(ErrorCode::kInvalid, "invalid port: {}: no port specified", quote(text));
  if (spec.protocol != "tcp" && spec.protocol != "udp" && spec.protocol != "sctp")
    fail(ErrorCode::kInvalid, "invalid proto: {}", spec.protocol_as_written);
  auto range = parse_port_range(port);
  if (!range) fail(ErrorCode::kInvalid, "invalid containerPort: {}", port);
  if (colon != std::string_view::npos) {
    spec.has_host_part = true;
    std::string_view host = rest.substr(0, colon);
    // ip:host, [ip]:host, or host alone; the host's port may be left out.
    size_t separator = host.rfind(':');
    std::string_view host_port = separator == std::string_view::npos ? host : host.substr(separator + 1);
    if (!host_port.empty() && !parse_port_range(host_port))
      fail(ErrorCode::kInvalid, "invalid hostPort: {}", host_port);
  }
  spec.first = range->first;
  spec.last = range->last;
  return spec;
}

std::vector<std::string> PortSpec::config_keys() const {
  std::vector<std::string> keys;
  for (int port = first; port <= last; port++) keys.push_back(fmt::format("{}/{}", port, protocol));
  return keys;
}

namespace {
constexpr uint32_t kSetUid = 04000, kSetGid = 02000, kSticky = 01000;
constexpr uint32_t kUser = kSetUid | 0700, kGroup = kSetGid | 0070, kOthers = kSticky | 0007;
}  // namespace

ModeChange ModeChange::parse(std::string_view text) {
  ModeChange change;
  change.text_ = std::string(text);
  if (text.empty()) return change;
  if (text[0] >= '0' && text[0] <= '9') {
    change.octal_ = parse_octal(text);
    if (!change.octal_ || *change.octal_ > 07777)
      fail(ErrorCode::kInvalid,
           "invalid chmod parameter: '{}'. it should be octal string and between 0 and 07777", text);
    return change;
  }
  try {
    change.clauses_ = parse_symbolic(text);
  } catch (Error& error) {
    error.set_hint(fmt::format("chmod parameter '{}': octal like 0755, or symbolic like u=rwX,go-w", text));
    throw;
  }
  return change;
}

std::vector<ModeChange::Clause> ModeChange::parse_symbolic(std::string_view text) {
  std::vector<Clause> clauses;
  constexpr std::string_view kOperations = "+-=";
  for (const std::string& part : split(text, ',')) {
    size_t at = 0;
    uint32_t who = 0;
    for (; at < part.size(); at++) {
      if (part[at] == 'u')
        who |= kUser;
      else if (part[at] == 'g')
        who |= kGroup;
      else if (part[at] == 'o')
        who |= kOthers;
      else if (part[at] == 'a')
        who |= kUser | kGroup | kOthers;
      else
        break;
    }
    if (who == 0) who = kUser | kGroup | kOthers;
    if (at == part.size()) fail(ErrorCode::kInvalid, "invalid syntax");
    while (at < part.size()) {
      if (kOperations.find(part[at]) == std::string_view::npos) fail(ErrorCode::kInvalid, "invalid syntax");
      Clause clause;
      clause.who = who;
      clause.operation = static_cast<Operation>(part[at++]);
      bool is_copy = at < part.size() && std::string_view("ugo").find(part[at]) != std::string_view::npos;
      if (is_copy) {
        clause.copied_shift = part[at] == 'u' ? 6 : part[at] == 'g' ? 3 : 0;
        at++;
      }
      for (; !is_copy && at < part.size(); at++) {
        char c = part[at];
        if (c == 'r')
          clause.bits |= 0444;
        else if (c == 'w')
          clause.bits |= 0222;
        else if (c == 'x')
          clause.bits |= 0111;
        else if (c == 'X')
          clause.conditional_execute = true;
        else if (c == 's')
          clause.bits |= kSetUid | kSetGid;
        else if (c == 't')
          clause.bits |= kSticky;
        else
          break;
      }
      clauses.push_back(clause);
    }
  }
  return clauses;
}

uint32_t ModeChange::apply(uint32_t mode, bool is_directory) const {
  if (octal_) return *octal_;
  // X asks what the file was before the first clause, as BuildKit's parser does.
  bool was_executable = is_directory || (mode & 0111);
  for (const Clause& clause : clauses_) {
    uint32_t bits = clause.bits;
    if (clause.conditional_execute && was_executable) bits |= 0111;
    if (clause.copied_shift >= 0) bits = ((mode >> clause.copied_shift) & 7) * 0111;
    bits &= clause.who;
    // chmod(1) leaves setuid and setgid of a directory alone unless `s` asks for them.
    uint32_t cleared = clause.who;
    if (is_directory) cleared &= ~(kSetUid | kSetGid);
    switch (clause.operation) {
      case Operation::kAdd:
        mode |= bits;
        break;
      case Operation::kRemove:
        mode &= ~bits;
        break;
      case Operation::kSet:
        mode = (mode & ~cleared) | bits;
        break;
    }
  }
  return mode;
}

OwnerSpec parse_owner(std::string_view text) {
  auto number_of = [](std::string_view name) -> std::optional<uint32_t> {
    if (name == "root") return 0;
    if (name.empty() || name.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    auto value = parse_int(name);
    if (!value || *value > UINT32_MAX) return std::nullopt;
    return static_cast<uint32_t>(*value);
  };
  OwnerSpec spec;
  size_t colon = text.find(':');
  spec.user = std::string(text.substr(0, colon));
  spec.uid = spec.user.empty() ? 0 : number_of(spec.user);
  if (colon != std::string_view::npos) {
    spec.group = std::string(text.substr(colon + 1));
    spec.gid = number_of(*spec.group);
  }
  return spec;
}

int64_t parse_duration_ns(std::string_view text) {
  auto invalid = [&] { fail(ErrorCode::kInvalid, "time: invalid duration {}", quote(text)); };
  static const std::map<std::string_view, double> kUnits = {{"ns", 1},        {"us", 1e3},  {"\u00B5s", 1e3},
                                                            {"\u03BCs", 1e3}, {"ms", 1e6},  {"s", 1e9},
                                                            {"m", 60e9},      {"h", 3600e9}};
  std::string_view rest = text;
  bool is_negative = !rest.empty() && rest[0] == '-';
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) rest.remove_prefix(1);
  if (rest == "0") return 0;
  if (rest.empty()) invalid();
  long double total = 0;
  while (!rest.empty()) {
    size_t length = std::min(rest.find_first_not_of("0123456789."), rest.size());
    std::string number(rest.substr(0, length));
    if (number.empty() || number == "." || std::count(number.begin(), number.end(), '.') > 1 ||
        number.size() > 40)
      invalid();
    rest.remove_prefix(length);
    size_t unit_length = std::min(rest.find_first_of("0123456789."), rest.size());
    std::string_view unit = rest.substr(0, unit_length);
    if (unit.empty()) fail(ErrorCode::kInvalid, "time: missing unit in duration {}", quote(text));
    auto known = kUnits.find(unit);
    if (known == kUnits.end())
      fail(ErrorCode::kInvalid, "time: unknown unit {} in duration {}", quote(unit), quote(text));
    total += std::strtold(number.c_str(), nullptr) * known->second;
    rest.remove_prefix(unit_length);
    if (total > 9.2e18L) invalid();
  }
  int64_t value = static_cast<int64_t>(total);
  return is_negative ? -value : value;
}

std::string format_duration(int64_t nanoseconds) {
  if (nanoseconds == 0) return "0s";
  std::string sign = nanoseconds < 0 ? "-" : "";
  uint64_t rest =
      nanoseconds < 0 ? 0 - static_cast<uint64_t>(nanoseconds) : static_cast<uint64_t>(nanoseconds);
  auto fraction = [](uint64_t value, uint64_t unit) {
    std::string text = std::to_string(value / unit);
    std::string decimals = std::to_string(unit + value % unit).substr(1);
    while (!decimals.empty() && decimals.back() == '0') decimals.pop_back();
    return decimals.empty() ? text : text + "." + decimals;
  };
  if (rest < 1000) return sign + std::to_string(rest) + "ns";
  if (rest < 1000'000) return sign + fraction(rest, 1000) + "\u00B5s";
  if (rest < 1000'000'000) return sign + fraction(rest, 1000'000) + "ms";
  constexpr uint64_t kMinute = 60'000'000'000, kHour = 60 * kMinute;
  std::string text = sign;
  if (rest >= kHour) text += std::to_string(rest / kHour) + "h";
  if (rest >= kMinute) text += std::to_string(rest % kHour / kMinute) + "m";
  return text + fraction(rest % kMinute, 1000'000'000) + "s";
}

void check_stop_signal(std::string_view text) {
  if (!parse_signal(text)) fail(ErrorCode::kInvalid, "invalid signal: {}", text);
}

int stop_signal_number(std::string_view text) {
  if (text.empty()) return 15;
  auto number = parse_signal(text);
  if (!number) fail(ErrorCode::kInvalid, "invalid signal: {}", text);
  return *number;
}

}  // namespace corten::dockerfile
