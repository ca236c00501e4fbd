// What is not here and another registry may have (--proxy): fetched whole, checked, kept, then served like
// anything else. A tag is asked for again when it was not for a while; while the other registry cannot be
// reached, what is here is served.
#include <future>

#include "base/clock.h"
#include "base/error.h"
#include "oci/reference.h"
#include "registry/server/manifest_facts.h"
#include "registry/server/service.h"
#include "registry/server/stored_manifest.h"
#include "registry/server/upstream.h"

namespace corten::registry::serving {

namespace {

constexpr size_t kMostFresh = 10'000;

}  // namespace

// Waits while another request fetches the same.
class Service::Flight {
 public:
  Flight(Service& service, std::string key) : service_(service), key_(std::move(key)) {
    std::unique_lock lock(service_.flights_mutex_);
    service_.landed_.wait(lock, [&] { return !service_.flights_.contains(key_); });
    service_.flights_.insert(key_);
  }
  ~Flight() {
    {
      std::lock_guard lock(service_.flights_mutex_);
      service_.flights_.erase(key_);
    }
    service_.landed_.notify_all();
  }
  Flight(const Flight&) = delete;

 private:
  Service& service_;
  const std::string key_;
};

bool Service::is_fresh(const std::string& key) {
  std::lock_guard lock(flights_mutex_);
  const auto found = fresh_until_ns_.find(key);
  return found != fresh_until_ns_.end() && found->second > monotonic_ns();
}

void Service::set_fresh(const std::string& key) {
  std::lock_guard lock(flights_mutex_);
  if (fresh_until_ns_.size() >= kMostFresh) fresh_until_ns_.clear();
  fresh_until_ns_[key] = monotonic_ns() + options_.proxy_fresh_s * 1'000'000'000;
}

void Service::fetch_tag(const std::string& repository, const std::string& tag) {
  const std::string key = repository + ":" + tag;
  const Flight flight(*this, key);
  const std::optional<ContentDigest> here = read_tag(tree_, repository, tag);
  if (here && is_fresh(key)) return;
  try {
    const std::optional<ContentDigest> there = upstream_->resolve(repository, tag);
    if (!there || there != here || !tree_.exists(Tree::manifest_path(repository, *here)))
      keep_manifest(repository, tag, upstream_->manifest(repository, tag), std::nullopt);
    set_fresh(key);
  } catch (const Error& error) {
    if (!here) throw;
    failed(error);  // in the log; what is here is better than nothing
  }
}

void Service::fetch_manifest(const std::string& repository, const ContentDigest& digest) {
  const Flight flight(*this, repository + "@" + digest.to_string());
  if (tree_.exists(Tree::manifest_path(repository, digest))) return;
  keep_manifest(repository, "", upstream_->manifest(repository, digest.to_string()), digest);
}

// Its blobs come when they are asked for.
void Service::keep_manifest(const std::string& repository, const std::string& tag,
                            const std::optional<Upstream::Manifest>& manifest,
                            const std::optional<ContentDigest>& wanted) {
  if (!manifest) {
    if (!tag.empty() && tree_.exists(Tree::tag_path(repository, tag)))
      journal_.commit_now({Change::remove(Tree::tag_path(repository, tag))});
    return;
  }
  const ContentDigest digest =
      ContentDigest::of(wanted ? wanted->algorithm() : Algorithm::kSha256, manifest->bytes);
  if (wanted && digest != *wanted)
    fail(ErrorCode::kCorrupt, "{}: the other registry sent other bytes for {}", repository,
         wanted->to_string());
  const ManifestFacts facts = read_manifest_facts(manifest->bytes, manifest->media_type);
  const std::string path = Tree::manifest_path(repository, digest);
  if (!tree_.exists(path) && !usage_.take(manifest->bytes.size()))
    fail(ErrorCode::kNoSpace, "the registry is full (--max-size)");
  std::vector<Change> changes{Change::put(path, encode_manifest(facts.media_type, manifest->bytes))};
  if (!tag.empty()) changes.push_back(Change::put(Tree::tag_path(repository, tag), digest.to_string()));
  if (facts.subject)
    changes.push_back(Change::put(Tree::referrer_path(repository, *facts.subject, digest),
                                  referrer_descriptor(facts, digest, manifest->bytes.size()).dump()));
  journal_.commit_now(std::move(changes));
}

void Service::fetch_blob(const std::string& repository, const ContentDigest& digest) {
  const Flight flight(*this, repository + "/" + digest.to_string());
  if (use_blob(repository, digest)) return;
  const std::unique_ptr<archive::ByteSource> source = upstream_->blob(repository, digest);
  if (!source) return;
  const std::shared_ptr<Upload> upload = uploads_.begin(repository, digest.algorithm());
  try {
    const uint64_t token = upload->take_over();
    std::string buffer(128 << 10, '\0');
    while (const size_t n = source->read(buffer.data(), buffer.size())) {
      if (!usage_.take(n)) fail(ErrorCode::kNoSpace, "the registry is full (--max-size)");
      upload->write(token, std::string_view(buffer).substr(0, n));
    }
    std::promise<unsigned> status;
    finish_upload(upload, token, digest, [&](const Answer& answer) { status.set_value(answer.status); });
    if (status.get_future().get() != 201)
      fail(ErrorCode::kCorrupt, "{}: the other registry sent other bytes for {}", repository,
           digest.to_string());
  } catch (...) {
    if (uploads_.find(repository, upload->id())) uploads_.drop(*upload);
    throw;
  }
}

}  // namespace corten::registry::serving
