#include "dockerfile/directives.h"

#include <cctype>
#include <set>

#include "base/strings.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

bool DirectiveParser::add_line(std::string_view line, const SourceSpan& place) {
  if (done_) return false;
  done_ = true;
  if (line.empty() || line[0] != '#') return false;
  std::string_view rest = trim_left_space(line.substr(1));
  size_t length = 0;
  while (length < rest.size() && isalnum(static_cast<unsigned char>(rest[length]))) length++;
  if (length == 0 || isdigit(static_cast<unsigned char>(rest[0]))) return false;
  std::string key = to_lower(rest.substr(0, length));
  if (key != "syntax" && key != "escape" && key != "check") return false;
  rest = trim_left_space(rest.substr(length));
  if (rest.empty() || rest[0] != '=') return false;
  std::string_view value = trim_space(rest.substr(1));
  if (value.empty()) return false;
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
  return true;
}

std::string_view syntax_image(std::string_view value) {
  return value.substr(0, value.find_first_of(" \t"));
}

CheckOptions parse_check_options(std::string_view value) {
  CheckOptions options;
  if (trim(value).empty()) return options;
  auto read_rules = [](std::string_view text, std::vector<std::string>& rules, bool& all) {
    if (text == "all") {
      all = true;
      return;
    }
    rules.clear();
    for (const std::string& rule : split(text, ',')) rules.emplace_back(trim(rule));
  };
  // At most three parts; what more there is belongs to the third, as in BuildKit.
  std::vector<std::string> parts = split(trim(value), ';');
  while (parts.size() > 3) {
    parts[parts.size() - 2] += ";" + parts.back();
    parts.pop_back();
  }
  for (const std::string& part : parts) {
    size_t equals = part.find('=');
    if (equals == std::string::npos) fail(ErrorCode::kInvalid, "invalid check option {}", quote(part));
    std::string_view key = trim(std::string_view(part).substr(0, equals));
    std::string_view operand = trim(std::string_view(part).substr(equals + 1));
    if (key == "skip")
      read_rules(operand, options.skip, options.skip_all);
    else if (key == "experimental")
      read_rules(operand, options.experimental, options.experimental_all);
    else if (key == "error") {
      static const std::set<std::string_view> kTrue = {"1", "t", "T", "true", "TRUE", "True"};
      static const std::set<std::string_view> kFalse = {"0", "f", "F", "false", "FALSE", "False"};
      if (!kTrue.contains(operand) && !kFalse.contains(operand))
        fail(ErrorCode::kInvalid,
             "failed to parse check option {}: strconv.ParseBool: parsing {}: invalid syntax", quote(part),
             quote(operand));
      options.is_error = kTrue.contains(operand);
    } else {
      fail(ErrorCode::kInvalid, "invalid check option {}", quote(key));
    }
  }
  return options;
}

}  // namespace corten::dockerfile
