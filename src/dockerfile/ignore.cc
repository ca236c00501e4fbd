#include "dockerfile/ignore.h"

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

namespace {

enum class TokenKind : uint8_t {
  kLiteral,      // one character
  kOne,          // ? : one, no slash
  kRun,          // * : any number, no slash
  kAll,          // ** at the end: anything
  kDirectories,  // **/ in the middle, or ** before other text: nothing, or anything that ends in a slash
  kClass,        // [...]
};

struct Range {
  uint32_t first, last;
};

struct Token {
  TokenKind kind;
  uint32_t code = 0;
  bool is_negated = false;
  std::vector<Range> ranges;
};

[[noreturn]] void fail_pattern() {
  fail(ErrorCode::kInvalid, "syntax error in pattern");
}

class PatternReader {
 public:
  explicit PatternReader(std::string_view text) : text_(text) {}

  std::vector<Token> read() {
    std::vector<Token> tokens;
    while (at_ < text_.size()) {
      uint32_t code = take();
      if (code == '*') {
        tokens.push_back({read_star(), 0, false, {}});
      } else if (code == '?') {
        tokens.push_back({TokenKind::kOne, 0, false, {}});
      } else if (code == '[') {
        tokens.push_back(read_class());
      } else {
        if (code == '\\') {
          if (at_ == text_.size()) fail_pattern();
          code = take();
        }
        tokens.push_back({TokenKind::kLiteral, code, false, {}});
      }
    }
    return tokens;
  }

 private:
  uint32_t take() {
    Rune rune = rune_at(text_, at_);
    at_ += rune.length;
    return rune.code;
  }

  TokenKind read_star() {
    if (at_ == text_.size() || text_[at_] != '*') return TokenKind::kRun;
    at_++;
    if (at_ < text_.size() && text_[at_] == '/') at_++;
    return at_ == text_.size() ? TokenKind::kAll : TokenKind::kDirectories;
  }

  // As Go's filepath.Match checks it: a range of characters needs both ends, and `-` or `]` must be escaped.
  Token read_class() {
    Token token{TokenKind::kClass, 0, false, {}};
    if (at_ < text_.size() && text_[at_] == '^') {
      token.is_negated = true;
      at_++;
    }
    while (true) {
      if (at_ < text_.size() && text_[at_] == ']' && !token.ranges.empty()) break;
      uint32_t first = read_class_member();
      uint32_t last = first;
      if (at_ < text_.size() && text_[at_] == '-') {
        at_++;
        last = read_class_member();
      }
      if (last < first) fail_pattern();
      token.ranges.push_back({first, last});
    }
    at_++;
    return token;
  }

  uint32_t read_class_member() {
    if (at_ == text_.size() || text_[at_] == '-' || text_[at_] == ']') fail_pattern();
    if (text_[at_] == '\\') at_++;
    if (at_ == text_.size()) fail_pattern();
    uint32_t code = take();
    if (at_ == text_.size()) fail_pattern();
    return code;
  }

  std::string_view text_;
  size_t at_ = 0;
};

bool in_class(const Token& token, uint32_t code) {
  bool is_in = std::any_of(token.ranges.begin(), token.ranges.end(),
                           [&](const Range& range) { return code >= range.first && code <= range.last; });
  return is_in != token.is_negated;
}

}  // namespace

struct IgnoreMatcher::Pattern {
  std::string text;
  bool is_negation = false;
  bool is_literal = false;  // no wildcard: compare
  std::vector<Token> tokens;
  // How to recognise what lies below a `**` quickly and as patternmatcher does: `**x` alone is a bare suffix,
  // which needs no slash in front of it.
  bool is_suffix = false;
  std::string suffix;

  bool matches(std::string_view path) const;
  bool matches_tokens(std::string_view path) const;
  std::string literal_prefix() const;
};

bool IgnoreMatcher::Pattern::matches(std::string_view path) const {
  if (is_literal) return path == text;
  if (is_suffix) {
    if (path.size() >= suffix.size() && path.substr(path.size() - suffix.size()) == suffix) return true;
    return !suffix.empty() && suffix[0] == '/' && path == std::string_view(suffix).substr(1);
  }
  return matches_tokens(path);
}

// Walks the set of token positions over the path; no backtracking, so a hostile pattern costs pattern times
// path.
bool IgnoreMatcher::Pattern::matches_tokens(std::string_view path) const {
  std::vector<char> here(tokens.size() + 1, 0);
  std::vector<char> next(tokens.size() + 1, 0);
  // Behind `**/` stands whoever read nothing, or just read a slash; `inside` keeps those that are still
  // reading.
  std::vector<char> inside(tokens.size() + 1, 0);
  auto add = [&](std::vector<char>& set, size_t i) {
    while (!set[i]) {
      set[i] = 1;
      if (i == tokens.size()) return;
      TokenKind kind = tokens[i].kind;
      if (kind == TokenKind::kDirectories) inside[i] = 1;
      if (kind != TokenKind::kRun && kind != TokenKind::kAll && kind != TokenKind::kDirectories) return;
      i++;
    }
  };
  add(here, 0);
  for (size_t at = 0; at < path.size();) {
    Rune rune = rune_at(path, at);
    at += rune.length;
    std::fill(next.begin(), next.end(), 0);
    for (size_t i = 0; i < tokens.size(); i++) {
      if (inside[i] && rune.code == '/') add(next, i + 1);
      if (!here[i]) continue;
      const Token& token = tokens[i];
      switch (token.kind) {
        case TokenKind::kLiteral:
          if (rune.code == token.code) add(next, i + 1);
          break;
        case TokenKind::kOne:
          if (rune.code != '/') add(next, i + 1);
          break;
        case TokenKind::kRun:
          if (rune.code != '/') add(next, i);
          break;
        case TokenKind::kAll:
          add(next, i);
          break;
        case TokenKind::kClass:
          if (in_class(token, rune.code)) add(next, i + 1);
          break;
        case TokenKind::kDirectories:
          break;
      }
    }
    here.swap(next);
  }
  return here.back();
}

std::string IgnoreMatcher::Pattern::literal_prefix() const {
  if (is_literal) return text;
  std::string prefix = text.substr(0, text.find_first_of("*?[\\"));
  size_t slash = prefix.rfind('/');
  return slash == std::string::npos ? "" : prefix.substr(0, slash);
}

std::vector<std::string> parse_ignore_file(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.substr(0, 3) == kByteOrderMark) text.remove_prefix(3);
  std::vector<std::string> patterns;
  for (const std::string& line : split(text, '\n')) {
    if (!line.empty() && line[0] == '#') continue;
    std::string_view pattern = trim_space(line);
    if (pattern.empty()) continue;
    bool is_negation = pattern[0] == '!';
    if (is_negation) pattern = trim_space(pattern.substr(1));
    std::string cleaned;
    if (!pattern.empty()) {
      cleaned = clean_path(pattern);
      if (cleaned.size() > 1 && cleaned[0] == '/') cleaned.erase(0, 1);
    }
    patterns.push_back((is_negation ? "!" : "") + cleaned);
  }
  return patterns;
}

IgnoreMatcher::IgnoreMatcher() = default;
IgnoreMatcher::~IgnoreMatcher() = default;
IgnoreMatcher::IgnoreMatcher(IgnoreMatcher&&) noexcept = default;
IgnoreMatcher& IgnoreMatcher::operator=(IgnoreMatcher&&) noexcept = default;

IgnoreMatcher::IgnoreMatcher(const std::vector<std::string>& patterns) {
  for (const std::string& line : patterns) {
    std::string_view trimmed = trim_space(line);
    if (trimmed.empty()) continue;
    Pattern pattern;
    pattern.text = clean_path(trimmed);
    if (pattern.text[0] == '!') {
      if (pattern.text.size() == 1) fail(ErrorCode::kInvalid, "illegal exclusion pattern: \"!\"");
      pattern.is_negation = true;
      pattern.text.erase(0, 1);
      has_negations_ = true;
    }
    try {
      pattern.tokens = PatternReader(pattern.text).read();
    } catch (Error& error) {
      error.add_context(pattern.text);
      throw;
    }
    pattern.is_literal = std::all_of(pattern.tokens.begin(), pattern.tokens.end(),
                                     [](const Token& token) { return token.kind == TokenKind::kLiteral; }) &&
                         pattern.text.find('\\') == std::string::npos;
    bool only_suffix =
        pattern.text.substr(0, 2) == "**" && pattern.text.find_first_of("*?[]\\", 2) == std::string::npos;
    if (only_suffix) {
      pattern.is_suffix = true;
      pattern.suffix = pattern.text.substr(2);
    }
    patterns_.push_back(std::move(pattern));
  }
}

IgnoreMatcher::Match IgnoreMatcher::match(std::string_view path, const State& parent) const {
  Match result;
  result.state.resize(patterns_.size());
  bool has_parent = !parent.empty();
  for (size_t i = 0; i < patterns_.size(); i++) {
    const Pattern& pattern = patterns_[i];
    bool is_match = has_parent && parent[i];
    if (!is_match) {
      // A pattern that could not change the outcome is not asked, and so is not remembered for the children
      // either.
      if (pattern.is_negation != result.is_ignored) continue;
      is_match = pattern.matches(path);
      for (size_t slash = path.find('/'); !is_match && !has_parent && slash != std::string_view::npos;
           slash = path.find('/', slash + 1))
        is_match = pattern.matches(path.substr(0, slash));
    }
    result.state[i] = is_match;
    if (is_match) result.is_ignored = !pattern.is_negation;
  }
  return result;
}

bool IgnoreMatcher::is_ignored(std::string_view path) const {
  return match(path, {}).is_ignored;
}

bool IgnoreMatcher::can_prune(std::string_view directory) const {
  for (const Pattern& pattern : patterns_) {
    if (!pattern.is_negation) continue;
    std::string prefix = pattern.literal_prefix();
    auto is_at_or_below = [](std::string_view path, std::string_view top) {
      return top.empty() || path == top ||
             (path.size() > top.size() && path.substr(0, top.size()) == top && path[top.size()] == '/');
    };
    // Either the pattern's fixed part leads into the directory, or the directory lies where its wildcards
    // begin.
    if (is_at_or_below(prefix, directory) || (!pattern.is_literal && is_at_or_below(directory, prefix)))
      return false;
  }
  return true;
}

bool IgnoreMatcher::empty() const {
  return patterns_.empty();
}
bool IgnoreMatcher::has_negations() const {
  return has_negations_;
}

bool IgnoreMatcher::has_match_all() const {
  return std::any_of(patterns_.begin(), patterns_.end(), [](const Pattern& pattern) {
    return pattern.text == "*" || pattern.text == "**" || pattern.text == "**/*";
  });
}

}  // namespace corten::dockerfile
