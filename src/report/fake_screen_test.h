// A terminal small enough for tests: it obeys what the displays send, refuses everything else, and counts how
// often each row was written to.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "report/screen_painter.h"
#include "report/terminal_text.h"

namespace corten::report {

class FakeScreen {
 public:
  explicit FakeScreen(TerminalSize size) : size_(size), rows_(1), touched_(1) {}

  void feed(std::string_view bytes) {
    while (!bytes.empty()) {
      if (bytes[0] == '\x1b')
        obey(bytes);
      else if (bytes[0] == '\n' || bytes[0] == '\r')
        move_line(bytes);
      else
        put(bytes);
    }
  }

  // As tmux, VTE and kitty do it: each line is wrapped anew. The cursor's line is the last.
  void resize(TerminalSize size) {
    std::vector<std::vector<std::string>> rows;
    for (auto& row : rows_) {
      while (!row.empty() && row.back() == " ") row.pop_back();
      size_t at = 0;
      do {
        size_t end = std::min(row.size(), at + size.columns);
        rows.emplace_back(row.begin() + static_cast<long>(at), row.begin() + static_cast<long>(end));
        at = end;
      } while (at < row.size());
    }
    rows_ = std::move(rows);
    touched_.assign(rows_.size(), 0);
    row_ = rows_.size() - 1;
    size_ = size;
  }

  // From the top of what was ever written, blanks at the ends gone.
  std::vector<std::string> lines() const {
    std::vector<std::string> lines;
    for (const auto& row : rows_) {
      std::string line;
      for (const std::string& cell : row) line += cell;
      line.erase(line.find_last_not_of(' ') + 1);
      lines.push_back(line);
    }
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    return lines;
  }
  std::string text() const {
    std::string text;
    for (const std::string& line : lines()) text += line + "\n";
    return text;
  }
  const std::vector<int>& touched() const { return touched_; }
  void forget_touches() { touched_.assign(rows_.size(), 0); }
  bool is_given_back() const { return has_cursor_ && wraps_ && !is_synchronized_; }
  size_t row() const { return row_; }

 private:
  size_t top() const { return rows_.size() > size_.rows ? rows_.size() - size_.rows : 0; }

  void move_line(std::string_view& bytes) {
    if (bytes[0] == '\r')
      column_ = 0;
    else if (++row_ == rows_.size())
      rows_.emplace_back(), touched_.push_back(0);
    bytes.remove_prefix(1);
  }

  void put(std::string_view& bytes) {
    size_t length = 1;
    while (length < bytes.size() && (static_cast<uint8_t>(bytes[length]) & 0xC0) == 0x80) length++;
    std::string character(bytes.substr(0, length));
    bytes.remove_prefix(length);
    EXPECT_TRUE(static_cast<uint8_t>(character[0]) >= 0x20 && character[0] != 0x7F) << "a raw control byte";
    size_t width = columns_of(character);
    auto& row = rows_[row_];
    touched_[row_]++;
    if (width == 0) {
      if (column_ > 0) row[column_ - 1] += character;
      return;
    }
    EXPECT_LE(column_ + width, size_.columns) << "would wrap: " << character;
    if (row.size() < column_ + width) row.resize(column_ + width, " ");
    row[column_] = character;
    if (width == 2) row[column_ + 1] = "";
    column_ += width;
  }

  void obey(std::string_view& bytes) {
    size_t end = bytes.find_first_not_of("0123456789;?", 2);
    ASSERT_TRUE(bytes.size() > 2 && bytes[1] == '[' && end != std::string_view::npos);
    std::string sequence(bytes.substr(2, end - 1));
    bytes.remove_prefix(end + 1);
    size_t count =
        sequence.size() > 1 && sequence[0] != '?' ? static_cast<size_t>(atoi(sequence.c_str())) : 1;
    auto& row = rows_[row_];
    switch (sequence.back()) {
      case 'm':
        return;
      case 'A':
        row_ -= std::min(row_ - top(), count);
        return;
      case 'B':
        row_ = std::min(row_ + count, rows_.size() - 1);
        return;
      case 'G':
        column_ = count - 1;
        return;
      case 'K':
        touched_[row_]++;
        row.resize(std::min(row.size(), column_));
        return;
      case 'J':
        if (row.size() > column_) touched_[row_]++;
        row.resize(std::min(row.size(), column_));
        rows_.resize(row_ + 1);
        touched_.resize(row_ + 1);
        return;
      default:
        break;
    }
    if (sequence == "?25l" || sequence == "?25h")
      has_cursor_ = sequence.back() == 'h';
    else if (sequence == "?7l" || sequence == "?7h")
      wraps_ = sequence.back() == 'h';
    else if (sequence == "?2026l" || sequence == "?2026h")
      is_synchronized_ = sequence.back() == 'h';
    else
      ADD_FAILURE() << "an unexpected sequence: " << sequence;
  }

  TerminalSize size_;
  std::vector<std::vector<std::string>> rows_;  // all that was ever written; the screen is the last of them
  std::vector<int> touched_;
  size_t row_ = 0, column_ = 0;
  bool has_cursor_ = true, wraps_ = true, is_synchronized_ = false;
};

}  // namespace corten::report
