// Tokens of Azure's directory, by the chain of its own tools: a service principal, a federated (workload)
// identity, the Azure CLI, the machine's managed identity. Each source that gives nothing says why; one that
// is set up and broken ends the search.
//
// Source: Microsoft identity platform, "OAuth 2.0 client credentials flow"; azure-sdk DefaultAzureCredential.
#pragma once
#include <string>

#include "http/client.h"
#include "registry/cloud/aws_config.h"
#include "registry/cloud/aws_credentials.h"
#include "registry/cloud/source_chain.h"

namespace corten::registry::cloud {

struct AzureContext {
  http::Client& http;
  Environment environment = system_environment();
};

struct AzureToken {
  std::string value;   // a bearer token; never shown
  std::string tenant;  // "" when the source does not say
  std::string source;
};

using AzureSearch = SourceSearch<AzureToken>;
// `resource`: "https://management.azure.com". `only_variables`: what asks no program and no metadata service.
AzureSearch search_azure_token(const AzureContext& context, const std::string& resource,
                               bool only_variables = false);

// Error(kPermission) with every source and why it gave nothing; ends with what to run.
AzureToken require_azure_token(const AzureContext& context, const std::string& resource);

// $AZURE_RESOURCE_MANAGER_ENDPOINT, else https://management.azure.com. Error(kPermission) when a token would
// go there unencrypted.
std::string azure_manager(const Environment& environment);

// Error(kPermission) unless it is https, or this machine.
void check_azure_endpoint(const std::string& url);

}  // namespace corten::registry::cloud
