// TOML (1.0) as values that know their line. The one facade over the TOML library, whose header is seen by
// toml.cc alone.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace corten::registry {

class Toml {
 public:
  using Array = std::vector<Toml>;
  using Table = std::vector<std::pair<std::string, Toml>>;  // in the order of the text

  // Error(kInvalid) "FILE:LINE: ..." for what is no TOML, or is larger than 1 MiB.
  static Toml parse(std::string_view text, const std::string& file);

  bool is_table() const { return std::holds_alternative<Table>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  // Error(kInvalid) with file and line for a value of another kind.
  const Table& as_table() const;
  const Array& as_array() const;
  const std::string& as_string() const;
  bool as_bool() const;

  // The member of a table, or nullptr.
  const Toml* find(std::string_view key) const;
  std::string get_string(std::string_view key, const std::string& fallback = {}) const;
  bool get_bool(std::string_view key, bool fallback = false) const;
  // A list of strings, or one string.
  std::vector<std::string> get_strings(std::string_view key) const;

  // Error(kInvalid) "FILE:LINE: what", about this value.
  [[noreturn]] void refuse(const std::string& what, const std::string& hint = {}) const;

 private:
  friend class TomlReader;
  std::variant<std::monostate, bool, int64_t, std::string, Array, Table> value_;
  std::string file_;
  int line_ = 0;
};

}  // namespace corten::registry
