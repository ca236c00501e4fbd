// What Amazon's tools are told by variables and by their two files: profile, region, endpoints.
//
// Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files"; botocore
// configloader.py.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace corten::registry::cloud {

// The value of a variable, "" when it is not set.
using Environment = std::function<std::string(const std::string& name)>;
Environment system_environment();

// Sections of "name = value" lines; of nested lines (indented under a name without value) nothing is kept.
// Error(kInvalid) with file and line, never with the text.
std::map<std::string, std::map<std::string, std::string>> parse_aws_file(std::string_view text,
                                                                         const std::string& path);

// One profile: [NAME] of the credentials file, [profile NAME] of the config file.
struct AwsProfile {
  std::string name;
  bool is_named = false;                             // by AWS_PROFILE: then it must exist
  std::string credentials_path, config_path;         // where was looked
  bool has_credentials = false, has_config = false;  // which of the files have it
  std::map<std::string, std::string> values;         // the credentials file's go before the config file's
  bool has_kept_keys = false;                        // its keys are the credentials file's
  std::string value(const std::string& key) const;
};

// `name` "": AWS_PROFILE, AWS_DEFAULT_PROFILE, else "default". Missing files are empty ones.
AwsProfile read_aws_profile(const Environment& environment, const std::string& name = {});

// [sso-session NAME] of the config file; nothing when it has none.
std::optional<std::map<std::string, std::string>> read_sso_session(const Environment& environment,
                                                                   const std::string& name);
// A file below ~/.aws.
std::string aws_file(const Environment& environment, const std::string& name);

// A registry of Amazon ECR by its host: ACCOUNT.dkr.ecr[-fips].REGION.amazonaws.com[.cn].
struct EcrHost {
  std::string account, region;
  bool is_fips = false;
  std::string domain;  // "amazonaws.com"
};
std::optional<EcrHost> parse_ecr_host(std::string_view host);
std::string ecr_host(const std::string& account, const std::string& region);

// AWS_REGION, AWS_DEFAULT_REGION, the profile's; "" when none says it.
std::string configured_region(const Environment& environment);

// `region` when it may be a part of a host's name, or ""; Error(kInvalid) with `where` it stands.
std::string checked_region(const std::string& region, std::string_view where);

// Where that service ("ecr", "sts", "sso-oidc") is asked: AWS_ENDPOINT_URL_SERVICE, AWS_ENDPOINT_URL, the
// profile's endpoint_url, else Amazon's host. The first three count not with
// AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true.
std::string service_endpoint(const Environment& environment, const std::string& service,
                             const std::string& region);
bool has_own_endpoint(const Environment& environment, const std::string& service);

}  // namespace corten::registry::cloud
