#include "base/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace corten {

namespace {

// Builds our value from the library's events, so that depth and size are bounded and order is kept.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(int64_t value) override { return add(Json(value)); }
  bool number_unsigned(uint64_t value) override {
    return value <= INT64_MAX ? add(Json(static_cast<int64_t>(value)))
                              : add(Json(static_cast<double>(value)));
  }
  bool number_float(double value, const std::string&) override { return add(Json(value)); }
  bool string(std::string& value) override { return add(Json(std::move(value))); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool key(std::string& value) override {
    keys_.back() = std::move(value);
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    position_ = position;
    return false;
  }

  Json result;
  size_t position() const { return position_; }
  bool too_deep() const { return too_deep_; }

 private:
  bool add(Json value) {
    if (stack_.empty()) {
      result = std::move(value);
      return true;
    }
    Json& top = stack_.back();
    if (top.is_array())
      top.as_array().push_back(std::move(value));
    else
      members_of(top, std::move(value));
    return true;
  }
  void members_of(Json& object, Json value) {
    for (auto& [name, old] : object.as_object())
      if (name == keys_.back()) {
        old = std::move(value);
        return;
      }
    object.as_object().emplace_back(keys_.back(), std::move(value));
  }
  bool open(Json value) {
    constexpr size_t kMaxDepth = 200;
    if (stack_.size() >= kMaxDepth) {
      too_deep_ = true;
      return false;
    }
    stack_.push_back(std::move(value));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    Json value = std::move(stack_.back());
    stack_.pop_back();
    keys_.pop_back();
    return add(std::move(value));
  }

  std::vector<Json> stack_;
  std::vector<std::string> keys_;
  size_t position_ = 0;
  bool too_deep_ = false;
};

void dump_string(std::string_view text, bool escape_html, std::string& out) {
  out += '"';
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    switch (c) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      default:
        break;
    }
    if (static_cast<uint8_t>(c) < 0x20 || (escape_html && (c == '<' || c == '>' || c == '&')))
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(c));
    else if (escape_html && text.substr(i, 3) == "\xE2\x80\xA8")
      out += "\\u2028", i += 2;
    else if (escape_html && text.substr(i, 3) == "\xE2\x80\xA9")
      out += "\\u2029", i += 2;
    else
      out += c;
  }
  out += '"';
}

void dump_value(const Json& value, const Json::DumpOptions& options, int depth, std::string& out) {
  auto line = [&](int level) {
    if (options.indent) out += '\n', out.append(static_cast<size_t>(level * options.indent), ' ');
  };
  if (value.is_null())
    out += "null";
  else if (value.is_bool())
    out += value.as_bool() ? "true" : "false";
  else if (value.is_int())
    out += std::to_string(value.as_int());
  else if (value.is_number())
    out += fmt::format("{}", value.as_double());
  else if (value.is_string())
    dump_string(value.as_string(), options.escape_html, out);
  else if (value.is_array()) {
    if (value.as_array().empty()) {
      out += "[]";
      return;
    }
    out += '[';
    bool first = true;
    for (const Json& item : value.as_array()) {
      if (!first) out += ',';
      first = false;
      line(depth + 1);
      dump_value(item, options, depth + 1, out);
    }
    line(depth);
    out += ']';
  } else {
    std::vector<const std::pair<std::string, Json>*> members;
    for (const auto& member : value.as_object()) members.push_back(&member);
    if (options.sort_keys)
      std::sort(members.begin(), members.end(), [](auto* a, auto* b) { return a->first < b->first; });
    if (members.empty()) {
      out += "{}";
      return;
    }
    out += '{';
    bool first = true;
    for (const auto* member : members) {
      if (!first) out += ',';
      first = false;
      line(depth + 1);
      dump_string(member->first, options.escape_html, out);
      out += options.indent ? ": " : ":";
      dump_value(member->second, options, depth + 1, out);
    }
    line(depth);
    out += '}';
  }
}

const char* type_name(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_bool()) return "a boolean";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "a string";
  return value.is_array() ? "a list" : "an object";
}

[[noreturn]] void wrong_type(const Json& value, const char* wanted) {
  fail(ErrorCode::kInvalid, "JSON: expected {}, found {}", wanted, type_name(value));
}

}  // namespace

Json::Json(const std::vector<std::string>& strings) {
  Array items;
  for (const std::string& s : strings) items.emplace_back(s);
  value_ = std::move(items);
}

Json Json::parse(std::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes)
    fail(ErrorCode::kInvalid, "JSON: {} bytes, more than the allowed {}", text.size(), max_bytes);
  Builder builder;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) {
    if (builder.too_deep()) fail(ErrorCode::kInvalid, "JSON: nested deeper than 200");
    fail(ErrorCode::kInvalid, "JSON: malformed near byte {}", builder.position());
  }
  return std::move(builder.result);
}

bool Json::as_bool() const {
  if (!is_bool()) wrong_type(*this, "a boolean");
  return std::get<bool>(value_);
}
int64_t Json::as_int() const {
  if (is_int()) return std::get<int64_t>(value_);
  wrong_type(*this, "an integer");
}
double Json::as_double() const {
  if (is_int()) return static_cast<double>(std::get<int64_t>(value_));
  if (!is_number()) wrong_type(*this, "a number");
  return std::get<double>(value_);
}
const std::string& Json::as_string() const {
  if (!is_string()) wrong_type(*this, "a string");
  return std::get<std::string>(value_);
}
const Json::Array& Json::as_array() const {
  if (!is_array()) wrong_type(*this, "a list");
  return std::get<Array>(value_);
}
const Json::Object& Json::as_object() const {
  if (!is_object()) wrong_type(*this, "an object");
  return std::get<Object>(value_);
}
Json::Array& Json::as_array() {
  return const_cast<Array&>(std::as_const(*this).as_array());
}
Json::Object& Json::as_object() {
  return const_cast<Object&>(std::as_const(*this).as_object());
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, value] : std::get<Object>(value_))
    if (name == key) return value.is_null() ? nullptr : &value;
  return nullptr;
}

std::string Json::get_string(std::string_view key, std::string fallback) const {
  const Json* member = find(key);
  if (!member) return fallback;
  return member->as_string();
}
int64_t Json::get_int(std::string_view key, int64_t fallback) const {
  const Json* member = find(key);
  return member ? member->as_int() : fallback;
}
bool Json::get_bool(std::string_view key, bool fallback) const {
  const Json* member = find(key);
  return member ? member->as_bool() : fallback;
}
std::vector<std::string> Json::get_strings(std::string_view key) const {
  std::vector<std::string> out;
  if (const Json* member = find(key))
    for (const Json& item : member->as_array()) out.push_back(item.as_string());
  return out;
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object{};
  for (auto& [name, value] : as_object())
    if (name == key) return value;
  as_object().emplace_back(std::string(key), Json());
  return as_object().back().second;
}

void Json::erase(std::string_view key) {
  if (is_object()) std::erase_if(as_object(), [&](const auto& member) { return member.first == key; });
}

void Json::push_back(Json value) {
  if (is_null()) value_ = Array{};
  as_array().push_back(std::move(value));
}

size_t Json::size() const {
  if (is_array()) return as_array().size();
  return is_object() ? as_object().size() : 0;
}

std::string Json::dump(const DumpOptions& options) const {
  std::string out;
  dump_value(*this, options, 0, out);
  return out;
}

}  // namespace corten
