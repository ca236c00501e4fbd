// Whose a copied file is: --chown, and the directories that WORKDIR makes.
#pragma once
#include <cstdint>
#include <string_view>

#include "store/accounts.h"

namespace corten::build {

struct Owner {
  uint32_t uid = 0, gid = 0;
};

// --chown `text`: unknown names are 0, an unknown group the user's, as with BuildKit. Error(kInvalid) for a
// name when there is no file system to look it up in.
Owner owner_of(const store::Accounts& accounts, std::string_view text);
// Who owns a directory that WORKDIR makes under USER `text`: `USER 4321` gives 4321:4321, an unknown name
// root.
Owner workdir_owner(const store::Accounts& accounts, std::string_view text);

}  // namespace corten::build
