#include "registry/toml.h"

// Its parser asserts, in builds with assertions, what does not hold for "[=]", and goes on to refuse that.
#define TOML_ASSERT(condition) static_assert(true)
#include <toml++/toml.h>

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxBytes = 1 << 20;

[[noreturn]] void refuse_at(const std::string& file, int line, const std::string& what,
                            const std::string& hint) {
  Error error(ErrorCode::kInvalid, fmt::format("{}:{}: {}", file, line, what));
  if (!hint.empty()) error.set_hint(hint);
  throw error;
}

}  // namespace

class TomlReader {
 public:
  explicit TomlReader(const std::string& file) : file_(file) {}

  // The library keeps tables sorted by name; where a value stands says the order.
  Toml convert(const toml::node& node) const {
    Toml value;
    value.file_ = file_;
    value.line_ = static_cast<int>(node.source().begin.line);
    if (const toml::table* table = node.as_table()) {
      struct Member {
        std::pair<toml::source_index, toml::source_index> place;
        std::string name;
        const toml::node* node;
      };
      std::vector<Member> members;
      for (const auto& [key, member] : *table)
        members.push_back(
            {{key.source().begin.line, key.source().begin.column}, std::string(key.str()), &member});
      std::stable_sort(members.begin(), members.end(),
                       [](const Member& a, const Member& b) { return a.place < b.place; });
      Toml::Table converted;
      for (const Member& member : members) converted.emplace_back(member.name, convert(*member.node));
      value.value_ = std::move(converted);
    } else if (const toml::array* array = node.as_array()) {
      Toml::Array converted;
      for (const toml::node& member : *array) converted.push_back(convert(member));
      value.value_ = std::move(converted);
    } else if (const auto* text = node.as_string()) {
      value.value_ = text->get();
    } else if (const auto* flag = node.as_boolean()) {
      value.value_ = flag->get();
    } else if (const auto* number = node.as_integer()) {
      value.value_ = number->get();
    }
    return value;
  }

 private:
  const std::string& file_;
};

Toml Toml::parse(std::string_view text, const std::string& file) {
  if (text.size() > kMaxBytes) fail(ErrorCode::kInvalid, "{}: larger than 1 MiB", file);
  try {
    return TomlReader(file).convert(toml::parse(text));
  } catch (const toml::parse_error& error) {
    refuse_at(file, static_cast<int>(error.source().begin.line),
              "this is no TOML: " + printable(std::string_view(error.description())),
              "mend the line, or move the file away");
  }
}

void Toml::refuse(const std::string& what, const std::string& hint) const {
  refuse_at(file_, line_, what, hint);
}

const Toml::Table& Toml::as_table() const {
  if (const Table* table = std::get_if<Table>(&value_)) return *table;
  refuse("a table is expected");
}
const Toml::Array& Toml::as_array() const {
  if (const Array* array = std::get_if<Array>(&value_)) return *array;
  refuse("an array is expected");
}
const std::string& Toml::as_string() const {
  if (const std::string* text = std::get_if<std::string>(&value_)) return *text;
  refuse("a string is expected");
}
bool Toml::as_bool() const {
  if (const bool* flag = std::get_if<bool>(&value_)) return *flag;
  refuse("true or false is expected");
}

const Toml* Toml::find(std::string_view key) const {
  for (const auto& [name, value] : as_table())
    if (name == key) return &value;
  return nullptr;
}
std::string Toml::get_string(std::string_view key, const std::string& fallback) const {
  const Toml* value = find(key);
  return value ? value->as_string() : fallback;
}
bool Toml::get_bool(std::string_view key, bool fallback) const {
  const Toml* value = find(key);
  return value ? value->as_bool() : fallback;
}
std::vector<std::string> Toml::get_strings(std::string_view key) const {
  const Toml* value = find(key);
  if (!value) return {};
  if (value->is_string()) return {value->as_string()};
  std::vector<std::string> strings;
  for (const Toml& member : value->as_array()) strings.push_back(member.as_string());
  return strings;
}

}  // namespace corten::registry
