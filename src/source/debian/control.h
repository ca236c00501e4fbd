// Debian's control data (deb822(5); Debian Policy chapter 5): paragraphs of fields, as Packages, Release and
// control files have it.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corten::source::debian {

// One paragraph; borrows the text that it was parsed from.
class Paragraph {
 public:
  // The value with its continuation lines, blanks at both ends taken off; "" when the field is absent. Names
  // ignore case.
  std::string_view get(std::string_view field) const;
  // Error(kInvalid) that names the field when it is absent or empty.
  std::string_view require(std::string_view field) const;
  bool is_yes(std::string_view field) const { return get(field) == "yes"; }
  const std::vector<std::pair<std::string_view, std::string_view>>& fields() const { return fields_; }

 private:
  friend void parse_paragraphs(std::string_view, std::string_view,
                               const std::function<void(const Paragraph&)>&);
  std::vector<std::pair<std::string_view, std::string_view>> fields_;
};

// Calls `visit` for each paragraph, which is gone after the call. Lines that begin with # are comments.
// Error(kInvalid) "NAME:LINE: ..." for lines that are none of field, continuation or blank, and for
// paragraphs of more than 10,000 fields.
void parse_paragraphs(std::string_view text, std::string_view name,
                      const std::function<void(const Paragraph&)>& visit);

// Names that become paths or arguments: packages [a-z0-9][a-z0-9+.-]+, versions (Policy 5.6.12),
// architectures and suites.
bool is_package_name(std::string_view name);
bool is_package_version(std::string_view version);
bool is_architecture(std::string_view name);
bool is_suite(std::string_view name);
// A path of the archive: relative, of plain characters, without "." or ".." components.
bool is_archive_path(std::string_view path);

}  // namespace corten::source::debian
