// JSON as it may be shown: on a terminal, and to readers that take UTF-8 by its word.
#pragma once
#include <string>
#include <string_view>

namespace corten::report {

// Of a JSON text: DEL and the C1 controls, which JSON allows, as \uXXXX; bytes that are no UTF-8 (of a file's
// name, of a Dockerfile) as U+FFFD, as Go's encoder has it. All of these stand in strings only.
std::string printable_json(std::string_view text);

}  // namespace corten::report
