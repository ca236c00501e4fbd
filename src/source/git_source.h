// A git repository as a tree of files: BuildKit's git source (dockerfile-features 1.10, 1.15), with its
// checkouts remembered by commit.
//
// A checkout lies in a temporary directory for as long as its files are read into the store; what stays is a
// manifest under the key (commit, directory, .git, submodules). So a commit that was built before needs
// neither the network nor git when it is named by its id, and one question to the remote when by a ref.
//
// Files are 0644 or 0755, directories 0755, owner 0:0, whatever our umask. A kept .git is as small and as
// equal between machines as git makes it: depth 1, one pack without differences, an index without times.
#pragma once
#include <map>
#include <memory>
#include <mutex>

#include "source/git_repository.h"
#include "store/store.h"

namespace corten::source {

struct GitOptions {
  bool keep_git_dir = false;
  bool commit_times = false;  // entries have the commit's time
  std::function<void(std::string_view)> note;
};

struct GitCheckout {
  std::shared_ptr<const store::Tree> tree;
  std::string commit;
};

// Thread-safe. A ref is asked for once in the life of an object: it is one commit in all of a build.
class GitSource {
 public:
  GitSource(store::Store& store, GitAccess access, unsigned threads);

  // `keep_git_dir` of the reference wins when it is set. Errors name the remote.
  GitCheckout checkout(const GitReference& reference, const GitOptions& options);

 private:
  struct Wish {
    const GitAccess& access;
    const GitReference& main;
    bool keeps_git, submodules;
    size_t& modules;  // how many there were so far
  };
  void check_out(GitRepository& repository, const GitCommit& commit, const std::string& directory,
                 const Wish& wish, int depth);
  void keep_git(const GitRepository& repository, const GitCommit& commit, const std::string& directory);
  store::Manifest read(const std::string& directory, const std::string& subdir, std::optional<int64_t> time);

  GitCommit resolve(const GitRepository& repository, const GitReference& reference);

  store::Store& store_;
  GitAccess access_;
  unsigned threads_;
  std::mutex mutex_;
  std::map<std::string, GitCommit> resolved_;
};

}  // namespace corten::source
