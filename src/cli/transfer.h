// What the commands that move images between registries and elsewhere have alike: where credentials are, a
// line of progress, a session with registries.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "cli/registry_session.h"
#include "cli/transfer_progress.h"
#include "registry/remote.h"

namespace CLI {
class App;
}

namespace corten::cli {

struct TransferFlags {
  std::string authfile;
  bool quiet = false;
  void add_to(CLI::App& app);
};

struct Transfer {
  // `verb`: "pulling".
  Transfer(std::string verb, const TransferFlags& flags);
  // For what sends images (image::PushOptions, image::CopyOptions).
  std::function<void(const oci::Descriptor& blob, uint64_t at, std::optional<registry::Placed> placed)>
  watch();

  TransferProgress progress;
  RegistrySession registry;  // what is downloaded through it moves the line, too
};

}  // namespace corten::cli
