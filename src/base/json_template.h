// `--format` as scripts write it for Docker: text with {{.Field.Of.A.Value}} and {{json .Field}} in it. The
// rest of Go's template language is refused by name.
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"

namespace corten {

// Error(kUsage) for what is not understood, or a field that is not there (with its neighbours' names).
std::string expand_template(std::string_view text, const Json& value);

}  // namespace corten
