#include "dockerfile/flags.h"

#include "base/strings.h"
#include "base/suggest.h"

namespace corten::dockerfile {

Flags::Flags(const std::vector<Word>& words,
             std::initializer_list<std::pair<const std::string_view, FlagKind>> known) {
  const std::map<std::string_view, FlagKind> kinds(known);
  for (const Word& word : words) {
    auto fail_flag = [&](std::string message) {
      throw Error(ErrorCode::kInvalid, std::move(message)).with_span(word.span);
    };
    std::string_view text =
        std::string_view(word.text).substr(2);  // the line parser only takes words with --
    size_t equals = text.find('=');
    bool has_value = equals != std::string_view::npos;
    std::string name(text.substr(0, equals));
    Word value{std::string(has_value ? text.substr(equals + 1) : ""), word.span};
    if (has_value && word.span.column) value.span.column += static_cast<int>(2 + equals + 1);

    auto kind = kinds.find(name);
    if (kind == kinds.end()) {
      std::vector<std::string> names;
      for (const auto& [candidate, unused] : kinds) names.emplace_back(candidate);
      fail_flag(fmt::format("unknown flag: --{}{}", name, did_you_mean(name, names)));
    }
    auto& values = values_[name];
    if (!values.empty() && kind->second != FlagKind::kStrings)
      fail_flag(fmt::format("duplicate flag specified: --{}", name));
    if (kind->second == FlagKind::kBool) {
      if (has_value && value.text.empty()) fail_flag(fmt::format("missing a value on flag: --{}", name));
      if (has_value && !iequals(value.text, "true") && !iequals(value.text, "false"))
        fail_flag(fmt::format("expecting boolean value for flag --{}, not: {}", name, value.text));
      value.text = !has_value || iequals(value.text, "true") ? "true" : "false";
    } else if (!has_value) {
      fail_flag(fmt::format("missing a value on flag: --{}", name));
    }
    values.push_back(std::move(value));
  }
}

std::optional<Word> Flags::string(std::string_view name) const {
  auto found = values_.find(name);
  return found == values_.end() ? std::nullopt : std::optional<Word>(found->second[0]);
}

std::optional<bool> Flags::boolean(std::string_view name) const {
  auto found = values_.find(name);
  return found == values_.end() ? std::nullopt : std::optional<bool>(found->second[0].text == "true");
}

std::vector<Word> Flags::strings(std::string_view name) const {
  auto found = values_.find(name);
  return found == values_.end() ? std::vector<Word>() : found->second;
}

}  // namespace corten::dockerfile
