#include "dockerfile/glob.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "dockerfile/limits.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

namespace {

// Matching walks a set of pattern positions over the value, one character at a time: no backtracking, so the
// work is bounded by pattern times value (times value again for a replacement), and the bound is checked.
constexpr uint64_t kMostSteps = 20'000'000;

enum class TokenKind : uint8_t { kLiteral, kAnyOne, kAnyRun };

struct Token {
  TokenKind kind;
  uint32_t code;
};

std::vector<Token> parse_pattern(std::string_view pattern) {
  std::vector<Token> tokens;
  for (size_t at = 0; at < pattern.size();) {
    Rune rune = rune_at(pattern, at);
    at += rune.length;
    if (rune.code == '*') {
      tokens.push_back({TokenKind::kAnyRun, 0});
      continue;
    }
    if (rune.code == '?') {
      tokens.push_back({TokenKind::kAnyOne, 0});
      continue;
    }
    if (rune.code == '\\') {
      // Escaped only to keep it from ending the ${}: the backslash is not part of the pattern.
      if (at < pattern.size() && (pattern[at] == '}' || pattern[at] == '/')) continue;
      std::string_view escaped =
          at < pattern.size() ? pattern.substr(at, rune_at(pattern, at).length) : std::string_view();
      if (escaped != "*" && escaped != "?" && escaped != "\\")
        fail(ErrorCode::kInvalid, "invalid pattern ({}) in substitution: invalid escape '\\{}'", pattern,
             escaped);
      rune = rune_at(pattern, at);
      at += rune.length;
    }
    tokens.push_back({TokenKind::kLiteral, rune.code});
  }
  return tokens;
}

struct Text {
  std::vector<uint32_t> codes;
  std::vector<size_t> offsets;  // of each character, and the end

  explicit Text(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      Rune rune = rune_at(text, at);
      codes.push_back(rune.code);
      offsets.push_back(at);
      at += rune.length;
    }
    offsets.push_back(text.size());
  }
};

class Matcher {
 public:
  explicit Matcher(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // How many characters from `begin` on the pattern takes.
  std::optional<size_t> match_at(const std::vector<uint32_t>& codes, size_t begin, GlobReach reach) {
    std::vector<char> here(tokens_.size() + 1, 0);
    std::vector<char> next(tokens_.size() + 1, 0);
    add(here, 0);
    std::optional<size_t> longest;
    for (size_t at = begin;; at++) {
      if (here.back()) {
        longest = at - begin;
        if (reach == GlobReach::kShortest) break;
      }
      if (at == codes.size()) break;
      steps_ += tokens_.size() + 1;
      if (steps_ > kMostSteps)
        fail(ErrorCode::kInvalid, "pattern and value in substitution are too large to match");
      std::fill(next.begin(), next.end(), 0);
      bool alive = false;
      for (size_t i = 0; i < tokens_.size(); i++) {
        if (!here[i] || !takes(tokens_[i], codes[at])) continue;
        add(next, tokens_[i].kind == TokenKind::kAnyRun ? i : i + 1);
        alive = true;
      }
      if (!alive) break;
      here.swap(next);
    }
    return longest;
  }

 private:
  static bool takes(const Token& token, uint32_t code) {
    return token.kind == TokenKind::kLiteral ? token.code == code : code != '\n';
  }
  // A position in front of `*` is also one behind it.
  void add(std::vector<char>& set, size_t i) const {
    while (!set[i]) {
      set[i] = 1;
      if (i == tokens_.size() || tokens_[i].kind != TokenKind::kAnyRun) return;
      i++;
    }
  }

  std::vector<Token> tokens_;
  uint64_t steps_ = 0;
};

}  // namespace

std::string trim_matching_prefix(std::string_view pattern, std::string_view value, GlobReach reach) {
  Text text(value);
  auto taken = Matcher(parse_pattern(pattern)).match_at(text.codes, 0, reach);
  return std::string(value.substr(taken ? text.offsets[*taken] : 0));
}

std::string trim_matching_suffix(std::string_view pattern, std::string_view value, GlobReach reach) {
  std::vector<Token> tokens = parse_pattern(pattern);
  std::reverse(tokens.begin(), tokens.end());
  Text text(value);
  std::vector<uint32_t> backwards(text.codes.rbegin(), text.codes.rend());
  auto taken = Matcher(std::move(tokens)).match_at(backwards, 0, reach);
  return std::string(value.substr(0, text.offsets[text.codes.size() - taken.value_or(0)]));
}

std::string replace_matching(std::string_view pattern, std::string_view value, std::string_view replacement,
                             bool all) {
  Text text(value);
  Matcher matcher(parse_pattern(pattern));
  std::string result;
  size_t copied = 0;  // characters
  auto copy_until = [&](size_t end) {
    result += value.substr(text.offsets[copied], text.offsets[end] - text.offsets[copied]);
    copied = end;
  };
  for (size_t at = 0; at <= text.codes.size();) {
    auto taken = matcher.match_at(text.codes, at, GlobReach::kLongest);
    if (!taken) {
      at++;
      continue;
    }
    // An empty match right behind another match is none (Go's regexp, and sed).
    bool is_behind_match = *taken == 0 && at == copied && at != 0;
    copy_until(at);
    if (!is_behind_match) result += replacement;
    if (result.size() > value.size() + kMostGrowthBytes)
      fail(ErrorCode::kInvalid, "the result is longer than {} bytes", value.size() + kMostGrowthBytes);
    copied = at + *taken;
    if (!all) break;
    at = std::max(at + 1, copied);
  }
  copy_until(text.codes.size());
  return result;
}

}  // namespace corten::dockerfile
