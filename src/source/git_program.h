// The `git` program, started so that nothing of the user, of the machine or of the repository steers it.
//
// BuildKit drives git too, and so gets what git knows about forges, packs and old servers. But git reads
// configuration from five places, runs hooks, filters and credential helpers, asks on the terminal, and takes
// words of a repository for options. Here it gets an environment of its own in which all of these are
// switched off; addresses and refs that begin with a dash were refused before (git_reference.h); passwords go
// through the environment, never through the argument list, which every user of the machine can read.
//
// git would send an Authorization header of its configuration on to whatever host a server redirects it to.
// So with a secret at hand it follows no redirect; our own client, which drops the header on another host,
// finds out where the repository went, and git is told when that is on the same host.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/subprocess.h"
#include "base/thread_pool.h"
#include "source/git_reference.h"

namespace corten::source {

// What may be used to get at a repository. Copied; shared between threads.
struct GitAccess {
  std::function<std::optional<std::string>(const std::string& id)> secret;  // GIT_AUTH_TOKEN, GIT_AUTH_HEADER
  std::function<std::string()> ssh_socket;                                  // an agent's socket; "" none
  std::string known_hosts;                     // a file for the keys of ssh hosts met for the first time
  std::function<void(std::string_view)> note;  // "fetching https://..."
  Cancellation cancellation;
  int silence_ms = 120'000;                      // a server that says nothing for so long is given up
  uint64_t max_file_bytes = uint64_t{16} << 30;  // a pack, or a file of the checkout
};

// One repository's address with what is needed to speak to it. Thread-safe.
class GitProgram {
 public:
  // `main` is what the user named: secrets without a host's name are for it (and, when it is on github.com,
  // for what else is there, as with BuildKit).
  GitProgram(GitAccess access, GitReference remote, const GitReference& main);

  struct Place {
    std::string git_dir, work_tree, index;
    bool local = false;  // may read other repositories of this machine (ours)
  };
  // Error(kNotFound) when there is no git; an exit code is a result.
  SubprocessResult try_run(const Place& place, std::vector<std::string> arguments) const;
  // Error(kFailed, kNotFound, kPermission) `WHAT: fatal: ...` in git's words.
  std::string run(const Place& place, std::vector<std::string> arguments, std::string_view what) const;

  // The error that git's words stand for, with what to do about it.
  [[noreturn]] void refuse(std::string_view what, const std::string& reason) const;

  const GitReference& remote() const { return remote_; }
  const GitAccess& access() const { return access_; }

 private:
  std::map<std::string, std::string> environment(const Place& place) const;
  SubprocessResult run_once(const Place& place, const std::vector<std::string>& argv) const;
  void follow() const;

  // Where the server says that the repository is now; "" where it was.
  struct Moved {
    std::mutex mutex;
    std::string remote;
  };

  GitAccess access_;
  GitReference remote_;
  std::string authorization_, authorization_scope_;
  std::shared_ptr<Moved> moved_ = std::make_shared<Moved>();
};

// The lines of git's standard error that say why: fatal, error and what the server said.
std::string git_reason(std::string_view error_output);

}  // namespace corten::source
