#include "source/debian/control.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace corten::source::debian {

namespace {

constexpr size_t kMaxFields = 10'000;

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_lower_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool all_of(std::string_view text, size_t max, std::string_view others) {
  return !text.empty() && text.size() <= max && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_alnum(c) || others.find(c) != std::string_view::npos;
  });
}

}  // namespace

std::string_view Paragraph::get(std::string_view field) const {
  for (const auto& [name, value] : fields_)
    if (name.size() == field.size() && iequals(name, field)) return value;
  return {};
}

std::string_view Paragraph::require(std::string_view field) const {
  std::string_view value = get(field);
  if (value.empty()) fail(ErrorCode::kInvalid, "field {} is missing", field);
  return value;
}

void parse_paragraphs(std::string_view text, std::string_view name,
                      const std::function<void(const Paragraph&)>& visit) {
  Paragraph paragraph;
  size_t line_number = 0;
  const char* value_begin = nullptr;
  auto end_paragraph = [&] {
    if (!paragraph.fields_.empty()) visit(paragraph);
    paragraph.fields_.clear();
    value_begin = nullptr;
  };
  while (!text.empty()) {
    line_number++;
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with('#')) continue;
    if (line.find_first_not_of(" \t") == std::string_view::npos) {
      end_paragraph();
      continue;
    }
    if (line[0] == ' ' || line[0] == '\t') {
      if (!value_begin)
        fail(ErrorCode::kInvalid, "{}:{}: a continuation line without a field", name, line_number);
      std::string_view& value = paragraph.fields_.back().second;
      value = trim({value_begin, static_cast<size_t>(line.data() + line.size() - value_begin)});
      continue;
    }
    size_t colon = line.find(':');
    std::string_view field = line.substr(0, colon);
    if (colon == std::string_view::npos || field.empty() ||
        field.find_first_of(" \t") != std::string_view::npos)
      fail(ErrorCode::kInvalid, "{}:{}: expected a field, got {}", name, line_number,
           quote(line.substr(0, 80)));
    if (paragraph.fields_.size() >= kMaxFields)
      fail(ErrorCode::kInvalid, "{}:{}: more than {} fields", name, line_number, kMaxFields);
    value_begin = line.data() + colon + 1;
    paragraph.fields_.emplace_back(field, trim(line.substr(colon + 1)));
  }
  end_paragraph();
}

bool is_package_name(std::string_view name) {
  return name.size() >= 2 && name.size() <= 200 && is_lower_alnum(name[0]) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_lower_alnum(c) || c == '+' || c == '-' || c == '.'; });
}

bool is_package_version(std::string_view version) {
  return all_of(version, 200, ".+-:~") && version[0] >= '0' && version[0] <= '9';
}
bool is_architecture(std::string_view name) {
  return all_of(name, 40, "-") && is_alnum(name[0]);
}
bool is_suite(std::string_view name) {
  return all_of(name, 60, "-.") && is_alnum(name[0]);
}

bool is_archive_path(std::string_view path) {
  if (!all_of(path, 1000, "/+-._~%")) return false;
  for (const std::string& part : split(path, '/'))
    if (part.empty() || part == "." || part == "..") return false;
  return true;
}

}  // namespace corten::source::debian
