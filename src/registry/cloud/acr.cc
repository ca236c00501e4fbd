#include "registry/cloud/acr.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "registry/cloud/answer.h"
#include "registry/hosts.h"

namespace corten::registry::cloud {

namespace {

constexpr const char* kApi = "2023-01-01-preview";
constexpr const char* kSubscriptionsApi = "2020-01-01";
constexpr int kMaxPages = 200, kMaxPolls = 3600;
constexpr int64_t kLongestPauseMs = 30'000;

void sleep_ms(int64_t ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

// Retry-After in seconds, at most half a minute; else the usual.
int64_t pause_of(const Answer& answer, int64_t usual_ms) {
  auto seconds = parse_int(answer.field("Retry-After"));
  return seconds && *seconds >= 0 ? std::min(*seconds * 1000, kLongestPauseMs) : usual_ms;
}

// {"error":{"code","message"}} of the resource manager.
std::string manager_refusal(const Answer& answer) {
  try {
    Json json = Json::parse(answer.body, kMaxAnswerBytes);
    if (const Json* error = json.find("error"); error && error->is_object())
      return fmt::format("{} {}: {}", answer.status, printable(error->get_string("code")),
                         printable(error->get_string("message").substr(0, 1000)));
  } catch (const Error&) {
    // A page of a proxy: the state and its first line will do.
  }
  return refusal(answer);
}

std::string scheme_of(const std::string& host) {
  return is_loopback(host) ? "http://" : "https://";
}

}  // namespace

bool is_acr_host(std::string_view host) {
  return host.ends_with(".azurecr.io") || host.ends_with(".azurecr.cn") || host.ends_with(".azurecr.us");
}

std::string acr_host(const std::string& registry) {
  std::string host = to_lower(registry);
  if (host.empty() || host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-:") != std::string::npos)
    fail(ErrorCode::kUsage, "{} is no name of a registry", quote(registry));
  return host.find_first_of(".:") == std::string::npos ? host + ".azurecr.io" : host;
}

Credential exchange_acr_token(http::Client& http, const std::string& host, const AzureToken& token) {
  std::vector<std::pair<std::string, std::string>> members = {
      {"grant_type", "access_token"}, {"service", host}, {"access_token", token.value}};
  if (!token.tenant.empty()) members.emplace_back("tenant", token.tenant);
  Answer answer = ask_again(http, {.url = scheme_of(host) + host + "/oauth2/exchange",
                                   .fields = {{"Content-Type", "application/x-www-form-urlencoded"}},
                                   .method = "POST",
                                   .body = http::RequestBody::of(form(members))});
  if (answer.status != 200)
    throw Error(ErrorCode::kPermission,
                fmt::format("{} refused the token of {}: {}", host, token.source, refusal(answer)))
        .with_hint("the identity needs the role AcrPull or AcrPush of this registry");
  std::string refresh = Json::parse(answer.body, kMaxAnswerBytes).get_string("refresh_token");
  if (refresh.empty()) fail(ErrorCode::kFailed, "{} gave no refresh token", host);
  return {.user = kAcrTokenUser, .identity_token = refresh, .source = token.source};
}

AcrResource::AcrResource(const AzureContext& context, AzureToken token, const std::string& registry,
                         const Place& place)
    : context_(context),
      token_(std::move(token)),
      manager_(azure_manager(context.environment)),
      host_(acr_host(registry)) {
  std::string name = host_.substr(0, host_.find('.'));
  if (!place.subscription.empty() && !place.resource_group.empty())
    id_ = fmt::format(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.ContainerRegistry/registries/{}",
        http::percent_encode(place.subscription), http::percent_encode(place.resource_group), name);
  else
    id_ = find_by_name(name, place.subscription);
}

Json AcrResource::call(const std::string& method, const std::string& url, const std::string& what,
                       const std::optional<Json>& body) const {
  http::Request request{
      .url = url, .fields = {{"Authorization", "Bearer " + token_.value}}, .method = method};
  if (body || method == "POST") {
    request.fields.emplace_back("Content-Type", "application/json");
    request.body = http::RequestBody::of(body ? body->dump() : "");
  }
  // A POST that got lost may have been obeyed: it is not sent again.
  Answer answer = method == "POST" ? ask(context_.http, request) : ask_again(context_.http, request);
  if (!answer.is_good()) {
    ErrorCode code = answer.status == 404                           ? ErrorCode::kNotFound
                     : answer.status == 401 || answer.status == 403 ? ErrorCode::kPermission
                                                                    : ErrorCode::kFailed;
    throw Error(code, fmt::format("Azure: {}: {}", what, manager_refusal(answer)));
  }
  if (answer.status == 202)
    if (std::string location = answer.field("Location"); !location.empty()) wait_for(location, what);
  if (trim(answer.body).empty()) return Json::object();
  return Json::parse(answer.body, kMaxAnswerBytes);
}

void AcrResource::wait_for(const std::string& location, const std::string& what) const {
  // A token goes to the resource manager alone, wherever it points.
  http::Url url = http::resolve_url(http::parse_url(manager_), location);
  http::Url own = http::parse_url(manager_);
  if (url.scheme != own.scheme || url.authority() != own.authority())
    fail(ErrorCode::kPermission, "Azure: {}: it points to another host: {}", what, url.authority());
  for (int poll = 0; poll < kMaxPolls; poll++) {
    Answer answer = ask_again(context_.http, {.url = url.scheme + "://" + url.authority() + url.target,
                                              .fields = {{"Authorization", "Bearer " + token_.value}}});
    if (answer.status != 202) {
      if (answer.is_good()) return;
      fail(ErrorCode::kFailed, "Azure: {}: {}", what, manager_refusal(answer));
    }
    sleep_ms(pause_of(answer, 2000));
  }
  fail(ErrorCode::kFailed, "Azure: {}: it does not end", what);
}

std::string AcrResource::find_by_name(const std::string& name, const std::string& subscription) const {
  std::vector<std::string> subscriptions;
  if (!subscription.empty()) subscriptions.push_back(subscription);
  if (subscriptions.empty()) {
    Json all = call("GET", fmt::format("{}/subscriptions?api-version={}", manager_, kSubscriptionsApi),
                    "list of subscriptions");
    if (const Json* list = all.find("value"))
      for (const Json& entry : list->as_array()) subscriptions.push_back(entry.get_string("subscriptionId"));
  }
  for (const std::string& one : subscriptions) {
    std::string url =
        fmt::format("{}/subscriptions/{}/providers/Microsoft.ContainerRegistry/registries?api-version={}",
                    manager_, http::percent_encode(one), kApi);
    for (int page = 0; page < kMaxPages && !url.empty(); page++) {
      Json registries = call("GET", url, "list of registries");
      if (const Json* list = registries.find("value"))
        for (const Json& entry : list->as_array())
          if (iequals(entry.get_string("name"), name)) return entry.get_string("id");
      url = registries.get_string("nextLink");
      if (!url.empty() && http::parse_url(url).authority() != http::parse_url(manager_).authority())
        fail(ErrorCode::kPermission, "Azure: the list of registries leads to another host");
    }
  }
  throw Error(ErrorCode::kNotFound,
              fmt::format("Azure: no registry {} in {} subscriptions", quote(name), subscriptions.size()))
      .with_hint("name --subscription and --resource-group, or ask for the role Reader of the registry");
}

void AcrResource::import_image(const Import& import) const {
  Json source = Json::object({{"sourceImage", import.source_image}});
  if (!import.source_resource.empty())
    source.set("resourceId", import.source_resource);
  else
    source.set("registryUri", import.source_registry);
  if (!import.password.empty()) {
    Json credentials = Json::object({{"password", import.password}});
    if (!import.user.empty()) credentials.set("username", import.user);
    source.set("credentials", credentials);
  }
  Json body = Json::object(
      {{"source", source}, {"targetTags", Json(import.tags)}, {"mode", import.force ? "Force" : "NoForce"}});
  call("POST", fmt::format("{}{}/importImage?api-version={}", manager_, id_, kApi),
       "import of " + import.source_image, body);
}

std::optional<int> AcrResource::retention_days() const {
  Json registry = call("GET", fmt::format("{}{}?api-version={}", manager_, id_, kApi), "registry");
  const Json* at = &registry;
  for (const char* member : {"properties", "policies", "retentionPolicy"})
    if (!(at = at->find(member))) return std::nullopt;
  if (at->get_string("status") != "enabled") return std::nullopt;
  return static_cast<int>(at->get_int("days"));
}

void AcrResource::set_retention(std::optional<int> days) const {
  Json policy = Json::object({{"days", days.value_or(7)}, {"status", days ? "enabled" : "disabled"}});
  Json body = Json::object(
      {{"properties", Json::object({{"policies", Json::object({{"retentionPolicy", policy}})}})}});
  call("PATCH", fmt::format("{}{}?api-version={}", manager_, id_, kApi), "retention", body);
}

}  // namespace corten::registry::cloud
