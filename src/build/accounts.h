// Users and groups of an image, read from its own /etc/passwd and /etc/group, never through libc.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/contents.h"
#include "store/tree.h"

namespace corten::build {

struct RunUser {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  // supplementary
  std::string home = "/";
};

struct Owner {
  uint32_t uid = 0, gid = 0;
};

// The account files of a root file system, as far as they can be read; lines that are no entries are passed over.
class Accounts {
 public:
  static Accounts load(const store::Tree& tree, const store::Contents& contents);
  static Accounts parse(std::string_view passwd, std::string_view group);

  // Who a process of USER `text` is (dockerfile-features 1.11). Error(kInvalid): `unable to find user x: no matching entries in passwd file`.
  RunUser run_user(std::string_view text) const;
  // --chown `text`: unknown names are 0, an unknown group the user's, as with BuildKit. Error(kInvalid) for a name when
  // there is no file system to look it up in.
  Owner owner(std::string_view text) const;
  // Who owns a directory that WORKDIR makes under USER `text`: `USER 4321` gives 4321:4321, an unknown name root.
  Owner workdir_owner(std::string_view text) const;

 private:
  struct User {
    std::string name, home;
    uint32_t uid, gid;
  };
  struct Group {
    std::string name;
    uint32_t gid;
    std::vector<std::string> members;
  };
  const User* user_by_name(std::string_view name) const;
  const User* user_by_id(uint32_t uid) const;
  const Group* group_by_name(std::string_view name) const;

  std::vector<User> users_;
  std::vector<Group> groups_;
  bool has_passwd_ = false, has_group_ = false;
};

}  // namespace corten::build
