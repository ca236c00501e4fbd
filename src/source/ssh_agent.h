// ssh agents, as a build hands them on: the user's own, or one of ours that holds keys from files.
//
// A step talks to a socket of ours (draft-miller-ssh-agent): it may list keys and have things signed.
// Everything else (adding, removing, locking, extensions) is refused, so a step cannot change the user's
// agent; BuildKit draws the same line.
#pragma once
#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace corten::source {

// Thread-safe.
class SshAgent {
 public:
  virtual ~SshAgent() = default;
  // The answer to one message, both without their length.
  virtual std::string answer(std::string_view message) = 0;

  // The agent behind a socket of this machine.
  static std::shared_ptr<SshAgent> forwarded(const std::string& socket);
  // One with keys; for each a file's path. Errors as of SshKey::parse, and of reading.
  static std::shared_ptr<SshAgent> with_keys(const std::vector<std::string>& files);
};

// A socket at which an agent answers, until it is destroyed.
class SshAgentSocket {
 public:
  struct Options {
    mode_t mode = 0600;
    uid_t uid = 0;  // -1: ours
    gid_t gid = 0;
  };
  // Makes `directory`/`name`; the path may be longer than a socket's address.
  SshAgentSocket(std::shared_ptr<SshAgent> agent, const std::string& directory, const std::string& name,
                 const Options& options);
  ~SshAgentSocket();
  SshAgentSocket(const SshAgentSocket&) = delete;
  SshAgentSocket& operator=(const SshAgentSocket&) = delete;

  const std::string& path() const { return path_; }

 private:
  void serve();

  std::shared_ptr<SshAgent> agent_;
  std::string path_;
  UniqueFd listener_;
  Pipe end_;
  std::thread thread_;
};

}  // namespace corten::source
