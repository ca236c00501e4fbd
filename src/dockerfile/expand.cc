#include "dockerfile/expand.h"

#include "base/error.h"
#include "base/strings.h"
#include "dockerfile/glob.h"
#include "dockerfile/limits.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

namespace {

constexpr int kDeepestNesting = 200;
constexpr char32_t kNoStop = 0xFFFFFFFF;

// Collects the words of process_words(): what came from quotes or escapes never splits.
class WordList {
 public:
  void add(std::string_view rune, uint32_t code) {
    if (!is_space(code)) return add_protected(rune);
    if (in_word_ && !word_.empty()) finish();
  }
  void add_protected(std::string_view text) {
    word_ += text;
    in_word_ = true;
  }
  void add_splitting(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      Rune rune = rune_at(text, at);
      add(text.substr(at, rune.length), rune.code);
      at += rune.length;
    }
  }
  std::vector<std::string> take() {
    if (!word_.empty()) finish();
    return std::move(words_);
  }

 private:
  void finish() {
    words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }
  std::string word_;
  std::vector<std::string> words_;
  bool in_word_ = false;
};

class Scanner {
 public:
  Scanner(std::string_view text, const Environment& environment, const ExpandOptions& options, Expansion& out)
      : text_(text), environment_(environment), options_(options), out_(out) {}

  struct Piece {
    std::string text;
    std::vector<std::string> words;
  };

  // Up to the end, or past the stop character.
  Piece scan_until(char32_t stop, bool keep_escapes) {
    if (++depth_ > kDeepestNesting)
      fail(ErrorCode::kInvalid, "substitutions are nested more than {} deep", kDeepestNesting);
    bool outer_keep = keep_escapes_;
    keep_escapes_ = keep_escapes;
    Piece piece = scan_pieces(stop);
    keep_escapes_ = outer_keep;
    depth_--;
    return piece;
  }

 private:
  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool next_is(char c) const { return !at_end() && text_[at_] == c; }

  std::string_view take() {
    Rune rune = rune_at(text_, at_);
    std::string_view result = text_.substr(at_, rune.length);
    at_ += rune.length;
    return result;
  }

  Piece scan_pieces(char32_t stop) {
    std::string result;
    WordList words;
    while (!at_end()) {
      check_size(result);
      char c = peek();
      if (stop != kNoStop && static_cast<char32_t>(static_cast<unsigned char>(c)) == stop) {
        at_++;
        return {std::move(result), words.take()};
      }
      if (c == '$') {
        std::string value = scan_dollar();
        words.add_splitting(value);
        result += value;
      } else if (c == '<') {
        std::string mark = scan_heredoc_mark();
        words.add_protected(mark);
        result += mark;
      } else if (c == '\'' && !options_.plain_quotes) {
        std::string quoted = scan_single_quotes();
        words.add_protected(quoted);
        result += quoted;
      } else if (c == '"' && !options_.plain_quotes) {
        std::string quoted = scan_double_quotes();
        words.add_protected(quoted);
        result += quoted;
      } else if (c == options_.escape) {
        at_++;
        if (keep_escapes_) words.add_protected(std::string_view(&c, 1)), result += c;
        if (at_end()) break;  // an escape character at the very end is dropped
        std::string_view rune = take();
        words.add_protected(rune);
        result += rune;
      } else {
        uint32_t code = rune_at(text_, at_).code;
        std::string_view rune = take();
        words.add(rune, code);
        result += rune;
      }
    }
    if (stop != kNoStop)
      fail(ErrorCode::kInvalid, "unexpected end of statement while looking for matching {}",
           static_cast<char>(stop));
    check_size(result);
    return {std::move(result), words.take()};
  }

  void check_size(const std::string& result) const {
    if (result.size() > text_.size() + kMostGrowthBytes)
      fail(ErrorCode::kInvalid, "the result is longer than {} bytes", text_.size() + kMostGrowthBytes);
  }

  // `<<` and the blanks behind it stay with the word that follows, so that the parser finds heredocs.
  std::string scan_heredoc_mark() {
    std::string result(take());
    if (!next_is('<')) return result;
    result += take();
    if (next_is('-')) result += take();
    while (next_is(' ') || next_is('\t')) result += take();
    return result;
  }

  std::string scan_single_quotes() {
    std::string result;
    std::string_view quote = take();
    if (options_.keep_quotes) result += quote;
    while (!at_end()) {
      bool is_last = next_is('\'');
      std::string_view rune = take();
      if (!is_last || options_.keep_quotes) result += rune;
      if (is_last) return result;
    }
    fail(ErrorCode::kInvalid, "unexpected end of statement while looking for matching single-quote");
  }

  std::string scan_double_quotes() {
    std::string result;
    std::string_view quote = take();
    if (options_.keep_quotes) result += quote;
    while (!at_end()) {
      check_size(result);
      if (next_is('"')) {
        at_++;
        if (options_.keep_quotes) result += '"';
        return result;
      }
      if (next_is('$')) {
        result += scan_dollar();
        continue;
      }
      std::string_view rune = take();
      if (rune[0] == options_.escape) {
        if (keep_escapes_) result += rune;
        if (at_end()) continue;
        // Only these can be escaped; in front of others the escape character is one of the text.
        bool is_escapable = next_is('"') || next_is('$') || next_is(options_.escape);
        if (is_escapable)
          rune = take();
        else if (keep_escapes_)
          continue;
      }
      result += rune;
    }
    fail(ErrorCode::kInvalid, "unexpected end of statement while looking for matching double-quote");
  }

  // $name, or "$" alone when no name follows.
  std::string scan_dollar() {
    at_++;
    if (next_is('{')) return scan_braces();
    std::string name = scan_name();
    if (name.empty()) return "$";
    auto value = look_up(name);
    if (!value && options_.keep_unset) return "$" + name;
    return value.value_or("");
  }

  std::string scan_braces() {
    at_++;
    if (at_end()) fail(ErrorCode::kInvalid, "syntax error: missing '}}'");
    if (next_is('{') || next_is('}') || next_is(':'))
      fail(ErrorCode::kInvalid, "syntax error: bad substitution");
    std::string name = scan_name();
    if (at_end()) fail(ErrorCode::kInvalid, "syntax error: missing '}}'");
    std::string modifier(take());
    if (modifier == "}") {
      auto value = look_up(name);
      if (!value && options_.keep_unset) return "${" + name + "}";
      return value.value_or("");
    }
    if (modifier == "/") return scan_replacement(name);
    bool empty_is_unset = modifier == ":";
    if (empty_is_unset && !at_end()) modifier += take();
    if (modifier.find_last_of("+-?#%") != modifier.size() - 1) fail_modifier(modifier);
    return apply_modifier(name, modifier, empty_is_unset);
  }

  [[noreturn]] static void fail_modifier(std::string_view modifier) {
    fail(ErrorCode::kInvalid, "unsupported modifier ({}) in substitution", modifier);
  }

  // The text up to the closing character; an end of the text before it has a message of its own.
  std::string scan_operand(char stop, bool keep_escapes, const char* message_at_end) {
    try {
      return scan_until(static_cast<unsigned char>(stop), keep_escapes).text;
    } catch (const Error& error) {
      if (at_end()) fail(ErrorCode::kInvalid, "{}", message_at_end);
      throw;
    }
  }

  std::string apply_modifier(const std::string& name, const std::string& modifier, bool empty_is_unset) {
    char kind = modifier.back();
    bool is_trim = kind == '#' || kind == '%';
    std::string word = scan_operand('}', is_trim, "syntax error: missing '}'");
    auto value = look_up(name);
    if (!value && options_.keep_unset) return "${" + name + modifier + word + "}";
    bool is_missing = !value || (empty_is_unset && value->empty());
    switch (kind) {
      case '-':
        return is_missing ? word : *value;
      case '+':
        return is_missing ? "" : word;
      case '?':
        if (is_missing && !word.empty()) fail(ErrorCode::kInvalid, "{}: {}", name, word);
        if (is_missing)
          fail(ErrorCode::kInvalid, "{}: is not allowed to be {}", name, value ? "empty" : "unset");
        return *value;
    }
    if (empty_is_unset) fail_modifier(modifier);
    bool is_double = !word.empty() && word[0] == kind;
    std::string_view pattern = std::string_view(word).substr(is_double ? 1 : 0);
    GlobReach reach = is_double ? GlobReach::kLongest : GlobReach::kShortest;
    return kind == '#' ? trim_matching_prefix(pattern, value.value_or(""), reach)
                       : trim_matching_suffix(pattern, value.value_or(""), reach);
  }

  std::string scan_replacement(const std::string& name) {
    bool all = next_is('/');
    if (all) at_++;
    std::string pattern = scan_operand('/', true, "syntax error: missing '/' in ${}");
    std::string replacement = scan_operand('}', true, "syntax error: missing '}'");
    auto value = look_up(name);
    if (!value && options_.keep_unset)
      return "${" + name + (all ? "//" : "/") + pattern + "/" + replacement + "}";
    return replace_matching(pattern, value.value_or(""), replacement, all);
  }

  // A run of digits, one special parameter, or letters, digits and underscores.
  std::string scan_name() {
    std::string name;
    if (!at_end() && isdigit(static_cast<unsigned char>(peek()))) {
      while (!at_end() && isdigit(static_cast<unsigned char>(peek()))) name += take();
      return name;
    }
    if (!at_end() && std::string_view("@*#?-$!").find(peek()) != std::string_view::npos)
      return std::string(take());
    while (!at_end() && is_name_rune(rune_at(text_, at_).code)) name += take();
    return name;
  }

  std::optional<std::string> look_up(const std::string& name) {
    auto value = environment_.get(name);
    (value ? out_.matched : out_.unmatched).insert(name);
    return value;
  }

  std::string_view text_;
  const Environment& environment_;
  const ExpandOptions& options_;
  Expansion& out_;
  size_t at_ = 0;
  int depth_ = 0;
  bool keep_escapes_ = false;
};

}  // namespace

std::optional<std::string> MapEnvironment::get(std::string_view name) const {
  auto found = values_.find(name);
  if (found != values_.end()) return found->second;
  if (ignore_case_)
    for (const auto& [key, value] : values_)
      if (iequals(key, name)) return value;
  return std::nullopt;
}

Expansion expand(std::string_view word, const Environment& environment, const ExpandOptions& options) {
  Expansion result;
  try {
    auto piece = Scanner(word, environment, options, result).scan_until(kNoStop, options.keep_escapes);
    result.text = std::move(piece.text);
    result.words = std::move(piece.words);
  } catch (Error& error) {
    constexpr size_t kShown = 1000;
    std::string shown = quote(word.substr(0, kShown));
    if (word.size() > kShown) shown += fmt::format("... ({} bytes)", word.size());
    error.add_context("failed to process " + shown);
    throw;
  }
  return result;
}

std::string process_word(std::string_view word, const Environment& environment,
                         const ExpandOptions& options) {
  return expand(word, environment, options).text;
}

std::vector<std::string> process_words(std::string_view word, const Environment& environment,
                                       const ExpandOptions& options) {
  return expand(word, environment, options).words;
}

std::string expand_heredoc(std::string_view body, const Environment& environment) {
  return expand(body, environment, {.plain_quotes = true}).text;
}

}  // namespace corten::dockerfile
