#include "dockerfile/directives.h"

#include <cctype>

#include "base/strings.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

void DirectiveParser::add_line(std::string_view line, const SourceSpan& place) {
  if (done_) return;
  done_ = true;
  if (line.empty() || line[0] != '#') return;
  std::string_view rest = trim_left_space(line.substr(1));
  size_t length = 0;
  while (length < rest.size() && isalnum(static_cast<unsigned char>(rest[length]))) length++;
  if (length == 0 || isdigit(static_cast<unsigned char>(rest[0]))) return;
  std::string key = to_lower(rest.substr(0, length));
  if (key != "syntax" && key != "escape" && key != "check") return;
  rest = trim_left_space(rest.substr(length));
  if (rest.empty() || rest[0] != '=') return;
  std::string_view value = trim_space(rest.substr(1));
  if (value.empty()) return;
  done_ = false;

  Word word{std::string(value), place};
  word.span.column = place.column + static_cast<int>(value.data() - line.data());
  word.span.end_line = place.line;
  word.span.end_column = word.span.column + static_cast<int>(value.size());
  bool is_second = key == "syntax"  ? directives_.syntax.has_value()
                   : key == "check" ? directives_.check.has_value()
                                    : has_escape_;
  if (is_second)
    throw Error(ErrorCode::kInvalid, fmt::format("only one {} parser directive can be used", key))
        .with_span(place);
  if (key == "syntax")
    directives_.syntax = std::move(word);
  else if (key == "check")
    directives_.check = std::move(word);
  else {
    if (value != "`" && value != "\\")
      throw Error(ErrorCode::kInvalid, fmt::format("invalid escape token '{}' does not match ` or \\", value))
          .with_span(word.span);
    has_escape_ = true;
    directives_.escape = value[0];
  }
}

std::string_view syntax_image(std::string_view value) {
  return value.substr(0, value.find_first_of(" \t"));
}

CheckOptions parse_check_options(std::string_view value) {
  CheckOptions options;
  auto read_rules = [](std::string_view text, std::vector<std::string>& rules, bool& all) {
    if (text == "all") {
      all = true;
      return;
    }
    for (const std::string& rule : split(text, ',')) rules.emplace_back(trim(rule));
  };
  std::vector<std::string> parts = split(value, ';');
  if (parts.size() > 3)
    fail(ErrorCode::kInvalid, "invalid check options {}: at most skip, error and experimental", quote(value));
  for (const std::string& part : parts) {
    std::string_view text = trim(part);
    size_t equals = text.find('=');
    if (equals == std::string_view::npos) fail(ErrorCode::kInvalid, "invalid check option {}", quote(text));
    std::string_view key = trim(text.substr(0, equals));
    std::string_view operand = trim(text.substr(equals + 1));
    if (key == "skip")
      read_rules(operand, options.skip, options.skip_all);
    else if (key == "experimental")
      read_rules(operand, options.experimental, options.experimental_all);
    else if (key == "error") {
      std::string word = to_lower(operand);
      if (word != "true" && word != "false" && word != "1" && word != "0")
        fail(ErrorCode::kInvalid, "failed to parse check option {}: not a boolean", quote(operand));
      options.is_error = word == "true" || word == "1";
    } else {
      fail(ErrorCode::kInvalid, "invalid check option {}", quote(key));
    }
  }
  return options;
}

}  // namespace corten::dockerfile
