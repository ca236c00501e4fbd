#include "registry/cloud/azure_token.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/unique_fd.h"
#include "registry/cloud/answer.h"
#include "registry/hosts.h"

namespace corten::registry::cloud {

namespace {

constexpr int kMetadataTimeoutMs = 1000;
constexpr size_t kMaxTokenBytes = 64 << 10;

using Said = SourceAnswer<AzureToken>;

std::string authority(const Environment& get) {
  std::string host = get("AZURE_AUTHORITY_HOST");
  if (host.empty()) host = "https://login.microsoftonline.com";
  if (host.find("://") == std::string::npos) host = "https://" + host;
  while (host.ends_with('/')) host.pop_back();
  check_azure_endpoint(host);
  return host;
}

AzureToken token_in(const std::string& body, const char* member, const std::string& source) {
  Json json = Json::parse(body, kMaxAnswerBytes);
  AzureToken token{json.get_string(member), "", source};
  if (token.value.empty() || token.value.find_first_of("\r\n ") != std::string::npos)
    fail(ErrorCode::kInvalid, "no token in the answer");
  return token;
}

// A client's credentials for a token; `proof` is its secret, or an assertion.
Said from_directory(const AzureContext& context, const std::string& resource, const std::string& source,
                    std::vector<std::pair<std::string, std::string>> proof) {
  const Environment& get = context.environment;
  std::string tenant = get("AZURE_TENANT_ID");
  try {
    proof.insert(proof.begin(), {{"grant_type", "client_credentials"},
                                 {"client_id", get("AZURE_CLIENT_ID")},
                                 {"scope", resource + "/.default"}});
    std::string url = fmt::format("{}/{}/oauth2/v2.0/token", authority(get), http::percent_encode(tenant));
    Answer answer =
        ask_again(context.http, {.url = url,
                                 .fields = {{"Content-Type", "application/x-www-form-urlencoded"}},
                                 .method = "POST",
                                 .body = http::RequestBody::of(form(proof))});
    if (answer.status != 200) return broken("the directory refused: " + refusal(answer));
    AzureToken token = token_in(answer.body, "access_token", source);
    token.tenant = tenant;
    return token;
  } catch (const Error& error) {
    return broken(error.what());
  }
}

Said from_service_principal(const AzureContext& context, const std::string& resource) {
  const Environment& get = context.environment;
  if (get("AZURE_CLIENT_SECRET").empty()) return nothing("AZURE_CLIENT_SECRET is not set");
  for (const char* variable : {"AZURE_CLIENT_ID", "AZURE_TENANT_ID"})
    if (get(variable).empty()) return broken(fmt::format("AZURE_CLIENT_SECRET is set, {} is not", variable));
  return from_directory(context, resource, "the service principal " + get("AZURE_CLIENT_ID"),
                        {{"client_secret", get("AZURE_CLIENT_SECRET")}});
}

Said from_workload(const AzureContext& context, const std::string& resource) {
  const Environment& get = context.environment;
  std::string file = get("AZURE_FEDERATED_TOKEN_FILE");
  if (file.empty()) return nothing("AZURE_FEDERATED_TOKEN_FILE is not set");
  for (const char* variable : {"AZURE_CLIENT_ID", "AZURE_TENANT_ID"})
    if (get(variable).empty())
      return broken(fmt::format("AZURE_FEDERATED_TOKEN_FILE is set, {} is not", variable));
  try {
    std::string assertion(trim(read_file(file, kMaxTokenBytes)));
    return from_directory(
        context, resource, "the workload identity " + get("AZURE_CLIENT_ID"),
        {{"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
         {"client_assertion", assertion}});
  } catch (const Error& error) {
    return broken(error.what());
  }
}

Said from_cli(const std::string& resource) {
  if (find_program("az").empty()) return nothing("there is no program az");
  try {
    SubprocessResult result =
        run_subprocess({"az", "account", "get-access-token", "--output", "json", "--resource", resource},
                       {.max_output_bytes = kMaxAnswerBytes, .silence_ms = 60'000});
    if (result.exit_code != 0) {
      std::string words = printable(trim(split(result.error_output, '\n').front()));
      return nothing("az: " + words.substr(0, 300));
    }
    AzureToken token = token_in(result.output, "accessToken", "the Azure CLI");
    token.tenant = Json::parse(result.output, kMaxAnswerBytes).get_string("tenant");
    return token;
  } catch (const Error& error) {
    return nothing(error.what());
  }
}

Said from_managed_identity(const AzureContext& context, const std::string& resource) {
  const Environment& get = context.environment;
  std::string host = get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
  if (host.empty()) host = "http://169.254.169.254";
  while (host.ends_with('/')) host.pop_back();
  if (host == "none") return nothing("AZURE_POD_IDENTITY_AUTHORITY_HOST is none");
  try {
    std::string url = fmt::format("{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}",
                                  host, http::percent_encode(resource));
    if (std::string client = get("AZURE_CLIENT_ID"); !client.empty())
      url += "&client_id=" + http::percent_encode(client);
    http::Client client({.proxies = {}, .timeouts = {kMetadataTimeoutMs, kMetadataTimeoutMs}, .attempts = 1});
    Answer answer = ask(client, {.url = url, .fields = {{"Metadata", "true"}}});
    if (answer.status != 200) return nothing(fmt::format("{} answered {}", host, refusal(answer)));
    return token_in(answer.body, "access_token", "the managed identity");
  } catch (const Error& error) {
    return nothing(error.what());
  }
}

}  // namespace

void check_azure_endpoint(const std::string& url) {
  http::Url parsed = http::parse_url(url);
  if (parsed.scheme != "https" && !is_loopback(parsed.authority()))
    fail(ErrorCode::kPermission, "{}: credentials are sent over https alone", parsed.shown());
}

std::string azure_manager(const Environment& environment) {
  std::string url = environment("AZURE_RESOURCE_MANAGER_ENDPOINT");
  if (url.empty()) url = "https://management.azure.com";
  while (url.ends_with('/')) url.pop_back();
  check_azure_endpoint(url);
  return url;
}

AzureSearch search_azure_token(const AzureContext& context, const std::string& resource,
                               bool only_variables) {
  AzureSearch search;
  if (search.take("service principal", from_service_principal(context, resource))) return search;
  if (search.take("workload identity", from_workload(context, resource)) || only_variables) return search;
  if (search.take("Azure CLI", from_cli(resource))) return search;
  search.take("managed identity", from_managed_identity(context, resource));
  return search;
}

AzureToken require_azure_token(const AzureContext& context, const std::string& resource) {
  AzureSearch search = search_azure_token(context, resource);
  if (search.found) return std::move(*search.found);
  const std::string tried = search.told("no Azure credentials:");
  throw Error(ErrorCode::kPermission, tried)
      .with_hint("Please run: az login (or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET)");
}

}  // namespace corten::registry::cloud
