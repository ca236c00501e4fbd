// Submodules as a commit names them: what .gitmodules says is foreign and is checked before git sees it.
#pragma once
#include <string>
#include <vector>

#include "source/git_repository.h"

namespace corten::source {

struct GitSubmodule {
  std::string name, path, commit;
  std::string url;      // as it is written
  GitReference remote;  // where it is fetched from
};

// Those that the commit has and .gitmodules gives an address. Error(kInvalid) names the submodule: an address
// or a path that begins with a dash, an address on this machine, none at all.
std::vector<GitSubmodule> list_submodules(const GitRepository& repository, const std::string& commit);

// The same, from what git says: `ls-tree -r -z --full-tree COMMIT` and `config --blob COMMIT:.gitmodules -z
// --list`, in the repository at `remote`.
std::vector<GitSubmodule> parse_submodules(std::string_view tree, std::string_view settings,
                                           const std::string& remote);

// "../other.git" seen from the repository that says so.
std::string resolve_submodule_url(const std::string& parent, const std::string& url);

}  // namespace corten::source
