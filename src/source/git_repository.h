// A remote git repository and its copy in the store: which commit a ref is, and how that commit gets here
// with as little as possible.
//
// The copy (git/ID/repo, bare) holds what was ever fetched from one address, each commit at depth 1 under
// refs/corten/commits/ID, so that the server can send the next one as a difference. It is used by one process
// at a time (git/ID/lock).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "source/git_program.h"

namespace corten::source {

struct GitCommit {
  std::string commit;  // what is checked out
  std::string object;  // the annotated tag that names it, or the commit
  std::string name;    // the full ref; "" when a commit was named by its id
};

class GitRepository {
 public:
  // `directory` is the store's place for git repositories.
  GitRepository(const std::string& directory, GitProgram program);

  // Asks the remote. Error(kNotFound) `repository does not contain ref X`, with near names as hint;
  // Error(kCorrupt) when it is not the checksum's.
  GitCommit resolve(const GitReference& reference) const;

  // Brings the commit here: by its ref at depth 1, by its id when the ref has moved on, with the whole
  // history when the server gives nothing else. Error(kNotFound) when it has none such. Completes `commit`
  // when an id was that of a tag.
  void fetch(GitCommit& commit);

  // Lets others use the copy: what has been fetched stays. Before another repository is fetched, or two that
  // name each other would wait for each other.
  void release() { lock_.release(); }

  const GitProgram& program() const { return program_; }
  GitProgram::Place place() const {
    return {.git_dir = repository_, .work_tree = {}, .index = {}, .local = true};
  }

 private:
  void prepare();
  void reset();
  bool has(const std::string& commit) const;
  void fetch_once(GitCommit& commit);
  bool try_fetch(std::vector<std::string> refspecs, bool shallow, std::string& reason);
  [[noreturn]] void no_such_ref(const std::string& ref) const;

  std::string home_, repository_;
  GitProgram program_;
  FileLock lock_;
  bool is_sha256_ = false;
};

}  // namespace corten::source
