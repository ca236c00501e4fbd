// What a target can be given: --call=outline.
#include <algorithm>

#include "dockerfile/lint_stages.h"

namespace corten::dockerfile {

namespace {

// Global arguments count when they are used, through the defaults of others too.
void tell_args(StageWalk& s, const ArgInfos& meta, std::set<std::string>& told,
               std::vector<OutlineArg>& list) {
  auto own = [&](const std::string& name) -> const ArgInfo* {
    for (auto it = s.args.rbegin(); it != s.args.rend(); ++it)
      if (it->first == name) return &it->second;
    for (const auto& [key, info] : meta)
      if (key == name) return &info;
    return nullptr;
  };
  std::vector<std::string> open(s.used.begin(), s.used.end());
  for (size_t i = 0; i < open.size(); i++)
    if (const ArgInfo* info = own(open[i]))
      for (const std::string& name : info->uses)
        if (s.used.insert(name).second) open.push_back(name);
  for (const std::string& name : s.used)
    if (const ArgInfo* info = own(name); info && told.insert(name).second) list.push_back(info->told);
}

}  // namespace

void tell_outline(const Dockerfile& file, size_t target, std::vector<StageWalk>& stages,
                  const std::vector<std::vector<StageNeed>>& needs, const ArgInfos& meta, Outline& outline) {
  const Stage& stage = file.stages[target];
  if (stage.from.name) outline.name = stage.from.name->text;
  outline.description = stage.description;
  std::vector<bool> seen(stages.size());
  std::vector<size_t> open = {target};
  std::set<std::string> args, secrets, ssh;
  seen[target] = true;
  for (size_t i = 0; i < open.size(); i++) {
    StageWalk& s = stages[open[i]];
    tell_args(s, meta, args, outline.args);
    for (const OutlineAccess& access : s.secrets)
      if (secrets.insert(access.name).second) outline.secrets.push_back(access);
    for (const OutlineAccess& access : s.ssh)
      if (ssh.insert(access.name).second) outline.ssh.push_back(access);
    for (const StageNeed& need : needs[open[i]])
      if (!seen[need.stage]) seen[need.stage] = true, open.push_back(need.stage);
  }
  auto by_line = [](const auto& a, const auto& b) { return a.span.line < b.span.line; };
  std::stable_sort(outline.args.begin(), outline.args.end(), by_line);
  std::stable_sort(outline.secrets.begin(), outline.secrets.end(), by_line);
  std::stable_sort(outline.ssh.begin(), outline.ssh.end(), by_line);
}

}  // namespace corten::dockerfile
