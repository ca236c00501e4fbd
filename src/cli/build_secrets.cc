#include "cli/build_secrets.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cli/build_flags.h"

namespace corten::cli {

static constexpr size_t kMaxSecretBytes = 500 * 1024;

std::map<std::string, build::Secret> read_secrets(const std::vector<std::string>& texts) {
  std::map<std::string, build::Secret> secrets;
  for (const std::string& text : texts) {
    auto attributes = parse_attributes(text);
    std::string id = attributes["id"], type = attributes["type"];
    std::string source = attributes.contains("src") ? attributes["src"] : attributes["source"];
    std::string variable = attributes["env"];
    for (const auto& [key, value] : attributes)
      if (key != "id" && key != "type" && key != "src" && key != "source" && key != "env")
        fail(ErrorCode::kUsage, "unexpected key {} in --secret", quote(key));
    if (!type.empty() && type != "file" && type != "env")
      fail(ErrorCode::kUsage, "unsupported secret type {}: it is one of file, env", quote(type));
    if (id.empty()) fail(ErrorCode::kUsage, "--secret needs an id: id=NAME,src=FILE");
    if (type == "env" && variable.empty()) variable = source.empty() ? id : source, source.clear();
    if (variable.empty() && source.empty() && type != "file" && getenv(id.c_str())) variable = id;
    build::Secret secret;
    if (!variable.empty()) {
      const char* value = getenv(variable.c_str());
      if (!value) fail(ErrorCode::kNotFound, "secret {}: the environment has no variable {}", id, variable);
      secret.value = value;
    } else {
      std::string file = source.empty() ? id : source;
      try {
        secret.value = read_file(file, kMaxSecretBytes);
      } catch (Error& error) {
        if (error.code() == ErrorCode::kInvalid)
          fail(ErrorCode::kInvalid, "secret {} too big. max size {}", id, kMaxSecretBytes);
        error.add_context("secret " + id);
        throw;
      }
    }
    secrets[id] = std::move(secret);
  }
  return secrets;
}

std::map<std::string, std::shared_ptr<source::SshAgent>> read_ssh(const std::vector<std::string>& texts) {
  std::map<std::string, std::shared_ptr<source::SshAgent>> agents;
  for (const std::string& text : texts) {
    if (text.empty()) continue;
    size_t equals = text.find('=');
    std::string id = text.substr(0, equals);
    if (id.empty()) id = "default";
    if (agents.contains(id)) fail(ErrorCode::kUsage, "duplicate agent ID {}", quote(id));
    std::vector<std::string> files, sockets;
    std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
    for (const std::string& path : split(value, ',')) {
      if (path.empty() || path.starts_with("raw=")) continue;
      struct stat st;
      if (stat(path.c_str(), &st) != 0) fail_errno("--ssh {}: {}", id, path);
      (S_ISSOCK(st.st_mode) ? sockets : files).push_back(path);
    }
    if (files.empty() && sockets.empty()) {
      const char* socket = getenv("SSH_AUTH_SOCK");
      if (!socket || !*socket)
        throw Error(ErrorCode::kUsage, "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
            .with_hint(
                fmt::format("start an agent (eval $(ssh-agent)), or name a key: --ssh {}=KEYFILE", id));
      sockets.push_back(socket);
    }
    if (sockets.size() > 1) fail(ErrorCode::kUsage, "--ssh {}: only single socket allowed", id);
    if (!sockets.empty() && !files.empty())
      fail(ErrorCode::kUsage, "--ssh {}: invalid combination of keys and sockets", id);
    agents[id] =
        sockets.empty() ? source::SshAgent::with_keys(files) : source::SshAgent::forwarded(sockets.front());
  }
  return agents;
}

}  // namespace corten::cli
