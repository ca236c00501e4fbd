#include "source/git_submodules.h"

#include <map>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"

namespace corten::source {

namespace {

struct Settings {
  std::string path, url, update;
};

// `git config --list -z`: "submodule.NAME.KEY\nVALUE\0"; a name may hold dots.
std::map<std::string, Settings> parse_settings(std::string_view text) {
  std::map<std::string, Settings> found;
  for (const std::string& entry : split(text, '\0')) {
    if (!entry.starts_with("submodule.")) continue;
    size_t value = entry.find('\n');
    if (value == std::string::npos) continue;
    std::string key = entry.substr(10, value - 10);
    size_t dot = key.rfind('.');
    if (dot == std::string::npos) continue;
    Settings& settings = found[key.substr(0, dot)];
    std::string name = key.substr(dot + 1);
    if (name == "path") settings.path = entry.substr(value + 1);
    if (name == "url") settings.url = entry.substr(value + 1);
    if (name == "update") settings.update = entry.substr(value + 1);
  }
  return found;
}

}  // namespace

std::string resolve_submodule_url(const std::string& parent, const std::string& url) {
  if (!url.starts_with("./") && !url.starts_with("../")) return url;
  std::string base = parent, rest = url;
  while (base.ends_with('/')) base.pop_back();
  while (true) {
    if (rest.starts_with("./")) {
      rest.erase(0, 2);
    } else if (rest.starts_with("../")) {
      rest.erase(0, 3);
      size_t scheme = base.find("://");
      size_t cut = base.find_last_of(scheme == std::string::npos ? "/:" : "/");
      if (cut == std::string::npos || (scheme != std::string::npos && cut < scheme + 3))
        fail(ErrorCode::kInvalid, "submodule address {}: it climbs above {}", quote(url), parent);
      bool is_scp = base[cut] == ':';
      base.resize(is_scp ? cut + 1 : cut);
      if (is_scp) return base + rest;
    } else {
      return base + "/" + rest;
    }
  }
}

namespace {

std::string purpose(const std::string& remote) {
  return "failed to update submodules for " + remote;
}

// Path to commit.
std::map<std::string, std::string> links_of(std::string_view tree) {
  std::map<std::string, std::string> links;
  for (const std::string& line : split(tree, '\0')) {
    if (!line.starts_with("160000 commit ")) continue;
    size_t tab = line.find('\t');
    if (tab != std::string::npos) links[line.substr(tab + 1)] = line.substr(14, tab - 14);
  }
  return links;
}

}  // namespace

std::vector<GitSubmodule> list_submodules(const GitRepository& repository, const std::string& commit) {
  const GitProgram& program = repository.program();
  const std::string& remote = program.remote().remote;
  std::string tree =
      program.run(repository.place(), {"ls-tree", "-r", "-z", "--full-tree", commit}, purpose(remote));
  if (links_of(tree).empty()) return {};
  // Read from the commit, so that no link in a checkout can stand in for it.
  SubprocessResult config =
      program.try_run(repository.place(), {"config", "--blob", commit + ":.gitmodules", "-z", "--list"});
  return parse_submodules(tree, config.exit_code == 0 ? config.output : "", remote);
}

std::vector<GitSubmodule> parse_submodules(std::string_view tree, std::string_view config,
                                           const std::string& remote) {
  std::map<std::string, std::string> links = links_of(tree);
  auto settings = parse_settings(config);
  for (const auto& [name, s] : settings) {
    if (s.url.starts_with('-'))
      throw Error(ErrorCode::kInvalid,
                  fmt::format("submodule {}: its URL {} begins with a dash", quote(name), quote(s.url)))
          .with_hint("such a URL is an option to the programs that fetch it; build with ?submodules=false");
    if (s.path.starts_with('-'))
      fail(ErrorCode::kInvalid, "submodule {}: its path {} begins with a dash", quote(name), quote(s.path));
  }
  std::map<std::string_view, const std::pair<const std::string, Settings>*> by_path;
  for (const auto& item : settings) by_path[item.second.path] = &item;
  std::vector<GitSubmodule> found;
  for (auto& [path, id] : links) {
    GitSubmodule module;
    module.path = path;
    module.commit = id;
    if (auto known = by_path.find(path); known != by_path.end()) {
      const auto& [name, s] = *known->second;
      if (s.update == "none") continue;
      module.name = name;
      module.url = s.url;
    }
    if (module.url.empty())
      throw Error(ErrorCode::kInvalid, fmt::format("{}: no url found for submodule path {} in .gitmodules",
                                                   purpose(remote), quote(path)))
          .with_hint("build without submodules: ?submodules=false");
    try {
      module.remote = parse_git_remote(resolve_submodule_url(remote, module.url));
    } catch (Error& error) {
      error.add_context(fmt::format("submodule {}", quote(module.name)));
      throw;
    }
    found.push_back(std::move(module));
  }
  return found;
}

}  // namespace corten::source
