#include "cli/transfer.h"

#include "cli/flags.h"

namespace corten::cli {

void TransferFlags::add_to(CLI::App& app) {
  app.add_option("--authfile", authfile, "file with credentials");
  app.add_flag("-q,--quiet", quiet, "print the result alone");
}

Transfer::Transfer(std::string verb, const TransferFlags& flags)
    : progress(std::move(verb), flags.quiet),
      registry(
          {}, [this](const std::string& text) { progress.say("WARNING: " + text); }, flags.authfile) {
  registry.set_watch([this](const oci::Descriptor& blob, uint64_t at) { progress.moved(blob, at); });
}

std::function<void(const oci::Descriptor&, uint64_t, std::optional<registry::Placed>)> Transfer::watch() {
  return [this](const oci::Descriptor& blob, uint64_t at, std::optional<registry::Placed> placed) {
    progress.moved(blob, at, placed.has_value());
  };
}

}  // namespace corten::cli
