#include "report/progress.h"

#include <stdlib.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/strings.h"
#include "report/terminal_text.h"

namespace corten::report {

ProgressMode parse_progress_mode(std::string_view text) {
  if (text == "auto" || text.empty()) return ProgressMode::kAuto;
  if (text == "tty") return ProgressMode::kTty;
  if (text == "plain") return ProgressMode::kPlain;
  if (text == "rawjson") return ProgressMode::kRawJson;
  if (text == "quiet" || text == "none") return ProgressMode::kQuiet;
  throw Error(ErrorCode::kUsage, fmt::format("invalid progress mode {}", text))
      .with_hint("it is one of auto, tty, plain, rawjson, quiet");
}

LogGroups log_groups_of_environment() {
  auto is_true = [](const char* name) {
    const char* value = getenv(name);
    return value && to_lower(value) == "true";
  };
  if (is_true("GITHUB_ACTIONS")) return LogGroups::kGitHub;
  if (is_true("GITLAB_CI")) return LogGroups::kGitLab;
  return is_true("TF_BUILD") ? LogGroups::kAzure : LogGroups::kNone;
}

std::unique_ptr<Progress> make_progress(const ProgressOptions& options) {
  switch (options.mode) {
    case ProgressMode::kAuto:
      return isatty(options.fd) ? make_tty_progress(options) : make_plain_progress(options);
    case ProgressMode::kTty:
      return make_tty_progress(options);
    case ProgressMode::kPlain:
      return make_plain_progress(options);
    case ProgressMode::kRawJson:
      return make_rawjson_progress(options);
    case ProgressMode::kQuiet:
      break;
  }
  return std::make_unique<Progress>();
}

void LineSplitter::add(std::string_view bytes, const std::function<void(std::string_view)>& line) {
  constexpr size_t kLongest = 64 << 10;  // a line without an end is shown in pieces
  for (char c : bytes) {
    if (c == '\n') {
      line(pending());
      rest_.clear();
      continue;
    }
    // A progress bar draws over itself: its last state counts.
    if (rest_.ends_with('\r')) {
      if (c == '\r') continue;
      rest_.clear();
    }
    rest_ += c;
    if (rest_.size() >= kLongest) {
      line(pending());
      rest_.clear();
    }
  }
}

std::string_view LineSplitter::pending() const {
  std::string_view text = rest_;
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

void LineSplitter::flush(const std::function<void(std::string_view)>& line) {
  if (!rest_.empty()) line(pending());
  rest_.clear();
}

std::string warnings_text(const std::vector<build::Warning>& warnings, const ProgressOptions& options) {
  if (warnings.empty()) return {};
  std::string head =
      warnings.size() == 1 ? " 1 warning found" : fmt::format(" {} warnings found", warnings.size());
  head += " (see the lines with --check):";
  if (options.color) head = fmt::format("\x1b[{}m{}\x1b[0m", options.colors.warning, head);
  std::string text = "\n" + head + "\n";
  for (const build::Warning& warning : warnings) {
    text += " - " + printable(warning.message);
    if (warning.where.line) text += fmt::format(" (line {})", warning.where.line);
    text += "\n";
    if (warning.where.line)
      text += fmt::format("   at {}:{}", printable(warning.where.file), warning.where.line);
    if (!warning.url.empty()) text += fmt::format("{} {}", warning.where.line ? "," : "   see", warning.url);
    text += "\n";
  }
  return text;
}

std::string seconds_text(int64_t ns) {
  return fmt::format("{:.1f}s", static_cast<double>(ns) / 1e9);
}

void ShownAmount::set(const build::Amount& amount, int64_t now_ns) {
  if (amount.what != amount_.what || amount.current < began_at_) {
    began_ns_ = now_ns;
    began_at_ = amount.current;
  }
  amount_ = amount;
}

std::string ShownAmount::text(int64_t now_ns) const {
  constexpr int64_t kLongEnoughNs = 1'000'000'000;
  std::string text = fmt::format("{} {}", one_line(amount_.what), human_size(amount_.current));
  if (amount_.total) text += " / " + human_size(amount_.total);
  if (amount_.is_complete) return text + " done";
  if (now_ns - began_ns_ < kLongEnoughNs || amount_.current <= began_at_) return text;
  const double rate =
      static_cast<double>(amount_.current - began_at_) / (static_cast<double>(now_ns - began_ns_) / 1e9);
  text += fmt::format(", {}/s", human_size(static_cast<uint64_t>(rate)));
  if (amount_.total > amount_.current)
    text += fmt::format(", {:.0f}s left", static_cast<double>(amount_.total - amount_.current) / rate);
  return text;
}

}  // namespace corten::report
