// The lines of a file around a place, as buildx prints them, with a caret under the column.
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::dockerfile {

// Dockerfile:2
// --------------------
//    1 |     FROM alpine
//    2 | >>> RUN --mont=type=cache make
//      |         ^
// --------------------
// Control characters of the text are made visible. "" when the span has no line or the text does not reach
// it.
std::string render_excerpt(std::string_view text, const SourceSpan& span);

// "https://user:password@host" with a star for each byte before the @, so that columns stay: excerpts go into
// logs that others read.
std::string masked_credentials(std::string text);

}  // namespace corten::dockerfile
