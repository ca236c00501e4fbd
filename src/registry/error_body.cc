#include "registry/error_body.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxErrors = 10, kMaxMessage = 500;

std::string one_line(std::string_view text) {
  std::string line = join(split_words(replace_all(printable(text), "\n", " ")), " ");
  if (line.size() > kMaxMessage) {
    size_t end = kMaxMessage;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) end--;
    line.resize(end);
    line += "...";
  }
  return line;
}

std::string text_of(const Json* value) {
  if (value == nullptr) return {};
  return one_line(value->is_string() ? value->as_string() : value->dump());
}

RegistryError parse_one(const Json& json) {
  RegistryError error;
  if (json.is_string()) return {"", one_line(json.as_string())};
  error.code = text_of(json.find("code"));
  error.message = text_of(json.find("message"));
  if (error.message.empty()) error.message = text_of(json.find("detail"));
  return error;
}

// {"errors":[...]}, and what token servers and proxies write: {"error":"...","error_description":"..."},
// {"message":"..."}, {"details":"..."}.
std::vector<RegistryError> parse_json(std::string_view body) {
  std::vector<RegistryError> found;
  const Json json = Json::parse(body, kMaxErrorBytes);
  if (const Json* errors = json.find("errors"); errors && errors->is_array()) {
    for (const Json& entry : errors->as_array()) {
      if (found.size() == kMaxErrors) break;
      RegistryError error = parse_one(entry);
      if (!error.code.empty() || !error.message.empty()) found.push_back(std::move(error));
    }
    return found;
  }
  RegistryError error;
  error.code = text_of(json.find("error"));
  for (std::string_view name : {"error_description", "message", "details", "detail"})
    if (error.message.empty()) error.message = text_of(json.find(name));
  if (!error.code.empty() || !error.message.empty()) found.push_back(std::move(error));
  return found;
}

}  // namespace

std::vector<RegistryError> parse_error_body(std::string_view body) {
  body = body.substr(0, kMaxErrorBytes);
  try {
    return parse_json(body);
  } catch (const Error&) {
    // No JSON: a page of a proxy, or plain text.
  }
  for (const std::string& line : split(body, '\n')) {
    const std::string_view text = trim(line);
    if (text.empty() || text.starts_with('<')) continue;
    return {{"", one_line(text)}};
  }
  return {};
}

std::string error_text(std::string_view body) {
  std::vector<std::string> parts;
  for (const RegistryError& error : parse_error_body(body))
    parts.push_back(error.code.empty()      ? error.message
                    : error.message.empty() ? error.code
                                            : error.code + ": " + error.message);
  return join(parts, "; ");
}

bool has_code(const std::vector<RegistryError>& errors, std::string_view code) {
  return std::any_of(errors.begin(), errors.end(), [&](const RegistryError& e) { return e.code == code; });
}

}  // namespace corten::registry
