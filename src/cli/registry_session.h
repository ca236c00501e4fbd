// What a command that speaks with registries needs, made when it is first asked for: a build that stays
// within the store reads no file about registries.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/thread_pool.h"
#include "registry/access.h"
#include "registry/hosts.h"
#include "registry/remote.h"
#include "source/registry_image.h"

namespace corten::cli {

// What a command's operand names, with or without docker:// before it. Error(kUsage).
oci::Reference remote_name(const std::string& text);

// Thread-safe.
class RegistrySession {
 public:
  // `warn` is told what people should know; from any thread.
  RegistrySession(Cancellation cancellation, std::function<void(const std::string&)> warn,
                  std::string authfile = {}, registry::RetryRules retry = {});
  registry::Remote& remote();
  source::RegistryImages& images(store::Store& store);
  // How far downloads are; before images() is asked for.
  void set_watch(std::function<void(const oci::Descriptor&, uint64_t)> watch) { watch_ = std::move(watch); }

 private:
  Cancellation cancellation_;
  std::function<void(const std::string&)> warn_;
  std::string authfile_;
  registry::RetryRules retry_;
  std::function<void(const oci::Descriptor&, uint64_t)> watch_;
  std::mutex mutex_;
  std::unique_ptr<registry::Hosts> hosts_;
  std::unique_ptr<registry::Access> access_;
  std::unique_ptr<registry::Remote> remote_;
  std::unique_ptr<source::RegistryImages> images_;
};

}  // namespace corten::cli
