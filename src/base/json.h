// A JSON value (RFC 8259). The one facade over the JSON library, whose header is seen by json.cc alone.
// Objects keep the order in which members were added; integers that fit 64 bits stay exact. A value;
// thread-safe to read.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace corten {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<int64_t>(value)) {}
  Json(int64_t value) : value_(value) {}
  Json(uint64_t value) : value_(static_cast<int64_t>(value)) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}
  Json(const std::vector<std::string>& strings);

  static Json array() { return Json(Array{}); }
  static Json object() { return Json(Object{}); }
  static Json object(std::initializer_list<std::pair<std::string, Json>> members) {
    return Json(Object(members));
  }

  // Throws Error(kInvalid) with the byte offset for text that is not one JSON value, nests deeper than 200,
  // is not UTF-8, or is larger than `max_bytes`. A member named twice keeps the last value, as Go's decoder
  // does.
  static Json parse(std::string_view text, size_t max_bytes = 64 << 20);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_int() const { return std::holds_alternative<int64_t>(value_); }
  bool is_number() const { return is_int() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  // These throw Error(kInvalid) when the value is of another type.
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;
  const std::string& as_string() const;
  const Array& as_array() const;
  const Object& as_object() const;
  Array& as_array();
  Object& as_object();

  // The member, or nullptr when it is absent, null, or this is no object.
  const Json* find(std::string_view key) const;
  // The member as a string / integer; the fallback when it is absent or null. Throws Error(kInvalid) for
  // another type.
  std::string get_string(std::string_view key, std::string fallback = {}) const;
  int64_t get_int(std::string_view key, int64_t fallback = 0) const;
  bool get_bool(std::string_view key, bool fallback = false) const;
  // The member as a list of strings; empty when absent or null.
  std::vector<std::string> get_strings(std::string_view key) const;

  // The member, made null when it is absent; a null value becomes an object first.
  Json& operator[](std::string_view key);
  void set(std::string_view key, Json value) { (*this)[key] = std::move(value); }
  void erase(std::string_view key);
  void push_back(Json value);  // a null value becomes an array first
  size_t size() const;

  // Compact when indent is 0. `sort_keys` orders members by bytes at every level, as Go orders maps.
  // `escape_html` writes < > & U+2028 U+2029 as \uXXXX, as Go's encoder does by default.
  struct DumpOptions {
    int indent = 0;
    bool sort_keys = false;
    bool escape_html = false;
  };
  std::string dump() const { return dump(DumpOptions{}); }
  std::string dump(const DumpOptions& options) const;

  bool operator==(const Json&) const = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

}  // namespace corten
