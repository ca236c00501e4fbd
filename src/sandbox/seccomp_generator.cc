// Run when Corten is built: PROFILE.json OUTPUT.inc. Writes the default filter and the profile's text as C++.
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/unique_fd.h"
#include "sandbox/capability_set.h"
#include "sandbox/seccomp_profile.h"

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const std::string json = corten::read_file(argv[1]);
  std::string out = fmt::format(
      "// Made from seccomp-docker.json.\nconstexpr std::string_view kProfile = R\"json({})json\";\n", json);
  out += "alignas(8) constexpr uint8_t kDefaultFilter[] = {";
  int column = 0;
  for (uint8_t byte : corten::sandbox::compile_seccomp_profile(json, corten::sandbox::kDefaultCapabilityBits))
    out += fmt::format("{}{},", column++ % 32 == 0 ? "\n" : "", byte);
  out += "\n};\n";
  corten::write_file_atomic(argv[2], out);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "seccomp_generator: {}\n", error.what());
  return 1;
}
