// From a recipe to a lock: which packages, by libsolv in a helper program (src/helpers/solve_debian).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "source/debian/archive_index.h"
#include "source/debian/recipe.h"

namespace corten::source::debian {

// What the solver is asked; a plain value, written to the helper's standard input by emit_question().
struct SolverQuestion {
  std::string architecture;
  std::vector<std::string> indexes;    // Packages files, uncompressed
  std::vector<std::string> wanted;     // NAME or NAME=VERSION
  std::vector<std::string> assumed;    // taken for installed, in any version
  std::vector<std::string> preferred;  // where several packages provide the same
};
std::string emit_question(const SolverQuestion& question);

struct ChosenPackage {
  std::string name, version, architecture;
  auto operator<=>(const ChosenPackage&) const = default;
};
// Runs the helper; sorted by name. Error(kFailed) with the solver's words when there is no solution.
std::vector<ChosenPackage> solve(const SolverQuestion& question);

// What a variant consists of before anything is included, and what it takes for given.
struct VariantPackages {
  std::vector<std::string> base;  // names
  std::vector<std::string> assumed;
};
// `essential`: names with Essential: yes; `exists`: whether the archive has a package.
VariantPackages variant_packages(const Recipe& recipe, const std::vector<std::string>& essential,
                                 const std::function<bool(std::string_view)>& exists);

struct ResolveOptions {
  http::Client& http;
  store::Store& store;
  Progress progress;
  HostPath etc_apt{"/etc/apt"};
};

// Fetches and verifies the indexes, solves, and pins. The sources that were used are those of sources_for().
Lock resolve(const Recipe& recipe, const ResolveOptions& options);

// Makes sure that the store's contents hold every package of the lock, whole and verified; what is there
// needs no network.
void fetch_packages(const Recipe& recipe, const Lock& lock, const ResolveOptions& options);

}  // namespace corten::source::debian
