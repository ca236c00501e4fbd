#include "registry/server/service.h"

#include <cerrno>
#include <exception>
#include <map>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "oci/reference.h"

namespace corten::registry::serving {

namespace {

constexpr unsigned kWorkers = 4, kFetchers = 8, kBlobFetchers = 16;

class Deferred : public Call {
 public:
  explicit Deferred(std::function<void(Reply)> work) : work_(std::move(work)) {}
  void on_end(Reply reply) override { work_(std::move(reply)); }

 private:
  std::function<void(Reply)> work_;
};

class Immediate : public Call {
 public:
  explicit Immediate(Answer answer) : answer_(std::move(answer)) {}
  std::optional<Answer> on_begin() override { return std::move(answer_); }
  void on_end(Reply) override {}

 private:
  Answer answer_;
};

Answer not_allowed(std::string_view allowed) {
  Answer answer = refuse(405, "UNSUPPORTED", "the operation is unsupported");
  answer.fields.emplace_back("Allow", allowed);
  return answer;
}

}  // namespace

std::unique_ptr<Call> answer_with(std::function<void(Reply)> work) {
  return std::make_unique<Deferred>(std::move(work));
}

std::unique_ptr<Call> answer_now(Answer answer) {
  return std::make_unique<Immediate>(std::move(answer));
}

Service::Service(ServiceOptions options)
    : options_(std::move(options)),
      log_(options_.access_log.empty() ? nullptr : std::make_unique<AccessLog>(options_.access_log)),
      authorizer_(options_.auth),
      usage_(options_.max_bytes),
      tree_(options_.root),
      uploads_(tree_, usage_),
      journal_(tree_, options_.journal),
      workers_(kWorkers),
      upstream_(options_.proxy.empty() ? nullptr : std::make_unique<Upstream>(options_.proxy)),
      fetchers_(kFetchers),
      blob_fetchers_(kBlobFetchers),
      importers_(1),
      passwords_(1),
      collector_(
          tree_, journal_, uploads_, usage_, options_.collector,
          [this](const Collected& collected) { metrics_.collected_files += collected.files; },
          [this](const std::exception& failure) { failed(failure); }) {
  tree_.set_mark_after(options_.collector.grace_s / 2);
  if (usage_.is_on()) count_usage();
}

Service::~Service() {
  if (upstream_) upstream_->cancel();  // or a slow one would have to be waited for
}

void Service::count_usage() {
  const auto add = [&](const std::string& directory) {
    for (const std::string& name : tree_.names(directory))
      if (const std::optional<OpenedFile> file = tree_.open(directory + "/" + name)) usage_.count(file->size);
  };
  for (const char* algorithm : {"sha256", "sha512"}) {
    for (const std::string& first : tree_.names(fmt::format("blobs/{}", algorithm)))
      add(fmt::format("blobs/{}/{}", algorithm, first));
    for (const std::string& repository : repositories_of(tree_))
      add(Tree::repository_path(repository, fmt::format("_manifests/{}", algorithm)));
  }
  for (const std::string& repository : repositories_of(tree_))
    add(Tree::repository_path(repository, "_uploads"));
}

std::unique_ptr<Call> Service::begin(RequestHead& head) {
  const std::string& path = head.target.path;
  if (path == "/healthz")
    return answer_with([](const Reply& reply) { reply(json_answer("{\"status\":\"ok\"}\n")); });
  if (path == "/metrics") return show_metrics();
  Authorizer::Admission admission = authorizer_.admit(head);
  if (admission.state == Authorizer::Admission::State::kSlow) return nullptr;
  if (admission.state == Authorizer::Admission::State::kRefused) {
    // With a token server the scope has to be told, so the request is looked at as one that may do nothing.
    if (path == "/v2/" || path == "/v2") return answer_now(authorizer_.challenge("", admission.why));
  } else {
    head.user = admission.user;
    head.grants = std::move(admission.grants);
  }
  return begin_admitted(head);
}

bool Service::prepare(const RequestHead& head, std::function<void()> done) {
  constexpr int kMostWaiting = 200;
  if (passwords_waiting_ >= kMostWaiting) return false;
  passwords_waiting_++;
  passwords_.submit([this, head, done = std::move(done)] {
    passwords_waiting_--;
    try {
      authorizer_.check_password(head);
    } catch (const std::exception& failure) {
      failed(failure);
    }
    done();
  });
  return true;
}

void Service::finished(const Finished& request) {
  metrics_.count(request);
  if (log_) log_->add(request);
}

std::unique_ptr<Call> Service::show_metrics() {
  return answer_with([this](const Reply& reply) {
    std::map<std::string, uint64_t> more{{"uploads", uploads_.open_count()}};
    if (usage_.is_on()) {
      more["used_bytes"] = usage_.used();
      more["max_bytes"] = usage_.limit();
    }
    reply({200, {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}}, metrics_.text(more)});
  });
}

std::optional<Answer> Service::check_access(const RequestHead& head, std::string_view type,
                                            const std::string& name, std::string_view action) const {
  if (head.grants.allow(type, name, action)) return std::nullopt;
  const std::string_view wanted = action == "push" ? "pull,push" : action;
  return authorizer_.challenge(fmt::format("{}:{}:{}", type, name, wanted), "authentication required");
}

std::unique_ptr<Call> Service::begin_admitted(const RequestHead& head) {
  const std::string& path = head.target.path;
  const bool is_read = head.method == "GET" || head.method == "HEAD";
  if (path == "/v2/" || path == "/v2") {
    if (!is_read) return answer_now(not_allowed("GET, HEAD"));
    return answer_with([](const Reply& reply) { reply(json_answer("{}")); });
  }
  if (!path.starts_with("/v2/")) return answer_now(refuse(404, "UNSUPPORTED", "there is nothing here"));
  if (path == "/v2/_catalog") {
    if (!is_read) return answer_now(not_allowed("GET, HEAD"));
    if (std::optional<Answer> refusal =
            check_access(head, "registry", "catalog", head.grants.reading ? "pull" : "*"))
      return answer_now(std::move(*refusal));
    return list_repositories(head);
  }
  // A name may hold any word, so the path is read from its end.
  std::vector<std::string> parts = split(std::string_view(path).substr(4), '/');
  size_t kept = 2;
  if (parts.size() >= 3 && parts[parts.size() - 2] == "uploads" && parts[parts.size() - 3] == "blobs")
    kept = 3;
  if (parts.size() <= kept) return answer_now(refuse(404, "NAME_UNKNOWN", "there is nothing here"));
  const auto cut = parts.end() - static_cast<ptrdiff_t>(kept);
  const std::vector<std::string> rest(cut, parts.end());
  parts.erase(cut, parts.end());
  const std::string repository = join(parts, "/");
  constexpr std::string_view kKinds[] = {"blobs", "manifests", "referrers", "tags"};
  if (std::find(std::begin(kKinds), std::end(kKinds), rest[0]) == std::end(kKinds))
    return answer_now(refuse(404, "NAME_UNKNOWN", "there is nothing here"));
  if (!oci::is_valid_repository(repository))
    return answer_now(refuse(is_read ? 404 : 400, "NAME_INVALID", "invalid repository name", repository));
  const bool is_upload = kept == 3 || rest[1] == "uploads";
  const char* action = is_upload ? "push" : is_read ? "pull" : head.method == "DELETE" ? "delete" : "push";
  if (std::optional<Answer> refusal = check_access(head, "repository", repository, action))
    return answer_now(std::move(*refusal));
  if (!is_read && (options_.is_read_only || upstream_))
    return answer_now(
        refuse(405, "UNSUPPORTED",
               upstream_ ? "this registry keeps another one's images" : "this registry is read-only"));
  if (head.method != "DELETE" && !is_read && !usage_.has_room(head.content_length.value_or(0)))
    return answer_now(refuse(413, "DENIED", "the registry is full (--max-size)"));
  return begin_repository(head, repository, rest);
}

std::unique_ptr<Call> Service::begin_repository(const RequestHead& head, const std::string& repository,
                                                const std::vector<std::string>& rest) {
  const std::string& method = head.method;
  const bool is_read = method == "GET" || method == "HEAD";
  if (rest.size() == 3 || (rest[0] == "blobs" && rest[1] == "uploads")) {
    const std::string id = rest.size() == 3 ? rest[2] : "";
    if (id.empty())
      return method == "POST" ? start_upload(head, repository) : answer_now(not_allowed("POST"));
    if (is_read) return upload_status(repository, id);
    if (method == "PATCH") return patch_upload(head, repository, id);
    if (method == "PUT") return put_upload(head, repository, id);
    if (method == "DELETE") return cancel_upload(repository, id);
    return answer_now(not_allowed("GET, HEAD, PATCH, PUT, DELETE"));
  }
  if (rest[0] == "blobs") {
    if (is_read) return get_blob(head, repository, rest[1]);
    if (method == "DELETE") return delete_blob(repository, rest[1]);
    return answer_now(not_allowed("GET, HEAD, DELETE"));
  }
  if (rest[0] == "manifests") {
    if (is_read) return get_manifest(head, repository, rest[1]);
    if (method == "PUT") return put_manifest(head, repository, rest[1]);
    if (method == "DELETE") return delete_manifest(repository, rest[1]);
    return answer_now(not_allowed("GET, HEAD, PUT, DELETE"));
  }
  if (!is_read) return answer_now(not_allowed("GET, HEAD"));
  if (rest[0] == "referrers") return list_referrers(head, repository, rest[1]);
  if (rest[1] == "list") return list_tags(head, repository);
  return answer_now(refuse(404, "NAME_UNKNOWN", "there is nothing here"));
}

Answer Service::failed(const std::exception& failure) {
  if (options_.log) options_.log(failure.what());
  const auto* error = dynamic_cast<const Error*>(&failure);
  if (error && error->code() == ErrorCode::kNoSpace) {
    const int number = error->system_errno();
    return refuse(507, "DENIED",
                  number == EMFILE || number == ENFILE ? "the registry has too many files open"
                                                       : "the registry's disk is full");
  }
  if (upstream_ && error && error->code() == ErrorCode::kIo)
    return refuse(502, "UNKNOWN", "the other registry cannot be reached");
  return refuse(500, "UNKNOWN", "the registry failed; its log says how");
}

void Service::run_on(ThreadPool& pool, Reply reply, std::function<Answer()> work) {
  pool.submit([this, reply = std::move(reply), work = std::move(work)] {
    try {
      reply(work());
    } catch (const std::exception& failure) {
      reply(failed(failure));
    }
  });
}

void Service::commit(std::vector<Change> changes, Answer answer, Reply reply) {
  journal_.commit(std::move(changes), [this, answer = std::move(answer),
                                       reply = std::move(reply)](const std::exception_ptr& failure) mutable {
    if (!failure) return reply(std::move(answer));
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      reply(failed(error));
    }
  });
}

bool Service::use_blob(const std::string& repository, const ContentDigest& digest) {
  return tree_.use(Tree::link_path(repository, digest)) && tree_.use(Tree::content_path(digest));
}

}  // namespace corten::registry::serving
