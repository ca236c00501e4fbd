#include "registry/challenge.h"

#include <algorithm>

#include "base/strings.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxField = 16 << 10, kMaxChallenges = 16, kMaxParameters = 16;

bool is_token_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::vector<Challenge> read() {
    while (skip(" \t,"), at_ < text_.size()) {
      const std::string_view word = token();
      if (word.empty()) break;
      skip(" \t");
      if (peek() == '=' && !found_.empty()) {
        at_++;
        skip(" \t");
        if (!read_value(word)) break;
        continue;
      }
      if (found_.size() == kMaxChallenges) break;
      found_.push_back({to_lower(word), {}});
      skip_token68();
    }
    return std::move(found_);
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip(std::string_view set) {
    while (at_ < text_.size() && set.find(text_[at_]) != std::string_view::npos) at_++;
  }
  std::string_view token() {
    const size_t begin = at_;
    while (at_ < text_.size() && is_token_char(text_[at_])) at_++;
    return text_.substr(begin, at_ - begin);
  }

  // "Negotiate YWJj==": one word in place of parameters. It stands right behind the scheme, and behind it
  // nothing but a comma.
  void skip_token68() {
    size_t end = at_;
    while (end < text_.size() && (is_token_char(text_[end]) || text_[end] == '/')) end++;
    while (end < text_.size() && text_[end] == '=') end++;
    if (end == at_) return;
    size_t behind = end;
    while (behind < text_.size() && (text_[behind] == ' ' || text_[behind] == '\t')) behind++;
    if (behind == text_.size() || text_[behind] == ',') at_ = behind;
  }

  // False when the rest cannot be understood.
  bool read_value(std::string_view name) {
    std::string value;
    if (peek() == '"') {
      at_++;
      while (at_ < text_.size() && text_[at_] != '"') {
        if (text_[at_] == '\\' && at_ + 1 < text_.size()) at_++;
        value += text_[at_++];
      }
      if (at_ == text_.size()) return false;  // never closed
      at_++;
    } else {
      const size_t begin = at_;  // laxer than a token: servers leave the quotes out
      while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != ' ' && text_[at_] != '\t') at_++;
      value = text_.substr(begin, at_ - begin);
    }
    const bool is_clean = std::none_of(
        value.begin(), value.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
    Challenge& last = found_.back();
    if (is_clean && last.parameters.size() < kMaxParameters)
      last.parameters.emplace_back(to_lower(name), std::move(value));
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
  std::vector<Challenge> found_;
};

}  // namespace

std::string Challenge::parameter(std::string_view name) const {
  for (const auto& [known, value] : parameters)
    if (known == name) return value;
  return {};
}

std::vector<Challenge> parse_challenges(std::string_view field) {
  return Reader(field.substr(0, kMaxField)).read();
}

}  // namespace corten::registry
