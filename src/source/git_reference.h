// How a git repository is named in a build: address, ref and directory in one text, as BuildKit reads it
// (dockerfile-features 1.10, "Git"; 1.15). Pure.
//
//   https://host/repo.git#ref:dir        the fragment form
//   https://host/repo.git?ref=v1&subdir=dir&checksum=SHA&keep-git-dir=1&submodules=0&mtime=commit
//   git@host:repo#ref, ssh://, git://    any path
//   github.com/owner/repo                contexts only
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace corten::source {

struct GitReference {
  std::string remote;     // what git is given: no query, no fragment, no password
  std::string user_info;  // "user:password" of an http address, decoded; never shown
  std::string scheme;     // http, https, ssh, git, file
  std::string host;       // as the names of secrets have it: with a port that was written
  std::string ref, subdir;
  std::string checksum;  // a commit id, or how it begins
  std::optional<bool> keep_git_dir, submodules;
  bool commit_times = false;     // mtime=commit
  bool fetch_by_commit = false;  // `checksum` is the commit; the ref is not asked for
  bool like_local = false;       // github.com/...: could be a directory as well

  std::string shown() const;  // "https://host/repo.git#ref:dir"
};

struct GitReferenceOptions {
  bool files = false;  // file:// too: what the user wrote on the command line, never what a Dockerfile says
};

// Nothing when the text names no git repository. Error(kInvalid), in BuildKit's words, for a repository with
// a query that cannot be, and for whatever the git program could take for an option.
std::optional<GitReference> parse_git_reference(std::string_view text,
                                                const GitReferenceOptions& options = {});

// A bare address, as .gitmodules has it: any path, no fragment. Error(kInvalid) for a scheme that is not
// fetched from.
GitReference parse_git_remote(std::string_view address);

// 40 or 64 hexadecimal digits.
bool is_commit_id(std::string_view text);

}  // namespace corten::source
