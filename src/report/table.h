// Tables for people, as Docker's commands print them: columns as wide as their widest cell, three blanks
// between.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace corten::report {

class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Cells are made safe for terminals; widths count characters, not bytes.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "5 minutes ago", "3 weeks ago": Docker's words for an age in seconds.
std::string age_text(int64_t seconds);

}  // namespace corten::report
