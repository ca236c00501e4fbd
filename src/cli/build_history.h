// What the commands that look back share: `builds`, `why`.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "build/journal.h"
#include "store/store.h"

namespace corten::cli {

// The steps of a build, in the order of the plan.
std::vector<build::JournalStep> journal_of(const store::Store& store, const store::BuildRecord& record);

std::string duration_text(int64_t ns);  // "0.4s", "3m12s"
// The first line, at most that many characters.
std::string shortened(std::string_view text, size_t most);
// On a line, with nothing that controls a terminal.
void print_json(const Json& json);

}  // namespace corten::cli
