#include "dockerfile/arguments.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/json.h"
#include "base/strings.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

void LogicalLine::append(std::string_view text, int line, int column) {
  segments_.push_back({text_.size(), line, column});
  text_ += text;
}

std::pair<int, int> LogicalLine::place_of(size_t offset) const {
  auto after = std::upper_bound(segments_.begin(), segments_.end(), offset,
                                [](size_t value, const Segment& segment) { return value < segment.offset; });
  if (after == segments_.begin()) return {0, 0};
  const Segment& segment = *(after - 1);
  return {segment.line, segment.column + static_cast<int>(offset - segment.offset)};
}

SourceSpan LogicalLine::span_of(size_t begin, size_t end) const {
  SourceSpan span;
  span.file = file_;
  std::tie(span.line, span.column) = place_of(begin);
  // One past the last character, so that a word before a continuation ends on its own line.
  std::tie(span.end_line, span.end_column) = place_of(end > begin ? end - 1 : begin);
  if (end > begin) span.end_column++;
  return span;
}

namespace {

// The blanks that part words of a plain list (not the no-break spaces that is_space() knows).
bool is_list_blank(char c) {
  return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

// A stretch of the logical line.
struct Stretch {
  const LogicalLine& line;
  size_t begin;
  size_t end;

  std::string_view text() const { return std::string_view(line.text()).substr(begin, end - begin); }
  SourceSpan span() const { return line.span_of(begin, end); }
  Word word() const { return {std::string(text()), span()}; }
  Stretch from(size_t at) const { return {line, begin + at, end}; }
  Stretch part(size_t at, size_t length) const { return {line, begin + at, begin + at + length}; }
  Stretch trimmed() const {
    std::string_view inner = trim_space(text());
    return part(inner.empty() ? 0 : inner.data() - text().data(), inner.size());
  }
};

[[noreturn]] void fail_at(const SourceSpan& span, std::string message) {
  throw Error(ErrorCode::kInvalid, std::move(message)).with_span(span);
}

std::vector<Word> split_list(const Stretch& rest) {
  std::vector<Word> words;
  std::string_view text = rest.text();
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && !is_list_blank(text[end])) end++;
    if (end > at) words.push_back(rest.part(at, end - at).word());
    at = end;
    while (at < text.size() && is_list_blank(text[at])) at++;
  }
  return words;
}

// At blanks outside quotes. Quotes and escapes stay: they are resolved when the word is expanded.
std::vector<Word> split_quoted(const Stretch& rest, char escape) {
  std::vector<Word> words;
  std::string_view text = rest.text();
  size_t at = 0;
  while (at < text.size()) {
    Rune rune = rune_at(text, at);
    if (is_space(rune.code)) {
      at += rune.length;
      continue;
    }
    size_t begin = at;
    std::string word;
    char quote_char = 0;
    while (at < text.size()) {
      rune = rune_at(text, at);
      if (!quote_char && is_space(rune.code)) break;
      if (quote_char && rune.code == static_cast<uint32_t>(quote_char))
        quote_char = 0;
      else if (!quote_char && (rune.code == '"' || rune.code == '\''))
        quote_char = static_cast<char>(rune.code);
      if (rune.code == static_cast<uint32_t>(escape) && quote_char != '\'') {
        if (at + 1 == text.size()) {  // at the very end it is dropped
          at++;
          break;
        }
        word += escape;
        rune = rune_at(text, ++at);
      }
      word += text.substr(at, rune.length);
      at += rune.length;
    }
    if (!word.empty()) words.push_back({std::move(word), rest.part(begin, at - begin).span()});
  }
  return words;
}

// A JSON array of strings; nothing when it is no JSON array at all (then the text is a shell's).
std::optional<std::vector<Word>> parse_json_words(const Stretch& stretch) {
  Stretch rest = stretch.trimmed();
  std::string_view text = rest.text();
  if (text.empty() || text[0] != '[') return std::nullopt;
  Json value;
  try {
    value = Json::parse(text);
  } catch (const Error&) {
    return std::nullopt;
  }
  if (!value.is_array()) return std::nullopt;
  std::vector<Word> words;
  size_t at = 0;
  for (const Json& element : value.as_array()) {
    if (!element.is_string())
      fail_at(rest.span(), "when using JSON array syntax, arrays must be comprised of strings only");
    // All elements up to here are strings, so the next quote opens this one.
    size_t begin = std::min(text.find('"', at), text.size() - 1);
    at = begin + 1;
    while (at < text.size() && text[at] != '"') at += text[at] == '\\' ? 2 : 1;
    at = std::min(at + 1, text.size());
    words.push_back({element.as_string(), rest.part(begin, at - begin).span()});
  }
  return words;
}

void parse_json_or_text(Node& node, const Stretch& rest) {
  if (rest.text().empty()) return;
  if (auto words = parse_json_words(rest)) {
    node.is_json = true;
    node.args.insert(node.args.end(), words->begin(), words->end());
  } else {
    node.args.push_back(rest.word());
  }
}

void parse_json_or_list(Node& node, const Stretch& rest) {
  if (auto words = parse_json_words(rest)) {
    node.is_json = true;
    node.args = std::move(*words);
  } else {
    node.args = split_list(rest);
  }
}

// NAME=value words, or the old form: NAME and the rest of the line.
void parse_key_values(Node& node, const Stretch& rest, std::string_view command, char escape) {
  std::vector<Word> words = split_quoted(rest, escape);
  if (words.empty()) return;
  auto part_of = [](const Word& word, size_t begin, size_t end) {
    Word part{word.text.substr(begin, end - begin), word.span};
    if (word.span.line == word.span.end_line) {
      part.span.column = word.span.column + static_cast<int>(begin);
      if (end < word.text.size()) part.span.end_column = word.span.column + static_cast<int>(end);
    }
    return part;
  };
  if (words[0].text.find('=') == std::string::npos) {
    std::string_view text = rest.text();
    size_t end = 0;
    while (end < text.size() && !is_list_blank(text[end])) end++;
    if (end == text.size()) fail_at(rest.span(), fmt::format("{} must have two arguments", command));
    size_t value = end;
    while (value < text.size() && is_list_blank(text[value])) value++;
    node.args = {rest.part(0, end).word(), rest.from(value).word(), Word{"", rest.part(end, 0).span()}};
    return;
  }
  for (const Word& word : words) {
    size_t equals = word.text.find('=');
    if (equals == std::string::npos)
      fail_at(word.span, fmt::format("Syntax error - can't find = in {}. Must be of the form: name=value",
                                     quote(word.text)));
    node.args.push_back(part_of(word, 0, equals));
    node.args.push_back(part_of(word, equals + 1, word.text.size()));
    node.args.push_back({"=", part_of(word, equals, equals + 1).span});
  }
}

void parse_health(Node& node, const Stretch& rest) {
  std::string_view text = rest.text();
  size_t end = 0;
  while (end < text.size() && !is_space(static_cast<unsigned char>(text[end]))) end++;
  if (end == 0) return;
  node.args.push_back(rest.part(0, end).word());
  parse_json_or_text(node, rest.from(end).trimmed());
}

// Takes the leading --flags off; the stretch behind them is returned. Quotes go, the escape character
// protects.
Stretch take_flags(Node& node, const Stretch& rest, char escape) {
  std::string_view text = rest.text();
  size_t at = 0;
  while (true) {
    while (at < text.size() && is_space(static_cast<unsigned char>(text[at]))) at++;
    if (text.substr(at, 2) != "--") return rest.from(at);
    size_t begin = at;
    std::string word;
    char quote_char = 0;
    for (; at < text.size(); at++) {
      char c = text[at];
      if (!quote_char && is_space(static_cast<unsigned char>(c))) break;
      if (quote_char ? c == quote_char : (c == '"' || c == '\'')) {
        quote_char = quote_char ? 0 : c;
        continue;
      }
      if (c == escape) {
        if (++at == text.size()) break;
        c = text[at];
      }
      word += c;
    }
    at = std::min(at, text.size());
    if (word == "--") return rest.from(at);
    node.flags.push_back({std::move(word), rest.part(begin, at - begin).span()});
  }
}

void parse_arguments(Node& node, const Stretch& rest, char escape) {
  using Parser = void (*)(Node&, const Stretch&, char);
  static const std::map<std::string_view, Parser> kParsers = {
      {"add", [](Node& n, const Stretch& r, char) { parse_json_or_list(n, r); }},
      {"arg", [](Node& n, const Stretch& r, char e) { n.args = split_quoted(r, e); }},
      {"cmd", [](Node& n, const Stretch& r, char) { parse_json_or_text(n, r); }},
      {"copy", [](Node& n, const Stretch& r, char) { parse_json_or_list(n, r); }},
      {"entrypoint", [](Node& n, const Stretch& r, char) { parse_json_or_text(n, r); }},
      {"env", [](Node& n, const Stretch& r, char e) { parse_key_values(n, r, "ENV", e); }},
      {"expose", [](Node& n, const Stretch& r, char) { n.args = split_list(r); }},
      {"from", [](Node& n, const Stretch& r, char) { n.args = split_list(r); }},
      {"healthcheck", [](Node& n, const Stretch& r, char) { parse_health(n, r); }},
      {"label", [](Node& n, const Stretch& r, char e) { parse_key_values(n, r, "LABEL", e); }},
      {"run", [](Node& n, const Stretch& r, char) { parse_json_or_text(n, r); }},
      {"shell", [](Node& n, const Stretch& r, char) { parse_json_or_text(n, r); }},
      {"volume", [](Node& n, const Stretch& r, char) { parse_json_or_list(n, r); }},
  };
  static constexpr std::string_view kWholeRest[] = {"maintainer", "stopsignal", "user", "workdir"};
  if (auto parser = kParsers.find(node.command); parser != kParsers.end())
    return parser->second(node, rest, escape);
  bool takes_rest =
      std::find(std::begin(kWholeRest), std::end(kWholeRest), node.command) != std::end(kWholeRest);
  if (takes_rest && !rest.text().empty()) node.args.push_back(rest.word());
}

constexpr int kDeepestTrigger = 8;  // ONBUILD ONBUILD is refused later, but must be read first

Node parse_stretch(const Stretch& whole, char escape, int depth) {
  Stretch stretch = whole.trimmed();
  std::string_view text = stretch.text();
  size_t end = 0;
  while (end < text.size() && !is_list_blank(text[end])) end++;
  Node node;
  node.keyword = std::string(text.substr(0, end));
  node.command = to_lower(node.keyword);
  node.keyword_span = stretch.part(0, end).span();
  node.original = std::string(whole.text());
  node.span = stretch.span();
  Stretch rest = take_flags(node, stretch.from(end), escape).trimmed();
  if (node.command == "onbuild") {
    if (depth >= kDeepestTrigger) fail_at(node.span, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (!rest.text().empty()) node.trigger.push_back(parse_stretch(rest, escape, depth + 1));
  } else {
    parse_arguments(node, rest, escape);
  }
  return node;
}

}  // namespace

Node parse_node(const LogicalLine& line, size_t begin, size_t end, char escape) {
  return parse_stretch({line, begin, end}, escape, 0);
}

}  // namespace corten::dockerfile
