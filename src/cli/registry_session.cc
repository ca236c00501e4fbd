#include "cli/registry_session.h"

#include "base/error.h"
#include "registry/cloud/cloud_credentials.h"
#include "registry/credentials.h"

namespace corten::cli {

oci::Reference remote_name(const std::string& text) {
  constexpr std::string_view kScheme = "docker://";
  try {
    return oci::Reference::parse(text.starts_with(kScheme) ? text.substr(kScheme.size()) : text);
  } catch (const Error& error) {
    throw Error(ErrorCode::kUsage, error.message());
  }
}

RegistrySession::RegistrySession(Cancellation cancellation, std::function<void(const std::string&)> warn,
                                 std::string authfile, registry::RetryRules retry)
    : cancellation_(std::move(cancellation)),
      warn_(std::move(warn)),
      authfile_(std::move(authfile)),
      retry_(retry) {}

registry::Remote& RegistrySession::remote() {
  std::lock_guard lock(mutex_);
  if (remote_) return *remote_;
  constexpr int kSilenceMs = 30'000;
  hosts_ = std::make_unique<registry::Hosts>(registry::Hosts::from_system());
  registry::Access::Options options{.http = {}, .credentials = registry::Credentials::from_system(authfile_)};
  options.credentials.add_provider(registry::cloud::cloud_provider());
  options.http.cancellation = cancellation_;
  options.http.timeouts.silence_ms = kSilenceMs;
  access_ = std::make_unique<registry::Access>(std::move(options));
  remote_ = std::make_unique<registry::Remote>(
      *access_, *hosts_,
      registry::RemoteOptions{.retry = retry_, .cancellation = cancellation_, .warn = warn_});
  return *remote_;
}

source::RegistryImages& RegistrySession::images(store::Store& store) {
  std::lock_guard lock(mutex_);
  if (!images_)
    images_ =
        std::make_unique<source::RegistryImages>([this]() -> registry::Remote& { return remote(); }, store,
                                                 source::RegistryImages::Options{.watch = watch_});
  return *images_;
}

}  // namespace corten::cli
