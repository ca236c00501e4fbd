// `corten login` and `corten logout`: Docker's flags and words.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "registry/credential_files.h"
#include "registry/hosts.h"
#include "registry/login.h"

namespace corten::cli {

namespace {

constexpr size_t kMaxSecret = 256 << 10;

volatile sig_atomic_t was_interrupted = 0;

// A terminal that does not show what is typed, until the end; Ctrl-C ends the reading, not us.
class Silence {
 public:
  Silence() {
    was_interrupted = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { was_interrupted = 1; };
    sigaction(SIGINT, &action, &old_action_);
    if (tcgetattr(0, &old_) != 0) fail_errno("terminal");
    termios silent = old_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(0, TCSAFLUSH, &silent);
  }
  ~Silence() {
    tcsetattr(0, TCSAFLUSH, &old_);
    sigaction(SIGINT, &old_action_, nullptr);
    fputs("\n", stderr);
  }
  Silence(const Silence&) = delete;

 private:
  termios old_{};
  struct sigaction old_action_ {};
};

std::string read_line() {
  std::string line;
  while (line.size() < kMaxSecret) {
    char c = 0;
    const ssize_t n = read(0, &c, 1);
    if (n < 0 && errno == EINTR && was_interrupted == 0) continue;
    if (n < 0 && errno == EINTR) fail(ErrorCode::kCancelled, "interrupted");
    if (n <= 0 || c == '\n') break;
    line += c;
  }
  return std::string(trim(line));
}

std::string ask(const std::string& prompt, bool is_secret) {
  // Silent before it asks: what is typed from then on counts.
  std::optional<Silence> silence;
  if (is_secret) silence.emplace();
  fputs(prompt.c_str(), stderr);
  fflush(stderr);
  return read_line();
}

std::string host_or_hub(const std::string& operand) {
  return operand.empty() ? "docker.io" : registry::credential_key(operand);
}

void need_terminal() {
  if (isatty(0)) return;
  throw Error(ErrorCode::kUsage, "cannot perform an interactive login from a non TTY device")
      .with_hint(
          "give --username and --password-stdin: echo \"$TOKEN\" | corten login -u USER "
          "--password-stdin HOST");
}

// "host/path" in its two parts.
std::pair<std::string, std::string> parts_of(const std::string& key) {
  const size_t slash = std::min(key.find('/'), key.size());
  return {key.substr(0, slash), slash == key.size() ? "" : key.substr(slash + 1)};
}

// Without a user Docker tries what it has.
bool still_good(const std::string& key, const std::string& authfile) {
  if (!authfile.empty() && !path_exists(authfile)) return false;
  const auto [host, path] = parts_of(key);
  const registry::Credential known = registry::Credentials::from_system(authfile).find(host, path);
  if (known.is_anonymous()) return false;
  fprintf(stderr, "Authenticating with existing credentials from %s...%s\n", printable(known.source).c_str(),
          known.user.empty() ? "" : printable(" [Username: " + known.user + "]").c_str());
  try {
    registry::check_login(registry::Hosts::from_system(), {}, host, known);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kPermission || !isatty(0)) throw;
    print_warning(error.what());
    return false;
  }
}

}  // namespace

int command_login(const Arguments& arguments) {
  CLI::App app("Log in to a registry: the credentials are tried, then kept for pull, push and build.",
               "login");
  std::string operand, user, password, authfile;
  bool from_stdin = false;
  app.add_option("server", operand, "HOST[:PORT] as in image names (default: docker.io)");
  app.add_option("-u,--username", user, "name of the user");
  CLI::Option* given =
      app.add_option("-p,--password", password, "password or token; better: --password-stdin");
  app.add_flag("--password-stdin", from_stdin, "read the password or token from standard input");
  app.add_option(
      "--authfile", authfile,
      "file to write (default: $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json, ~/.docker/config.json)");
  parse_flags(app, arguments);
  if (from_stdin && given->count() > 0)
    fail(ErrorCode::kUsage, "--password and --password-stdin are mutually exclusive");
  if (from_stdin && user.empty()) fail(ErrorCode::kUsage, "must provide --username with --password-stdin");
  if (given->count() > 0) print_warning("using --password via the CLI is insecure: use --password-stdin");

  const std::string key = host_or_hub(operand), host = key.substr(0, key.find('/'));
  if (user.empty() && given->count() == 0 && still_good(key, authfile)) {
    puts("Login Succeeded");
    return 0;
  }
  if (from_stdin) {
    password = read_all(0, "standard input", kMaxSecret);
    if (password.ends_with('\n')) password.pop_back();
    if (password.ends_with('\r')) password.pop_back();
  }
  if (user.empty()) {
    need_terminal();
    user = ask("Username: ", false);
    if (user.empty()) fail(ErrorCode::kUsage, "username is empty");
  }
  if (password.empty() && !from_stdin) {
    need_terminal();
    password = ask("Password: ", true);
  }
  if (password.empty()) fail(ErrorCode::kUsage, "password is empty");
  if (user.find(':') != std::string::npos)
    fail(ErrorCode::kUsage, "username {}: it must not have a colon", quote(user));

  const registry::Credential kept =
      registry::check_login(registry::Hosts::from_system(), {}, host,
                            {.user = user, .password = password, .source = "the command line"});
  const registry::SavedLogin saved = registry::save_login(key, kept, authfile);
  if (!saved.is_encrypted)
    print_warning(
        fmt::format("the credentials are stored unencrypted in {}: a credential helper (credsStore) "
                    "would keep them better",
                    quote(saved.place)));
  puts("Login Succeeded");
  return 0;
}

int command_logout(const Arguments& arguments) {
  CLI::App app("Forget what login kept for a registry.", "logout");
  std::string operand, authfile;
  app.add_option("server", operand, "HOST[:PORT] (default: docker.io)");
  app.add_option("--authfile", authfile, "file that login wrote");
  parse_flags(app, arguments);
  const std::string key = host_or_hub(operand);
  if (registry::remove_login(key, authfile))
    printf("Removing login credentials for %s\n", printable(key).c_str());
  else
    printf("Not logged in to %s\n", printable(key).c_str());
  // Another tool's file may still have some, which would go on being used.
  if (!authfile.empty()) return 0;
  const auto [host, path] = parts_of(key);
  const registry::Credential left = registry::Credentials::from_system().find(host, path);
  if (!left.is_anonymous())
    print_warning(fmt::format("credentials for {} are still to be had from {}", key, left.source));
  return 0;
}

}  // namespace corten::cli
