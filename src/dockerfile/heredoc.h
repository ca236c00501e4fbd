// Finding the marks of heredocs (`<<NAME`, `3<<-"NAME"`) in a line. Pure; thread-safe.
#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

// The word as a heredoc mark, without body. Throws Error(kInvalid) when its quotes do not match.
std::optional<Heredoc> parse_heredoc_mark(std::string_view word);

// All marks in a line, in order. A line whose own quotes do not match has none.
std::vector<Heredoc> find_heredoc_marks(std::string_view line);

}  // namespace corten::dockerfile
