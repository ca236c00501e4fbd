// From a container's description to a sandbox: layers, upper, mounts, user, files in /etc.
#pragma once
#include <optional>
#include <vector>

#include "container/container.h"
#include "sandbox/privilege.h"
#include "sandbox/recorder.h"
#include "sandbox/spec.h"

namespace corten::container {

// A sandbox's description with the descriptors that it borrows. Move-only.
struct Box {
  sandbox::Spec spec;
  std::vector<UniqueFd> layers;
  // Where only one id exists: what a recorder (made by who stays) must know.
  std::optional<sandbox::Recorder::Options> recorder;
};

// Makes upper, work and volumes in the container's directory and resolves the user. After enter(). The
// network, the resolver and the standard streams are the monitor's to set. Error as the parts give it; runc's
// words for an unknown user.
Box make_box(const Container& container, const sandbox::Entered& entered, store::Store& store);

// The description of another process in a running container: environment, directory and user are set; the
// namespaces are those of `init` (a pidfd, with its number). Reads the account files as they are in the
// container now.
struct JoinOptions {
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // NAME=value, on top of the container's
  std::string user, directory;           // "": the container's
};
sandbox::Spec join_spec(const ContainerSpec& container, const JoinOptions& options, int init_pidfd,
                        pid_t init_pid);

}  // namespace corten::container
