#include "base/json_template.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"

namespace corten {

namespace {

const Json& field(const Json& value, std::string_view path) {
  const Json* at = &value;
  if (path == ".") return *at;
  for (const std::string& name : split(path.substr(1), '.')) {
    const Json* next = nullptr;
    std::vector<std::string> names;
    if (at->is_object())
      for (const auto& [key, member] : at->as_object()) {
        names.push_back(key);
        if (key == name) next = &member;
      }
    if (!next)
      fail(ErrorCode::kUsage, "template: no field {} in {}{}", quote(name), quote(path),
           did_you_mean(name, names));
    at = next;
  }
  return *at;
}

// As Go prints values.
std::string plain(const Json& value) {
  if (value.is_string()) return value.as_string();
  if (value.is_null()) return "<no value>";
  if (value.is_array()) {
    std::vector<std::string> parts;
    for (const Json& item : value.as_array()) parts.push_back(plain(item));
    return "[" + join(parts, " ") + "]";
  }
  if (value.is_object()) {
    std::vector<std::string> parts;
    for (const auto& [key, member] : value.as_object()) parts.push_back(key + ":" + plain(member));
    return "map[" + join(parts, " ") + "]";
  }
  return value.dump();
}

}  // namespace

std::string expand_template(std::string_view text, const Json& value) {
  std::string out;
  while (true) {
    size_t open = text.find("{{");
    out += replace_all(replace_all(std::string(text.substr(0, open)), "\\t", "\t"), "\\n", "\n");
    if (open == text.npos) return out;
    size_t close = text.find("}}", open);
    if (close == text.npos) fail(ErrorCode::kUsage, "template: {{{{ without }}}}");
    std::vector<std::string> words = split_words(text.substr(open + 2, close - open - 2));
    if (words.size() == 1 && words[0].starts_with('.'))
      out += plain(field(value, words[0]));
    else if (words.size() == 2 && words[0] == "json" && words[1].starts_with('.'))
      out += field(value, words[1]).dump();
    else
      throw Error(ErrorCode::kUsage,
                  fmt::format("template: {} is not understood", quote(text.substr(open, close + 2 - open))))
          .with_hint("{{.Field}} and {{json .Field}} are; --format json gives everything");
    text.remove_prefix(close + 2);
  }
}

}  // namespace corten
