// Builds that run in Azure ("quick builds"): the context goes to a storage that Azure names, a run is
// scheduled, its log lies in a storage too and is read from where it was read last.
#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "registry/cloud/acr.h"
#include "registry/cloud/answer.h"

namespace corten::registry::cloud {

namespace {

constexpr const char* kTasksApi = "2019-06-01-preview";
constexpr int kPollMs = 1000;
constexpr int kLongestBuild_s = 28'800;
constexpr size_t kMaxLogBytes = 256 << 20;

bool has_ended(const std::string& status) {
  return status != "Queued" && status != "Started" && status != "Running" && !status.empty();
}

Json arguments_of(const AcrResource::Build& build) {
  Json arguments = Json::array();
  for (const auto* list : {&build.arguments, &build.secret_arguments})
    for (const auto& [name, value] : *list)
      arguments.push_back(
          Json::object({{"name", name}, {"value", value}, {"isSecret", list == &build.secret_arguments}}));
  return arguments;
}

// The log as it grows: each question asks for what comes behind what is known.
class Log {
 public:
  Log(http::Client& http, std::string url, const std::function<void(std::string_view)>& log)
      : http_(http), url_(std::move(url)), log_(log) {}

  void read_on() {
    if (url_.empty()) return;
    Answer answer = ask_again(http_, {.url = url_, .fields = {{"Range", fmt::format("bytes={}-", at_)}}});
    // Nothing new, or not there yet.
    if (answer.status == 416 || answer.status == 404) return;
    if (!answer.is_good()) fail(ErrorCode::kIo, "Azure: the log of the build: {}", answer.status);
    std::string_view text = answer.body;
    if (answer.status == 200) text.remove_prefix(std::min(at_, text.size()));  // no ranges: the whole again
    at_ += text.size();
    if (at_ > kMaxLogBytes)
      fail(ErrorCode::kNoSpace, "Azure: the log of the build is larger than {} bytes", kMaxLogBytes);
    if (!text.empty()) log_(text);
  }

 private:
  http::Client& http_;
  std::string url_;
  const std::function<void(std::string_view)>& log_;
  size_t at_ = 0;
};

}  // namespace

AcrResource::BuildResult AcrResource::build(const Build& build, const http::RequestBody& context_archive,
                                            const std::function<void(std::string_view)>& log) const {
  Json place =
      call("POST", fmt::format("{}{}/listBuildSourceUploadUrl?api-version={}", manager_, id_, kTasksApi),
           "place for the context");
  std::string url = place.get_string("uploadUrl"), relative = place.get_string("relativePath");
  if (url.empty() || relative.empty())
    fail(ErrorCode::kFailed, "Azure: no place for the context in the answer");
  check_azure_endpoint(url);
  // The address carries its own signature: no token goes there.
  Answer uploaded =
      ask_again(context_.http,
                {.url = url,
                 .fields = {{"x-ms-blob-type", "BlockBlob"}, {"Content-Type", "application/octet-stream"}},
                 .method = "PUT",
                 .body = context_archive});
  if (uploaded.status != 201) fail(ErrorCode::kFailed, "Azure: upload of the context: {}", refusal(uploaded));
  return follow(schedule(build, relative), log);
}

std::string AcrResource::schedule(const Build& build, const std::string& source) const {
  Json platform = Json::object(
      {{"os", build.os == "windows" ? "Windows" : "Linux"}, {"architecture", build.architecture}});
  if (!build.variant.empty()) platform.set("variant", build.variant);
  Json body = Json::object({{"type", "DockerBuildRequest"},
                            {"imageNames", Json(build.names)},
                            {"isPushEnabled", build.push && !build.names.empty()},
                            {"noCache", build.no_cache},
                            {"dockerFilePath", build.dockerfile},
                            {"arguments", arguments_of(build)},
                            {"timeout", std::clamp(build.timeout_s, 300, kLongestBuild_s)},
                            {"platform", platform},
                            {"agentConfiguration", Json::object({{"cpu", 2}})},
                            {"sourceLocation", source}});
  if (!build.target.empty()) body.set("target", build.target);
  Json run =
      call("POST", fmt::format("{}{}/scheduleRun?api-version={}", manager_, id_, kTasksApi), "build", body);
  const Json* properties = run.find("properties");
  std::string id = properties ? properties->get_string("runId") : "";
  if (id.empty()) fail(ErrorCode::kFailed, "Azure: no run id in the answer");
  return id;
}

AcrResource::BuildResult AcrResource::follow(const std::string& run,
                                             const std::function<void(std::string_view)>& log) const {
  std::string url = fmt::format("{}{}/runs/{}", manager_, id_, http::percent_encode(run));
  std::string version = fmt::format("?api-version={}", kTasksApi);
  std::string link = call("POST", url + "/listLogSasUrl" + version, "log of the build").get_string("logLink");
  if (!link.empty()) check_azure_endpoint(link);
  Log lines(context_.http, link, log);
  BuildResult result{.id = run};
  for (int64_t polls = 0; polls < int64_t{2} * kLongestBuild_s * 1000 / kPollMs; polls++) {
    Json state = call("GET", url + version, "state of the build");
    const Json* properties = state.find("properties");
    result.status = properties ? printable(properties->get_string("status")) : "";
    lines.read_on();
    if (!has_ended(result.status)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
      continue;
    }
    lines.read_on();
    if (const Json* images = properties->find("outputImages"))
      for (const Json& image : images->as_array())
        result.images.push_back({image.get_string("registry"), image.get_string("repository"),
                                 image.get_string("tag"), image.get_string("digest")});
    return result;
  }
  fail(ErrorCode::kFailed, "Azure: build {} does not end", run);
}

}  // namespace corten::registry::cloud
