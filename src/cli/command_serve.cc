// corten serve registry: the embedded registry, until a signal ends it.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/store_images.h"
#include "registry/hosts.h"
#include "registry/server/server.h"
#include "store/store.h"

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

uint64_t read_size(const std::string& text) {
  const std::optional<uint64_t> size = parse_size(text);
  if (!size || *size == 0) fail(ErrorCode::kUsage, "--max-size {}: not a size (10g, 500m)", text);
  return *size;
}

int64_t read_seconds(std::string_view flag, const std::string& text) {
  const std::optional<int64_t> duration = text == "0" ? 0 : parse_duration(text);
  if (!duration || *duration < 0)
    fail(ErrorCode::kUsage, "{} {}: not a duration (24h, 30m, 10s)", flag, text);
  return (*duration + 999'999'999) / 1'000'000'000;
}

int serve_registry(const Arguments& arguments) {
  CLI::App app("Serve a registry (OCI distribution-spec) out of a directory, until a signal ends it.",
               "serve registry");
  ServerOptions options;
  app.add_option("--listen", options.listen, "ADDRESS:PORT; port 0 takes a free one")->capture_default_str();
  app.add_option("--root", options.service.root, "the directory that holds it; made when missing")
      ->required();
  auto& service = options.service;
  app.add_option("--tls-cert", options.tls_certificate,
                 "PEM file: speak TLS with this certificate (and its chain)");
  app.add_option("--tls-key", options.tls_key, "PEM file: its key");
  app.add_option("--htpasswd", service.auth.htpasswd_file,
                 "users and bcrypt hashes ('htpasswd -B'); read again when it changes");
  app.add_option("--auth-token-realm", service.auth.realm,
                 "address of the token server that clients are sent to");
  app.add_option("--auth-token-service", service.auth.token.service, "this registry's name in its tokens");
  app.add_option("--auth-token-issuer", service.auth.token.issuer,
                 "whose tokens count (default: anybody's with the right key)");
  app.add_option("--auth-token-key", service.auth.token.key_file,
                 "PEM file: public keys or certificates that tokens are signed with");
  app.add_flag("--anonymous-pull", service.auth.anonymous_pull, "everybody may pull");
  app.add_flag("--read-only", service.is_read_only, "refuse every change");
  std::string max_size, gc_interval = "1h", gc_grace = "24h";
  app.add_option("--max-size", max_size, "refuse pushes beyond this size of all contents (10g, 500m)");
  app.add_option("--gc-interval", gc_interval,
                 "how often blobs that no manifest needs are removed; 0 is never")
      ->capture_default_str();
  app.add_option("--gc-grace", gc_grace,
                 "how long they are kept after their last use, and uploads that do not go on")
      ->capture_default_str();
  app.add_option("--access-log", service.access_log,
                 "a file that gets a JSON object for each request; - is standard error");
  app.add_option("--max-connections", options.limits.max_connections, "clients beyond these are turned away")
      ->capture_default_str();
  bool wants_store = false, wants_no_store = false;
  std::string proxy_fresh = "1m";
  app.add_flag("--store", wants_store,
               "serve the images of Corten's store too (default on a loopback address)");
  app.add_flag("--no-store", wants_no_store, "serve only what was pushed");
  app.add_option("--proxy", service.proxy,
                 "fetch and keep what is asked for from this registry (https://registry-1.docker.io)");
  app.add_option("--proxy-fresh", proxy_fresh, "how long a tag of it is not asked for again")
      ->capture_default_str();
  parse_flags(app, arguments);
  if (wants_store && wants_no_store) throw Error(ErrorCode::kUsage, "--store or --no-store?");
  // Whoever reaches it from elsewhere was not meant to have this user's images, unless that is said.
  if (!wants_no_store && service.proxy.empty() && (wants_store || registry::is_loopback(options.listen)))
    service.images = std::make_shared<StoreImages>(store::Store::default_path());
  service.proxy_fresh_s = read_seconds("--proxy-fresh", proxy_fresh);
  if (options.tls_certificate.empty() != options.tls_key.empty())
    throw Error(ErrorCode::kUsage, "--tls-cert and --tls-key go together");
  if (!max_size.empty()) service.max_bytes = read_size(max_size);
  service.collector.every_s = read_seconds("--gc-interval", gc_interval);
  service.collector.grace_s = read_seconds("--gc-grace", gc_grace);
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
