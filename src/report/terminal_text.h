// Text as a terminal shows it: how many columns it takes, and what of a foreign text may reach it.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace corten::report {

// Columns that the text takes; colour sequences take none. Where terminals disagree (emoji, rare marks) the
// greater number, so that a line cut by it never wraps. Expects what output_line or one_line made.
size_t columns_of(std::string_view text);

// As much of it as fits, tabs made spaces, `ending` last where something was left out; an opened colour is
// closed.
std::string cut_to(std::string_view text, size_t columns, std::string_view ending = "");

// A line of a step's output. Colours (SGR; not blinking, not concealed) stay or go as told. Other complete
// control sequences (CSI, OSC) are dropped, for progress bars are full of them; what is left of control
// bytes, of invalid UTF-8 and of characters that turn the direction of writing is shown as \x1b, never passed
// on.
std::string output_line(std::string_view line, bool with_colors);

// A name or a message on one line: nothing of it controls a terminal.
std::string one_line(std::string_view text);

}  // namespace corten::report
