// What the commands on containers have in common.
#pragma once
#include <optional>

#include "cli/session.h"
#include "container/commands.h"

namespace corten::cli {

// A session whose store is open, and the context that the container room works in: it writes to our standard
// streams and climbs only when a command asks for it. Most ask for nothing: state files are the user's own,
// and a process may signal what runs in a user namespace of its own making only from outside of it.
class ContainerSession {
 public:
  ContainerSession();
  container::Context& context() { return context_; }
  Session& session() { return session_; }

 private:
  Session session_;
  container::Context context_;
};

}  // namespace corten::cli
