// What a fuzz target is: a name, a function that reads any bytes and knows what must hold (its oracle), and
// inputs to begin with. driver.cc finds and runs them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::fuzz {

using Reader = void (*)(std::string_view input);

struct Target {
  std::string name;
  Reader read;
  std::vector<std::string> seeds;
  bool is_slow = false;  // a plain test changes fewer inputs
};

// Called before main().
struct Registration {
  Registration(std::string name, Reader read, std::vector<std::string> seeds, bool is_slow = false);
};

// Ends the program, which tells where the input lies.
[[noreturn]] void broken(const char* condition, const char* file, int line);

// Runs `read` and says whether it came to an end; an Error of another code than these is a finding.
template <typename F>
bool tolerate(std::initializer_list<ErrorCode> codes, F read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    for (ErrorCode code : codes)
      if (error.code() == code) return false;
    broken(error.what(), "an error of this code is not expected", static_cast<int>(error.code()));
  }
}

// What may reach a terminal: whole UTF-8, line ends and tabs, no other control character, and of escape
// sequences only colours, when `with_colors`.
bool is_terminal_text(std::string_view text, bool with_colors = false);

}  // namespace corten::fuzz

#define REQUIRE(condition)                                                    \
  do {                                                                        \
    if (!(condition)) ::corten::fuzz::broken(#condition, __FILE__, __LINE__); \
  } while (false)

#define FUZZ_TARGET(name, ...)                                                                    \
  static void fuzz_##name(std::string_view input);                                                \
  static const ::corten::fuzz::Registration registered_##name(#name, fuzz_##name, {__VA_ARGS__}); \
  static void fuzz_##name(std::string_view input)

// One that works on a whole store.
#define SLOW_FUZZ_TARGET(name, ...)                                                                     \
  static void fuzz_##name(std::string_view input);                                                      \
  static const ::corten::fuzz::Registration registered_##name(#name, fuzz_##name, {__VA_ARGS__}, true); \
  static void fuzz_##name(std::string_view input)
