// What a profile of Amazon's files gives: keys, a role with the credentials of another source, SSO, or a
// program that knows.
//
// Source: AWS SDKs and Tools Reference Guide, "Assume role credential provider"; the order within one profile
// is botocore's (credentials.py, create_credential_resolver and ProfileProviderBuilder): a role; SSO; the
// credentials file's keys; credential_process; the config file's keys.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "registry/cloud/aws_sources.h"

namespace corten::registry::cloud {

namespace {

constexpr size_t kMaxRoles = 10;  // of one another's source

bool is_for_role(const AwsProfile& profile) {
  return !profile.value("role_arn").empty();
}

bool has_keys(const AwsProfile& profile) {
  return !profile.value("aws_access_key_id").empty() || !profile.value("aws_secret_access_key").empty();
}

class ProfileSearch {
 public:
  ProfileSearch(const AwsContext& context, const std::string& region) : context_(context), region_(region) {}

  Said of(const AwsProfile& profile) {
    return is_for_role(profile) ? by_role(profile) : without_role(profile);
  }

 private:
  Said keys_of(const AwsProfile& profile) const {
    const std::string name = fmt::format("profile {}", quote(profile.name));
    AwsCredentials keys{profile.value("aws_access_key_id"), profile.value("aws_secret_access_key"),
                        profile.value("aws_session_token"), name};
    if (keys.access_key.empty()) return broken(name + " has aws_secret_access_key, and no aws_access_key_id");
    if (keys.secret_key.empty()) return broken(name + " has aws_access_key_id, and no aws_secret_access_key");
    return checked(context_, std::move(keys));
  }

  Said without_role(const AwsProfile& profile) const {
    if (!profile.value("sso_account_id").empty() || !profile.value("sso_role_name").empty())
      return by_sso(context_, profile);
    if (profile.has_kept_keys) return keys_of(profile);
    if (!profile.value("credential_process").empty()) return by_process(context_, profile);
    if (has_keys(profile)) return keys_of(profile);
    const std::string name = fmt::format("profile {}", quote(profile.name));
    for (const char* key : {"sso_session", "sso_start_url"})
      if (!profile.value(key).empty())
        return broken(fmt::format("{} has {}, and neither sso_account_id nor sso_role_name", name, key),
                      "aws configure sso --profile " + quote(profile.name));
    return nothing(name + " has no aws_access_key_id, credential_process or SSO role");
  }

  // `credential_source`: what the environment, the container or the instance has.
  Said named_source(const std::string& name) const {
    if (iequals(name, "Environment")) return from_variables(context_);
    if (iequals(name, "EcsContainer")) return from_container(context_);
    if (iequals(name, "Ec2InstanceMetadata")) return from_instance(context_);
    return broken(fmt::format("credential_source {}: it is Environment, EcsContainer or Ec2InstanceMetadata",
                              quote(name)));
  }

  // Of the profile that a role names; it may name itself for its own keys.
  Said source_of(const AwsProfile& profile, const std::string& name) {
    const std::string what =
        fmt::format("profile {}: its source_profile {}", quote(profile.name), quote(name));
    AwsProfile source = read_aws_profile(context_.environment, name);
    if (!source.has_config && !source.has_credentials) return broken(what + " is in neither file");
    if (has_keys(source)) return keys_of(source);
    if (std::find(seen_.begin(), seen_.end(), name) != seen_.end() || seen_.size() > kMaxRoles)
      return broken(what + " leads back to it");
    Said said = of(source);
    if (!said.found && !said.reason.is_final) return broken(what + " has no credentials");
    return said;
  }

  Said by_role(const AwsProfile& profile) {
    seen_.push_back(profile.name);
    AssumedRole role{profile.value("role_arn"), session_name(profile.value("role_session_name")),
                     profile.value("external_id")};
    if (std::string file = profile.value("web_identity_token_file"); !file.empty())
      return by_web_identity(context_, region_, file, role);
    const std::string source = profile.value("source_profile"), named = profile.value("credential_source");
    if (source.empty() == named.empty())
      return broken(
          fmt::format("profile {} has a role_arn and {} source_profile, credential_source and "
                      "web_identity_token_file",
                      quote(profile.name), source.empty() ? "none of" : "more than one of"));
    Said said = source.empty() ? named_source(named) : source_of(profile, source);
    if (!said.found) {
      said.reason.is_final = true;
      return said;
    }
    return Sts{context_.http, context_.clock, context_.environment, region_}.assume_role(*said.found, role);
  }

  const AwsContext& context_;
  const std::string& region_;
  std::vector<std::string> seen_;  // profiles with a role, on the way
};

}  // namespace

Said from_profile(const AwsContext& context, const std::string& region) {
  try {
    const AwsProfile profile = read_aws_profile(context.environment);
    if (profile.has_credentials || profile.has_config) return ProfileSearch(context, region).of(profile);
    std::string why = fmt::format("profile {} is neither in {} nor in {}", quote(profile.name),
                                  profile.credentials_path, profile.config_path);
    return profile.is_named ? broken(why) : nothing(why);
  } catch (const Error& error) {
    return broken(error.what());
  }
}

}  // namespace corten::registry::cloud
