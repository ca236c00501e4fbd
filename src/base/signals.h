// Signals by name, as images and command lines write them. Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace corten {

// A number but 0, or the name of a Linux signal with or without SIG, in any case: "TERM", "sigusr1",
// "RTMIN+3".
std::optional<int> parse_signal(std::string_view text);

// "SIGKILL"; "signal 99" for one without a name.
std::string signal_name(int number);

}  // namespace corten
