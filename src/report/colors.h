// The colours of a build's picture: BUILDKIT_COLORS as BuildKit reads it, e.g.
// `run=green:cancel=255,165,0:error=red:warning=yellow`.
#pragma once
#include <string>
#include <string_view>

namespace corten::report {

// SGR parameters ("32", "38;2;255;165;0").
struct Colors {
  std::string run = "34", cancel = "33", error = "31", warning = "33", dim = "2";
};

// Fields that cannot be read keep their default, as with BuildKit.
Colors parse_colors(std::string_view text);

}  // namespace corten::report
