// Lists: tags, referrers, repositories (distribution-spec, "Content Discovery"), in pages.
#include <set>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/url.h"
#include "oci/media_type.h"
#include "oci/reference.h"
#include "registry/server/service.h"
#include "registry/server/stored_manifest.h"

namespace corten::registry::serving {

namespace {

constexpr size_t kMostNames = 10'000;        // of one page
constexpr size_t kReferrersBytes = 2 << 20;  // of one page: half of what clients must take
constexpr size_t kMaxReferrer = kMaxManifest;

struct Page {
  std::optional<size_t> count;
  std::string last;
};

// Nothing when `n` is no number.
std::optional<Page> read_page(const RequestHead& head) {
  Page page;
  page.last = head.target.query_value("last").value_or("");
  if (const std::optional<std::string> text = head.target.query_value("n")) {
    const std::optional<int64_t> count = parse_int(*text);
    if (!count || *count < 0) return std::nullopt;
    page.count = static_cast<size_t>(*count);
  }
  return page;
}

void add_link(Answer& answer, const std::string& path, const std::string& query) {
  answer.fields.emplace_back("Link", fmt::format("<{}?{}>; rel=\"next\"", path, query));
}

// The names of one page out of all, which are sorted; adds a Link when there are more.
Json::Array take_page(const std::vector<std::string>& names, const Page& page, const std::string& path,
                      Answer& answer) {
  auto at = std::upper_bound(names.begin(), names.end(), page.last);
  const size_t count = std::min(page.count.value_or(kMostNames), kMostNames);
  Json::Array taken;
  for (; at != names.end() && taken.size() < count; ++at) taken.emplace_back(*at);
  if (at != names.end() && !taken.empty())
    add_link(answer, path,
             fmt::format("n={}&last={}", count, http::percent_encode(taken.back().as_string())));
  return taken;
}

// Both are sorted, and so is what comes of them.
void add_names(std::vector<std::string>& names, std::set<std::string> more) {
  more.insert(std::make_move_iterator(names.begin()), std::make_move_iterator(names.end()));
  names.assign(more.begin(), more.end());
}

Answer invalid_page() {
  return refuse(400, "PAGINATION_NUMBER_INVALID", "n is a number from 0");
}

}  // namespace

std::unique_ptr<Call> Service::list_tags(const RequestHead& head, const std::string& repository) {
  const std::optional<Page> page = read_page(head);
  if (!page) return answer_now(invalid_page());
  return answer_with([this, repository, page, host = std::string(head.field("Host"))](Reply reply) {
    on_worker(std::move(reply), [this, repository, page, host] {
      std::vector<std::string> tags = tree_.names(Tree::repository_path(repository, "_tags"));
      if (options_.images)
        if (auto names = options_.images->list(host); names.contains(repository))
          add_names(tags, std::move(names[repository]));
      if (tags.empty() && !tree_.has_repository(repository))
        return refuse(404, "NAME_UNKNOWN", "repository name not known to registry", repository);
      Answer answer = json_answer("");
      Json::Array taken = take_page(tags, *page, fmt::format("/v2/{}/tags/list", repository), answer);
      answer.body = Json::object({{"name", repository}, {"tags", Json(std::move(taken))}}).dump();
      return answer;
    });
  });
}

std::unique_ptr<Call> Service::list_referrers(const RequestHead& head, const std::string& repository,
                                              const std::string& text) {
  const std::optional<ContentDigest> subject = ContentDigest::parse(text);
  if (!subject) return answer_now(refuse(400, "DIGEST_INVALID", "invalid digest", text));
  const std::optional<Page> page = read_page(head);
  if (!page) return answer_now(invalid_page());
  const std::optional<std::string> wanted = head.target.query_value("artifactType");
  return answer_with([this, repository, subject, page, wanted](Reply reply) {
    on_worker(std::move(reply), [this, repository, subject, page, wanted] {
      Answer answer = json_answer("", oci::kOciIndex);
      if (wanted) answer.fields.emplace_back("OCI-Filters-Applied", "artifactType");
      const std::string directory = Tree::referrers_path(repository, *subject);
      const std::vector<std::string> names = tree_.names(directory);
      const size_t count = std::min(page->count.value_or(kMostNames), kMostNames);
      Json::Array manifests;
      size_t bytes = 0;
      std::string last;
      for (auto at = std::upper_bound(names.begin(), names.end(), page->last); at != names.end(); ++at) {
        const std::optional<std::string> entry = tree_.read(directory + "/" + *at, kMaxReferrer);
        if (!entry) continue;
        Json descriptor = Json::parse(*entry);
        if (wanted && descriptor.get_string("artifactType") != *wanted) continue;
        if (manifests.size() == count || (!manifests.empty() && bytes + entry->size() > kReferrersBytes)) {
          if (count == 0) break;
          std::string query = fmt::format("n={}&last={}", count, http::percent_encode(last));
          if (wanted) query += "&artifactType=" + http::percent_encode(*wanted);
          add_link(answer, fmt::format("/v2/{}/referrers/{}", repository, subject->to_string()), query);
          break;
        }
        bytes += entry->size();
        last = *at;
        manifests.push_back(std::move(descriptor));
      }
      answer.body = Json::object({{"schemaVersion", 2},
                                  {"mediaType", oci::kOciIndex},
                                  {"manifests", Json(std::move(manifests))}})
                        .dump();
      return answer;
    });
  });
}

// Not in the specification, but what docker-registry has always had.
std::unique_ptr<Call> Service::list_repositories(const RequestHead& head) {
  const std::optional<Page> page = read_page(head);
  if (!page) return answer_now(invalid_page());
  return answer_with([this, page, host = std::string(head.field("Host"))](Reply reply) {
    on_worker(std::move(reply), [this, page, host] {
      std::vector<std::string> found = repositories_of(tree_);
      if (options_.images) {
        std::set<std::string> more;
        for (const auto& [name, tags] : options_.images->list(host)) more.insert(name);
        add_names(found, std::move(more));
      }
      Answer answer = json_answer("");
      Json::Array taken = take_page(found, *page, "/v2/_catalog", answer);
      answer.body = Json::object({{"repositories", Json(std::move(taken))}}).dump();
      return answer;
    });
  });
}

}  // namespace corten::registry::serving
