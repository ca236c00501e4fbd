#include "dockerfile/stages.h"

#include <algorithm>

#include "base/strings.h"
#include "base/suggest.h"

namespace corten::dockerfile {

std::optional<size_t> find_base_stage(const std::vector<Stage>& stages, std::string_view name, size_t end) {
  for (size_t i = std::min(end, stages.size()); i-- > 0;)
    if (stages[i].from.name && stages[i].from.name->text == name) return i;
  return std::nullopt;
}

std::optional<size_t> find_stage(const std::vector<Stage>& stages, std::string_view name, size_t end) {
  return find_base_stage(stages, to_lower(name), end);
}

std::optional<size_t> find_stage_index(const std::vector<Stage>& stages, std::string_view text) {
  auto index = parse_int(text);
  if (!index) return std::nullopt;
  if (*index < 0 || static_cast<uint64_t>(*index) >= stages.size())
    fail(ErrorCode::kInvalid, "invalid stage index {}", *index);
  return static_cast<size_t>(*index);
}

size_t find_target(const std::vector<Stage>& stages, std::string_view target) {
  if (target.empty() && !stages.empty()) return stages.size() - 1;
  if (auto found = find_stage(stages, target)) return *found;
  std::vector<std::string> names;
  for (const Stage& stage : stages)
    if (stage.from.name) names.push_back(stage.from.name->text);
  fail(ErrorCode::kNotFound, "target stage {} could not be found{}", quote(target),
       did_you_mean(target, names));
}

std::string stage_label(const std::vector<Stage>& stages, size_t index) {
  const auto& name = stages.at(index).from.name;
  return name ? name->text : fmt::format("stage-{}", index);
}

}  // namespace corten::dockerfile
