#include "registry/registries_conf.h"

#include <algorithm>
#include <cstdlib>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "registry/directory_names.h"
#include "registry/toml.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxBytes = 1 << 20;

std::string variable(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

std::string parse_location(const Toml& value) {
  std::string location = value.as_string();
  if (location.find("://") != std::string::npos)
    value.refuse(fmt::format("location {} must not have a scheme", quote(location)),
                 "write it as HOST[:PORT][/PATH]; insecure = true allows plain http");
  while (location.ends_with('/')) location.pop_back();
  const bool is_clean = !location.empty() && std::none_of(location.begin(), location.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '@' || c == '?' || c == '#' || c == '\\' || c == 0x7f;
  });
  if (!is_clean) value.refuse(fmt::format("location {} is no HOST[:PORT][/PATH]", quote(location)));
  return location;
}

MirrorRule parse_mirror(const Toml& table, bool by_digest_only) {
  MirrorRule mirror;
  const Toml* location = table.find("location");
  if (!location) table.refuse("this mirror has no location");
  mirror.location = parse_location(*location);
  mirror.is_insecure = table.get_bool("insecure");
  if (by_digest_only) mirror.use = MirrorUse::kDigestOnly;
  if (const Toml* use = table.find("pull-from-mirror")) {
    const std::string& word = use->as_string();
    if (by_digest_only)
      use->refuse("pull-from-mirror cannot stand beside mirror-by-digest-only of its registry");
    if (word == "digest-only")
      mirror.use = MirrorUse::kDigestOnly;
    else if (word == "tag-only")
      mirror.use = MirrorUse::kTagOnly;
    else if (word != "all" && !word.empty())
      use->refuse(fmt::format("pull-from-mirror is {}: expected all, digest-only or tag-only", quote(word)));
  }
  return mirror;
}

RegistryRule parse_rule(const Toml& table, const std::string& file) {
  RegistryRule rule;
  rule.file = file;
  if (const Toml* location = table.find("location")) rule.location = parse_location(*location);
  rule.prefix = table.get_string("prefix");
  while (rule.prefix.ends_with('/')) rule.prefix.pop_back();
  if (rule.prefix.empty()) rule.prefix = rule.location;
  if (rule.prefix.empty()) table.refuse("this registry has neither prefix nor location");
  rule.is_insecure = table.get_bool("insecure");
  rule.is_blocked = table.get_bool("blocked");
  const bool by_digest_only = table.get_bool("mirror-by-digest-only");
  if (const Toml* mirrors = table.find("mirror"))
    for (const Toml& mirror : mirrors->as_array())
      rule.mirrors.push_back(parse_mirror(mirror, by_digest_only));
  return rule;
}

// Version 1: [registries.insecure] registries = ["host"].
void parse_version_1(const Toml& registries, const std::string& file, std::vector<RegistryRule>& rules) {
  for (const char* kind : {"insecure", "block"}) {
    const Toml* list = registries.find(kind);
    if (!list) continue;
    for (const std::string& host : list->get_strings("registries")) {
      RegistryRule rule{.prefix = host, .file = file};
      (kind == std::string_view("block") ? rule.is_blocked : rule.is_insecure) = true;
      rules.push_back(std::move(rule));
    }
  }
}

void merge(std::vector<RegistryRule>& rules, std::vector<RegistryRule> more) {
  for (RegistryRule& rule : more) {
    std::erase_if(rules, [&](const RegistryRule& old) { return old.prefix == rule.prefix; });
    rules.push_back(std::move(rule));
  }
}

}  // namespace

std::optional<size_t> RegistryRule::matches(std::string_view name) const {
  const std::string_view text = prefix;
  if (text.starts_with("*.")) {
    const std::string_view host = name.substr(0, name.find('/'));
    const std::string_view end = text.substr(1, text.find('/') == text.npos ? text.npos : text.find('/') - 1);
    if (!host.ends_with(end) || host.size() <= end.size()) return std::nullopt;
    const std::string_view path = text.find('/') == text.npos ? "" : text.substr(text.find('/'));
    const std::string_view rest = name.substr(host.size());
    if (!rest.starts_with(path) || (rest.size() > path.size() && rest[path.size()] != '/' && !path.empty()))
      return std::nullopt;
    return host.size() + path.size();
  }
  if (!name.starts_with(text)) return std::nullopt;
  if (name.size() > text.size() && name[text.size()] != '/') return std::nullopt;
  return text.size();
}

std::vector<RegistryRule> parse_registries_conf(std::string_view text, const std::string& file) {
  const Toml root = Toml::parse(text, file);
  std::vector<RegistryRule> rules;
  if (const Toml* registries = root.find("registry"))
    for (const Toml& table : registries->as_array()) merge(rules, {parse_rule(table, file)});
  if (const Toml* old = root.find("registries")) parse_version_1(*old, file, rules);
  return rules;
}

std::vector<RegistryRule> read_registries_conf(const std::string& system, const std::string& user) {
  std::vector<std::string> files;
  const std::string named = variable("CONTAINERS_REGISTRIES_CONF");
  const std::string users = user.empty() ? "" : user + "/containers/registries.conf";
  if (!named.empty())
    files.push_back(named);
  else if (!users.empty() && path_exists(users))
    files.push_back(users);
  else if (path_exists(system + "/containers/registries.conf"))
    files.push_back(system + "/containers/registries.conf");
  std::vector<std::string> directories = {variable("CONTAINERS_REGISTRIES_CONF_DIR")};
  if (directories[0].empty()) directories[0] = system + "/containers/registries.conf.d";
  if (named.empty() && !user.empty()) directories.push_back(user + "/containers/registries.conf.d");
  for (const std::string& directory : directories)
    for (const std::string& name : names_in_directory(directory))
      if (name.ends_with(".conf")) files.push_back(directory + "/" + name);
  std::vector<RegistryRule> rules;
  for (const std::string& file : files) merge(rules, parse_registries_conf(read_file(file, kMaxBytes), file));
  return rules;
}

const RegistryRule* rule_for(const std::vector<RegistryRule>& rules, std::string_view name) {
  const RegistryRule* best = nullptr;
  size_t best_size = 0;
  for (const RegistryRule& rule : rules)
    if (auto size = rule.matches(name); size && *size > best_size) {
      best = &rule;
      best_size = *size;
    }
  return best;
}

}  // namespace corten::registry
