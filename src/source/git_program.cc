#include "source/git_program.h"

#include <fmt/core.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/url.h"

namespace corten::source {

namespace {

constexpr std::string_view kGithub[] = {"https://github.com/", "https://www.github.com/"};

std::string variable(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

// Where an Authorization header is sent to: the repository itself, on github.com all of its repositories.
std::string scope_of(const std::string& remote) {
  for (std::string_view prefix : kGithub)
    if (remote.starts_with(prefix)) return std::string(prefix);
  return remote;
}

// For the shell that git gives GIT_SSH_COMMAND to, and for ssh, which cuts the value of an option at blanks.
std::string ssh_file_option(std::string_view name, const std::vector<std::string>& files) {
  std::string value;
  for (const std::string& file : files)
    if (!file.empty() && file.find_first_of("\"'\\\n") == std::string::npos) value += " \"" + file + "\"";
  return fmt::format(" -o '{}{}'", name, value);
}

// No configuration, no keys of the user but the agent's, no questions; a key that changed is refused, a host
// met for the first time is remembered (BuildKit takes whatever key it is shown).
std::string ssh_command(const GitAccess& access) {
  std::string home = variable("HOME");
  return "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none -o ConnectTimeout=20 -o "
         "ServerAliveInterval=15"
         " -o StrictHostKeyChecking=accept-new" +
         ssh_file_option("UserKnownHostsFile",
                         {access.known_hosts, home.empty() ? "" : home + "/.ssh/known_hosts"});
}

}  // namespace

std::string git_reason(std::string_view error_output) {
  constexpr size_t kMost = 600;
  std::string reason, last;
  for (const std::string& part : split(replace_all(std::string(error_output), "\r", "\n"), '\n')) {
    std::string line(trim(part));
    if (line.empty()) continue;
    last = line;
    bool says_why = line.starts_with("fatal:") || line.starts_with("error:") ||
                    line.starts_with("remote: ") || line.starts_with("ssh:") ||
                    line.starts_with("Permission denied") || line.find("verification failed") != line.npos;
    bool is_progress = line.find("% (") != line.npos || line.find(" objects: ") != line.npos;
    if (says_why && !is_progress && reason.size() < kMost) reason += (reason.empty() ? "" : "; ") + line;
  }
  if (reason.empty()) reason = last;
  if (reason.size() > kMost) reason = reason.substr(0, kMost) + "...";
  return reason.empty() ? "git said nothing" : reason;
}

GitProgram::GitProgram(GitAccess access, GitReference remote, const GitReference& main)
    : access_(std::move(access)), remote_(std::move(remote)) {
  if (remote_.scheme != "http" && remote_.scheme != "https") return;
  authorization_scope_ = scope_of(remote_.remote);
  bool is_main = authorization_scope_ == scope_of(main.remote);
  auto secret = [&](const std::string& id) {
    return access_.secret ? access_.secret(id) : std::optional<std::string>();
  };
  auto token = [](const std::string& value) { return "basic " + base64_encode("x-access-token:" + value); };
  if (auto value = secret("GIT_AUTH_HEADER." + remote_.host))
    authorization_ = *value;
  else if (value = secret("GIT_AUTH_TOKEN." + remote_.host); value)
    authorization_ = token(*value);
  else if (value = is_main ? secret("GIT_AUTH_HEADER") : std::nullopt; value)
    authorization_ = *value;
  else if (value = is_main ? secret("GIT_AUTH_TOKEN") : std::nullopt; value)
    authorization_ = token(*value);
  else if (!remote_.user_info.empty())
    authorization_ =
        "basic " + base64_encode(remote_.user_info.find(':') == std::string::npos ? remote_.user_info + ":"
                                                                                  : remote_.user_info);
  authorization_ = std::string(trim(authorization_));
  if (authorization_.find_first_of("\r\n") != std::string::npos)
    fail(ErrorCode::kInvalid, "the secret for {}: it has more than one line", remote_.host);
}

std::map<std::string, std::string> GitProgram::environment(const Place& place) const {
  std::map<std::string, std::string> set = {
      {"PATH", variable("PATH")},
      {"HOME", "/dev/null"},
      {"LC_ALL", "C"},
      {"GIT_TERMINAL_PROMPT", "0"},
      {"GIT_CONFIG_NOSYSTEM", "1"},
      {"GIT_CONFIG_GLOBAL", "/dev/null"},
      {"GIT_ATTR_NOSYSTEM", "1"},
      {"GIT_OPTIONAL_LOCKS", "0"},
      {"GIT_SSH_VARIANT", "ssh"},
      {"GIT_SSH_COMMAND", ssh_command(access_)},
      {"GIT_ALLOW_PROTOCOL",
       place.local || remote_.scheme == "file" ? "https:http:ssh:git:file" : "https:http:ssh:git"},
  };
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy",
                           "no_proxy", "all_proxy"})
    if (getenv(name)) set[name] = variable(name);
  if (std::string authorities = variable("SSL_CERT_FILE"); !authorities.empty())
    set["GIT_SSL_CAINFO"] = authorities;
  if (remote_.scheme == "ssh" && access_.ssh_socket)
    if (std::string socket = access_.ssh_socket(); !socket.empty()) set["SSH_AUTH_SOCK"] = socket;
  std::vector<std::pair<std::string, std::string>> settings;
  if (!authorization_.empty()) {
    settings.emplace_back("http.followRedirects", "false");
    settings.emplace_back("http." + authorization_scope_ + ".extraheader",
                          "Authorization: " + authorization_);
    std::lock_guard lock(moved_->mutex);
    if (!moved_->remote.empty()) {
      settings.emplace_back("url." + moved_->remote + ".insteadOf", remote_.remote);
      if (!moved_->remote.starts_with(authorization_scope_))
        settings.emplace_back("http." + moved_->remote + ".extraheader", "Authorization: " + authorization_);
    }
  }
  for (size_t i = 0; i < settings.size(); i++) {
    set[fmt::format("GIT_CONFIG_KEY_{}", i)] = settings[i].first;
    set[fmt::format("GIT_CONFIG_VALUE_{}", i)] = settings[i].second;
  }
  if (!settings.empty()) set["GIT_CONFIG_COUNT"] = std::to_string(settings.size());
  if (!place.git_dir.empty()) set["GIT_DIR"] = place.git_dir;
  if (!place.work_tree.empty()) set["GIT_WORK_TREE"] = place.work_tree;
  if (!place.index.empty()) set["GIT_INDEX_FILE"] = place.index;
  return set;
}

SubprocessResult GitProgram::try_run(const Place& place, std::vector<std::string> arguments) const {
  std::vector<std::string> argv = {"git"};
  for (const char* setting :
       {"core.hooksPath=/dev/null", "core.fsmonitor=false", "core.askPass=", "credential.helper=",
        "init.defaultBranch=master", "init.templateDir=", "gc.auto=0", "maintenance.auto=false",
        "fetch.recurseSubmodules=false", "fetch.writeCommitGraph=false", "fetch.unpackLimit=1",
        "advice.detachedHead=false", "http.lowSpeedLimit=1000", "http.lowSpeedTime=60", "pack.window=0"}) {
    argv.push_back("-c");
    argv.push_back(setting);
  }
  for (std::string& argument : arguments) argv.push_back(std::move(argument));
  SubprocessResult result = run_once(place, argv);
  bool is_redirected = result.exit_code != 0 && !authorization_.empty() &&
                       result.error_output.find("The requested URL returned error: 30") != std::string::npos;
  if (!is_redirected) return result;
  follow();
  return run_once(place, argv);
}

void GitProgram::follow() const {
  constexpr std::string_view kQuestion = "/info/refs?service=git-upload-pack";
  http::ClientOptions options;
  options.cancellation = access_.cancellation;
  http::Request request{remote_.remote + std::string(kQuestion), {{"Authorization", authorization_}}, false};
  std::string found = http::Client(options).open(request).url;
  if (http::parse_url(found).authority() != http::parse_url(remote_.remote).authority() ||
      !found.ends_with(kQuestion))
    throw Error(ErrorCode::kPermission, fmt::format("{}: redirected to {}, where a secret for {} is not sent",
                                                    remote_.remote, found, remote_.host))
        .with_hint("name that address; a secret for its host has the id GIT_AUTH_TOKEN.HOST");
  std::lock_guard lock(moved_->mutex);
  moved_->remote = found.substr(0, found.size() - kQuestion.size());
}

SubprocessResult GitProgram::run_once(const Place& place, const std::vector<std::string>& argv) const {
  SubprocessOptions options;
  options.environment = environment(place);
  options.inherits_environment = false;
  options.directory = place.work_tree.empty() ? "/" : place.work_tree;
  options.max_file_bytes = access_.max_file_bytes;
  options.silence_ms = access_.silence_ms;
  options.cancellation = &access_.cancellation;
  try {
    return run_subprocess(argv, options);
  } catch (Error& error) {
    if (error.code() == ErrorCode::kNotFound)
      error.set_hint("git sources are fetched with the git program: install it, or name a directory");
    if (error.code() == ErrorCode::kIo) error.add_context(remote_.remote);
    throw;
  }
}

std::string GitProgram::run(const Place& place, std::vector<std::string> arguments,
                            std::string_view what) const {
  SubprocessResult result = try_run(place, std::move(arguments));
  if (result.exit_code == 0) return std::move(result.output);
  std::string reason = git_reason(result.error_output);
  if (result.exit_code == 128 + 25)  // SIGXFSZ
    throw Error(ErrorCode::kNoSpace,
                fmt::format("{}: a file would be larger than {} bytes", what, access_.max_file_bytes));
  refuse(what, reason);
}

void GitProgram::refuse(std::string_view what, const std::string& reason) const {
  auto holds = [&](std::string_view words) { return reason.find(words) != std::string::npos; };
  if (holds("terminal prompts disabled") || holds("Authentication failed") ||
      holds("could not read Username"))
    throw Error(ErrorCode::kPermission, fmt::format("{}: {}", what, reason))
        .with_hint("hand credentials in: --secret id=GIT_AUTH_TOKEN,env=GIT_AUTH_TOKEN");
  if (holds("Permission denied (publickey"))
    throw Error(ErrorCode::kPermission, fmt::format("{}: {}", what, reason))
        .with_hint("forward a key: --ssh default (the agent of SSH_AUTH_SOCK), or --ssh default=KEYFILE");
  if (holds("Host key verification failed"))
    throw Error(ErrorCode::kPermission, fmt::format("{}: {}", what, reason))
        .with_hint("the host's key is not the one that is known; see ~/.ssh/known_hosts and " +
                   access_.known_hosts);
  if (holds("not found") || holds("does not appear to be a git repository"))
    throw Error(ErrorCode::kNotFound, fmt::format("{}: {}", what, reason));
  throw Error(ErrorCode::kFailed, fmt::format("{}: {}", what, reason));
}

}  // namespace corten::source
