// Users and groups of an image, read from its own /etc/passwd and /etc/group, never through libc.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/contents.h"
#include "store/tree.h"

namespace corten::store {

struct RunUser {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  // supplementary, the primary one first, as runc sets them
  std::string home = "/";
};

// The account files of a root file system, as far as they can be read; lines that are no entries are passed
// over.
class Accounts {
 public:
  static Accounts load(const Tree& tree, const Contents& contents);
  static Accounts parse(std::string_view passwd, std::string_view group);

  // Who a process of USER `text` is (dockerfile-features 1.11). Error(kInvalid): `unable to find user x: no
  // matching entries in passwd file`.
  RunUser run_user(std::string_view text) const;

  struct User {
    std::string name, home;
    uint32_t uid, gid;
  };
  struct Group {
    std::string name;
    uint32_t gid;
    std::vector<std::string> members;
  };
  // nullptr when there is no such entry. They live as long as the accounts.
  const User* user_by_name(std::string_view name) const;
  const User* user_by_id(uint32_t uid) const;
  const Group* group_by_name(std::string_view name) const;
  // Whether there was a file system to look names up in, with or without account files.
  bool has_files() const { return has_files_; }

 private:
  std::vector<User> users_;
  std::vector<Group> groups_;
  bool has_files_ = false;
};

}  // namespace corten::store
