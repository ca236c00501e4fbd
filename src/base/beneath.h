// Paths that foreign bytes name are resolved beneath a directory descriptor and never leave it
// (openat2(2): RESOLVE_IN_ROOT, RESOLVE_BENEATH; kernel 5.6).
#pragma once
#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"

namespace corten {

// Links are followed as if `root` were "/". Empty when it does not exist (ENOENT, ENOTDIR, ELOOP); throws
// otherwise.
std::optional<UniqueFd> open_in_root(int root, std::string_view path, int flags, mode_t mode = 0);
// No link is followed at all, also not in the middle. Empty when absent or when a link is met.
std::optional<UniqueFd> open_no_links(int root, std::string_view path, int flags, mode_t mode = 0);
// Makes each missing directory of the path (mode 0755), following no link. Gives the last one, opened with
// O_PATH|O_DIRECTORY.
UniqueFd make_directories(int root, std::string_view path, mode_t mode = 0755);

// Renames, unless the name is taken: false. An empty directory is taken too, which rename(2) would replace
// under whoever has it open.
bool rename_if_free(const std::string& from, const std::string& to);
// Removes everything below and the directory itself, following no links, never crossing into another file
// system; directories without permission bits are opened up first. Missing is fine, also when another one
// removes it at the same moment.
void remove_tree(const std::string& path);
void remove_tree_at(int dir, const std::string& name);
void make_directories_on_host(const std::string& path, mode_t mode = 0755);
bool path_exists(const std::string& path);  // lstat

}  // namespace corten
