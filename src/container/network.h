// The network of a container: the machine's, or one of its own with a way out.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace corten::container {

// The way out of a network namespace through a helper program: pasta, else slirp4netns, where one is
// installed and /dev/net/tun opens. The program is our child, dies with us, and is killed with this object.
// Move-only.
class Outward {
 public:
  Outward() = default;
  // Tries them one after the other; gives one that is not open when there is no way. Waits until the
  // interface is there (at most 5 s a program). Call while we are in the machine's network namespace, from a
  // process without threads.
  static Outward open(int network_namespace);
  // Whether open() has a chance: cheap, nothing is started.
  static bool is_likely();

  Outward(Outward&& other) noexcept;
  Outward& operator=(Outward&& other) noexcept;
  ~Outward();

  const std::string& program() const { return program_; }  // "pasta", "slirp4netns"; "" when there is no way
  const std::string& resolver() const { return resolver_; }  // what resolv.conf inside should say

 private:
  std::string program_, resolver_;
  pid_t pid_ = -1;
};

// Moves this process; later sockets are made there.
void enter_network(int network_namespace);

// resolv.conf for a container on the machine's network: the machine's own.
std::string machine_resolver();

}  // namespace corten::container
