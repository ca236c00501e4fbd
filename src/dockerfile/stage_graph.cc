#include "dockerfile/stage_graph.h"

#include <cstdint>

#include "base/strings.h"
#include "dockerfile/mount.h"
#include "dockerfile/stages.h"

namespace corten::dockerfile {

std::vector<std::vector<StageNeed>> stage_needs(const Dockerfile& file,
                                                const std::vector<std::optional<size_t>>& bases,
                                                const std::map<std::string, size_t>& by_name) {
  std::vector<std::vector<StageNeed>> needs(file.stages.size());
  for (size_t i = 0; i < needs.size(); i++) {
    if (bases[i]) needs[i].push_back({*bases[i], nullptr});
    auto need = [&](const std::string& name, bool allow_index, const Instruction& at) {
      if (auto number = allow_index ? parse_int(name) : std::nullopt) {
        if (*number >= 0 && *number < static_cast<int64_t>(needs.size()))
          needs[i].push_back({static_cast<size_t>(*number), &at});
      } else if (auto found = by_name.find(to_lower(name)); found != by_name.end()) {
        needs[i].push_back({found->second, &at});
      }
    };
    for (const Command& command : file.stages[i].commands) {
      if (auto* copy = std::get_if<Copy>(&command)) {
        if (copy->from) need(copy->from->text, true, *copy);
      } else if (auto* run = std::get_if<Run>(&command)) {
        for (const Word& mount : run->mounts)
          for (const std::string& field : split_csv(mount.text))
            if (to_lower(field).starts_with("from=")) need(field.substr(5), false, *run);
      }
    }
  }
  return needs;
}

void refuse_circles(const Dockerfile& file, const std::vector<std::vector<StageNeed>>& needs) {
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  std::vector<Mark> marks(needs.size(), Mark::kNew);
  struct Visit {
    size_t stage, next;
  };
  for (size_t start = 0; start < needs.size(); start++) {
    if (marks[start] != Mark::kNew) continue;
    std::vector<Visit> path = {{start, 0}};
    marks[start] = Mark::kOpen;
    while (!path.empty()) {
      Visit& visit = path.back();
      if (visit.next == needs[visit.stage].size()) {
        marks[visit.stage] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const StageNeed& need = needs[visit.stage][visit.next++];
      if (marks[need.stage] == Mark::kOpen)
        throw Error(ErrorCode::kInvalid,
                    "circular dependency detected on stage: " + stage_label(file.stages, start))
            .with_span(need.at ? need.at->span : file.stages[visit.stage].from.span);
      if (marks[need.stage] == Mark::kDone) continue;
      marks[need.stage] = Mark::kOpen;
      path.push_back({need.stage, 0});
    }
  }
}

void mark_needed(const std::vector<std::vector<StageNeed>>& needs, size_t target, std::vector<bool>& wanted) {
  std::vector<size_t> open = {target};
  wanted[target] = true;
  while (!open.empty()) {
    size_t index = open.back();
    open.pop_back();
    for (const StageNeed& need : needs[index])
      if (!wanted[need.stage]) wanted[need.stage] = true, open.push_back(need.stage);
  }
}

}  // namespace corten::dockerfile
