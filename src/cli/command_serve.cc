// corten serve registry: the embedded registry, until a signal ends it.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/strings.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "registry/server/server.h"

namespace corten::cli {

namespace {

using registry::serving::Server;
using registry::serving::ServerOptions;

// Before any thread is made, so that all of them leave these signals to wait_for_end().
sigset_t block_ending_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  if (pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) fail(ErrorCode::kInternal, "block signals");
  return signals;
}

void wait_for_end(const sigset_t& signals) {
  int signal = 0;
  sigwait(&signals, &signal);
}

int serve_registry(const Arguments& arguments) {
  CLI::App app("Serve a registry (OCI distribution-spec) out of a directory, until a signal ends it.",
               "serve registry");
  ServerOptions options;
  app.add_option("--listen", options.listen, "ADDRESS:PORT; port 0 takes a free one")->capture_default_str();
  app.add_option("--root", options.service.root, "the directory that holds it; made when missing")
      ->required();
  parse_flags(app, arguments);
  options.service.log = [](const std::string& line) {
    fprintf(stderr, "corten: %s\n", printable(line).c_str());
  };
  const sigset_t signals = block_ending_signals();
  Server server(std::move(options));
  printf("listening on %s\n", server.url().c_str());
  fflush(stdout);
  wait_for_end(signals);
  return 0;
}

}  // namespace

int command_serve(const Arguments& arguments) {
  if (!arguments.empty() && arguments[0] == "registry")
    return serve_registry({arguments.begin() + 1, arguments.end()});
  if (!arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h"))
    return serve_registry(arguments);
  throw Error(ErrorCode::kUsage, "serve what? There is 'corten serve registry'");
}

}  // namespace corten::cli
