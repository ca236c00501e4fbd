#include "registry/cloud/aws_config.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "archive/source.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten::registry::cloud {

namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

std::optional<std::string> read_if_there(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!fd) fail_errno("open {}", path);
  archive::FdSource source(fd.get(), path);
  return archive::read_rest(source, kMaxFileBytes);
}

// "~/x" and names without a variable of their own below the home directory.
std::string file_path(const Environment& environment, const char* variable, const char* usual) {
  std::string path = environment(variable);
  if (path.empty()) return aws_file(environment, usual);
  if (path.starts_with("~/")) path = environment("HOME") + path.substr(1);
  return path;
}

std::string config_path(const Environment& environment) {
  return file_path(environment, "AWS_CONFIG_FILE", "config");
}

// The name by which a service's address begins, where it is not the service's own.
std::string host_name(const std::string& service) {
  if (service == "ecr") return "api.ecr";
  if (service == "sso") return "portal.sso";
  if (service == "sso-oidc") return "oidc";
  return service;
}

std::string amazon_domain(const std::string& region) {
  return region.starts_with("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
}

bool is_true(const std::string& text) {
  return iequals(text, "true") || text == "1";
}

std::string own_endpoint(const Environment& environment, const std::string& service) {
  if (is_true(environment("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"))) return {};
  std::string endpoint = environment("AWS_ENDPOINT_URL_" + replace_all(to_upper(service), "-", "_"));
  if (endpoint.empty()) endpoint = environment("AWS_ENDPOINT_URL");
  if (endpoint.empty()) endpoint = read_aws_profile(environment).value("endpoint_url");
  while (endpoint.ends_with('/')) endpoint.pop_back();
  return endpoint;
}

bool is_region(std::string_view text) {
  return !text.empty() && text.size() <= 40 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

}  // namespace

std::string checked_region(const std::string& region, std::string_view where) {
  if (region.empty() || is_region(region)) return region;
  fail(ErrorCode::kInvalid, "{}: {} is no region", where, quote(region));
}

std::string aws_file(const Environment& environment, const std::string& name) {
  return environment("HOME") + "/.aws/" + name;
}

Environment system_environment() {
  return [](const std::string& name) {
    const char* value = getenv(name.c_str());
    return std::string(value ? value : "");
  };
}

std::map<std::string, std::map<std::string, std::string>> parse_aws_file(std::string_view text,
                                                                         const std::string& path) {
  std::map<std::string, std::map<std::string, std::string>> sections;
  std::map<std::string, std::string>* section = nullptr;
  int number = 0;
  bool is_nested = false;
  for (const std::string& line : split(text, '\n')) {
    number++;
    std::string_view words = trim(line);
    if (words.empty() || words[0] == '#' || words[0] == ';') continue;
    if (words[0] == '[') {
      size_t end = words.find(']');
      if (end == std::string_view::npos) fail(ErrorCode::kInvalid, "{}:{}: '[' without ']'", path, number);
      section =
          &sections[join(split_words(replace_all(std::string(words.substr(1, end - 1)), "\"", "")), " ")];
      is_nested = false;
      continue;
    }
    if (is_nested && (line[0] == ' ' || line[0] == '\t')) continue;
    size_t equals = words.find('=');
    if (equals == std::string_view::npos || section == nullptr)
      fail(ErrorCode::kInvalid, "{}:{}: expected [PROFILE] or NAME = VALUE", path, number);
    std::string_view value = trim(words.substr(equals + 1));
    is_nested = value.empty();
    (*section)[to_lower(trim(words.substr(0, equals)))] = std::string(value);
  }
  return sections;
}

std::string AwsProfile::value(const std::string& key) const {
  auto at = values.find(key);
  return at == values.end() ? "" : at->second;
}

AwsProfile read_aws_profile(const Environment& environment, const std::string& name) {
  AwsProfile profile;
  profile.name = name;
  for (const char* variable : {"AWS_PROFILE", "AWS_DEFAULT_PROFILE"})
    if (profile.name.empty()) profile.name = environment(variable);
  profile.is_named = !profile.name.empty();
  if (profile.name.empty()) profile.name = "default";
  profile.credentials_path = file_path(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
  profile.config_path = config_path(environment);
  auto take = [&](const std::string& path, const std::string& section) {
    auto text = read_if_there(path);
    if (!text) return false;
    auto sections = parse_aws_file(*text, path);
    auto at = sections.find(section);
    if (at == sections.end()) return false;
    profile.values.insert(at->second.begin(), at->second.end());
    return true;
  };
  profile.has_credentials = take(profile.credentials_path, profile.name);
  profile.has_kept_keys = !profile.value("aws_access_key_id").empty();
  profile.has_config = take(profile.config_path, "profile " + profile.name);
  if (profile.name == "default" && take(profile.config_path, "default")) profile.has_config = true;
  return profile;
}

std::optional<std::map<std::string, std::string>> read_sso_session(const Environment& environment,
                                                                   const std::string& name) {
  const std::string path = config_path(environment);
  auto text = read_if_there(path);
  if (!text) return std::nullopt;
  auto sections = parse_aws_file(*text, path);
  auto at = sections.find("sso-session " + name);
  if (at == sections.end()) return std::nullopt;
  return std::move(at->second);
}

std::optional<EcrHost> parse_ecr_host(std::string_view host) {
  auto parts = split(host, '.');
  if (parts.size() != 6 && !(parts.size() == 7 && parts[6] == "cn")) return std::nullopt;
  EcrHost found{parts[0], parts[3], parts[2] == "ecr-fips",
                parts.size() == 7 ? "amazonaws.com.cn" : "amazonaws.com"};
  bool is_account =
      found.account.size() == 12 && found.account.find_first_not_of("0123456789") == std::string::npos;
  if (!is_account || parts[1] != "dkr" || (parts[2] != "ecr" && !found.is_fips) || !is_region(found.region) ||
      parts[4] != "amazonaws" || parts[5] != "com")
    return std::nullopt;
  return found;
}

std::string ecr_host(const std::string& account, const std::string& region) {
  return account + ".dkr.ecr." + region + "." + amazon_domain(region);
}

std::string configured_region(const Environment& environment) {
  for (const char* variable : {"AWS_REGION", "AWS_DEFAULT_REGION"})
    if (std::string region = environment(variable); !region.empty()) return checked_region(region, variable);
  AwsProfile profile = read_aws_profile(environment);
  return checked_region(profile.value("region"), profile.config_path);
}

bool has_own_endpoint(const Environment& environment, const std::string& service) {
  return !own_endpoint(environment, service).empty();
}

std::string service_endpoint(const Environment& environment, const std::string& service,
                             const std::string& region) {
  if (std::string own = own_endpoint(environment, service); !own.empty()) return own;
  std::string name = host_name(service);
  if (is_true(environment("AWS_USE_FIPS_ENDPOINT"))) name = (service == "ecr" ? service : name) + "-fips";
  return "https://" + name + "." + region + "." + amazon_domain(region);
}

}  // namespace corten::registry::cloud
