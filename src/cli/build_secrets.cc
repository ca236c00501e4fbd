#include "cli/build_secrets.h"

#include <stdlib.h>

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

}  // namespace corten::cli
