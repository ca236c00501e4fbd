#include "cli/container_session.h"

#include <stdio.h>

namespace corten::cli {

static std::function<void(std::string_view)> writer(FILE* stream) {
  return [stream](std::string_view text) {
    if (fwrite(text.data(), 1, text.size(), stream) != text.size() || fflush(stream) != 0)
      fail_errno("write to {}", stream == stdout ? "standard output" : "standard error");
  };
}

ContainerSession::ContainerSession()
    : session_(Session::open({.needs_bodies = false})),
      context_{session_.store(), session_.clock(), writer(stdout), writer(stderr), [] {
                 sandbox::Entered entered = sandbox::enter();
                 sandbox::require_namespaces(entered, "containers");
                 return entered;
               }} {}

}  // namespace corten::cli
