#include "base/path.h"

#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace corten {

HostPath HostPath::operator/(std::string_view name) const {
  if (value.empty() || value.back() == '/') return {value + std::string(name)};
  return {value + "/" + std::string(name)};
}

std::string HostPath::parent() const {
  size_t slash = value.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : value.substr(0, slash);
}

std::string HostPath::filename() const {
  size_t slash = value.find_last_of('/');
  return slash == std::string::npos ? value : value.substr(slash + 1);
}

bool RootfsPath::is_clean(std::string_view path) {
  bool at_start = true;  // of a component
  for (size_t i = 0; i < path.size(); i++) {
    if (path[i] == '/' && at_start) return false;
    if (path[i] == '.' && at_start) {
      std::string_view rest = path.substr(i, std::min(path.find('/', i), path.size()) - i);
      if (rest == "." || rest == "..") return false;
    }
    at_start = path[i] == '/';
  }
  return path.empty() || !at_start;
}

RootfsPath::RootfsPath(std::string_view any) {
  if (is_clean(any)) {
    value_ = any;
    return;
  }
  std::vector<std::string_view> parts;
  size_t at = 0;
  while (at < any.size()) {
    size_t end = std::min(any.find('/', at), any.size());
    std::string_view part = any.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else
      parts.push_back(part);
  }
  for (std::string_view part : parts) {
    if (!value_.empty()) value_ += '/';
    value_ += part;
  }
}

RootfsPath RootfsPath::join(const RootfsPath& base, std::string_view path) {
  if (path.starts_with('/')) return RootfsPath(path);
  return RootfsPath(base.value_ + "/" + std::string(path));
}

RootfsPath RootfsPath::parent() const {
  RootfsPath path;
  size_t slash = value_.find_last_of('/');
  if (slash != std::string::npos) path.value_ = value_.substr(0, slash);
  return path;
}

std::string_view RootfsPath::filename() const {
  size_t slash = value_.find_last_of('/');
  std::string_view all = value_;
  return slash == std::string::npos ? all : all.substr(slash + 1);
}

RootfsPath RootfsPath::child(std::string_view name) const {
  RootfsPath path;
  path.value_ = value_.empty() ? std::string(name) : value_ + "/" + std::string(name);
  return path;
}

bool RootfsPath::is_within(const RootfsPath& directory) const {
  if (directory.value_.empty()) return true;
  return value_.starts_with(directory.value_) &&
         (value_.size() == directory.value_.size() || value_[directory.value_.size()] == '/');
}

std::vector<std::string> RootfsPath::components() const {
  return value_.empty() ? std::vector<std::string>() : split(value_, '/');
}

std::strong_ordering RootfsPath::compare(std::string_view a, std::string_view b) {
  size_t n = std::min(a.size(), b.size());
  size_t i = 0;
  for (; i + sizeof(uint64_t) <= n; i += sizeof(uint64_t)) {  // paths share their beginning
    uint64_t x, y;
    memcpy(&x, a.data() + i, sizeof x);
    memcpy(&y, b.data() + i, sizeof y);
    if (x != y) break;
  }
  while (i < n && a[i] == b[i]) i++;
  auto rank = [&](std::string_view s) {
    return i == s.size() ? 0 : s[i] == '/' ? 1 : 2 + static_cast<uint8_t>(s[i]);
  };
  return rank(a) <=> rank(b);
}

std::string clean_path(std::string_view path) {
  bool rooted = path.starts_with('/');
  std::vector<std::string> parts;
  for (const std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == ".." && !parts.empty() && parts.back() != "..")
      parts.pop_back();
    else if (part == ".." && rooted)
      continue;
    else
      parts.push_back(part);
  }
  std::string text = (rooted ? "/" : "") + join(parts, "/");
  return text.empty() ? "." : text;
}

bool has_glob(std::string_view pattern) {
  return pattern.find_first_of("*?[\\") != std::string_view::npos;
}

namespace {
[[noreturn]] void bad_pattern() {
  fail(ErrorCode::kInvalid, "syntax error in pattern");
}

// One UTF-8 character, or one byte where the text is not UTF-8.
std::string_view take_char(std::string_view& text) {
  size_t length = 1;
  uint8_t c = static_cast<uint8_t>(text[0]);
  if (c >= 0xC0)
    while (length < text.size() && length < 4 && (static_cast<uint8_t>(text[length]) & 0xC0) == 0x80)
      length++;
  std::string_view character = text.substr(0, length);
  text.remove_prefix(length);
  return character;
}

std::string_view class_char(std::string_view& pattern) {
  if (pattern.empty() || pattern[0] == '-' || pattern[0] == ']') bad_pattern();
  if (pattern[0] == '\\') pattern.remove_prefix(1);
  if (pattern.empty()) bad_pattern();
  std::string_view c = take_char(pattern);
  if (pattern.empty()) bad_pattern();
  return c;
}

// Matches a [...] class after its '['; moves the pattern past it.
bool match_class(std::string_view& pattern, std::string_view character) {
  bool negated = pattern.starts_with('^');
  if (negated) pattern.remove_prefix(1);
  bool matched = false;
  for (int ranges = 0;; ranges++) {
    if (pattern.starts_with(']') && ranges > 0) {
      pattern.remove_prefix(1);
      break;
    }
    std::string_view low = class_char(pattern), high = low;
    if (pattern.starts_with('-')) {
      pattern.remove_prefix(1);
      high = class_char(pattern);
    }
    // UTF-8 keeps the order of code points byte by byte.
    if (low <= character && character <= high) matched = true;
  }
  return matched != negated;
}

// The pattern is checked to its end whether the name matches or not, so that a bad pattern is always an
// error.
void check_pattern(std::string_view pattern) {
  while (!pattern.empty()) {
    char c = pattern[0];
    pattern.remove_prefix(1);
    if (c == '\\') {
      if (pattern.empty()) bad_pattern();
      take_char(pattern);
    }
    if (c == '[') {
      if (pattern.empty()) bad_pattern();
      match_class(pattern, "x");
    }
  }
}

bool match_from(std::string_view pattern, std::string_view name) {
  while (!pattern.empty()) {
    if (pattern[0] == '*') {
      while (pattern.starts_with('*')) pattern.remove_prefix(1);
      for (std::string_view rest = name;; rest.remove_prefix(1)) {
        if (match_from(pattern, rest)) return true;
        if (rest.empty() || rest[0] == '/') return false;
      }
    }
    if (name.empty()) return false;
    char c = pattern[0];
    if (c == '?') {
      if (name[0] == '/') return false;
      pattern.remove_prefix(1);
      take_char(name);
    } else if (c == '[') {
      pattern.remove_prefix(1);
      std::string_view character = take_char(name);
      if (!match_class(pattern, character) || character == "/") return false;
    } else {
      if (c == '\\') pattern.remove_prefix(1);
      if (take_char(pattern) != take_char(name)) return false;
    }
  }
  return name.empty();
}
}  // namespace

bool match_glob(std::string_view pattern, std::string_view name) {
  check_pattern(pattern);
  return match_from(pattern, name);
}

}  // namespace corten
