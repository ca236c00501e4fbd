// What is not here and another registry may have (--proxy): fetched, checked, kept, then served like anything
// while the other registry cannot be reached, what is here is served.
#include <future>

#include "base/clock.h"
#include "base/error.h"
#include "oci/reference.h"
#include "registry/retry.h"
#include "registry/server/flight.h"
#include "registry/server/manifest_facts.h"
#include "registry/server/service.h"
#include "registry/server/stored_manifest.h"
#include "registry/server/upstream.h"

namespace corten::registry::serving {

namespace {

constexpr size_t kMostFresh = 10'000;
constexpr size_t kFetchStep = 128 << 10;
constexpr int kFetchAttempts = 4;  // without a byte

}  // namespace

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
  std::vector<Change> changes{Change::put(path, encode_manifest(facts.media_type, manifest->bytes))};
  changes.front().taken = Taken::take(usage_, changes.front().data.size(), tree_.exists(path));
  if (!changes.front().taken) fail(ErrorCode::kNoSpace, "the registry is full (--max-size)");
  if (!tag.empty()) changes.push_back(Change::put(Tree::tag_path(repository, tag), digest.to_string()));
  if (facts.subject)
    changes.push_back(Change::put(Tree::referrer_path(repository, *facts.subject, digest),
                                  referrer_descriptor(facts, digest, manifest->bytes.size()).dump()));
  journal_.commit_now(std::move(changes));
}

// Who asks first begins a flight; who asks meanwhile goes along. The flight goes on when its clients have
// gone.
void Service::join_flight(const RequestHead& head, const std::string& repository, const ContentDigest& digest,
                          Reply reply) {
  const std::string key = repository + "/" + digest.to_string();
  std::shared_ptr<ComingBlob> coming;
  bool is_new = false;
  {
    std::lock_guard lock(flights_mutex_);
    std::shared_ptr<ComingBlob>& place = coming_[key];
    is_new = !place;
    if (is_new) place = std::make_shared<ComingBlob>();
    coming = place;
  }
  coming->when_known([this, head, repository, digest, coming, reply = std::move(reply)] {
    try {
      if (std::optional<Answer> loss = coming->loss()) return reply(std::move(*loss));
      const std::optional<ComingBlob::Begun> begun = coming->begun();
      if (!begun) return reply(blob_answer(head, repository, digest));
      Answer answer = content_answer(head, digest, begun->file, begun->size);
      if (answer.file) answer.file->coming = coming;
      reply(std::move(answer));
    } catch (const std::exception& failure) {
      reply(failed(failure));
    }
  });
  if (!is_new) return;
  blob_fetchers_.submit([this, key, repository, digest, coming] {
    std::optional<Answer> loss;
    try {
      if (!fetch_blob(repository, digest, *coming)) loss = unknown_blob(digest.to_string());
    } catch (const std::exception& failure) {
      loss = failed(failure);
    }
    // First, so that whoever hears of a loss and asks again begins anew.
    {
      std::lock_guard lock(flights_mutex_);
      coming_.erase(key);
    }
    loss ? coming->lose(std::move(*loss)) : coming->keep();
  });
}

bool Service::fetch_blob(const std::string& repository, const ContentDigest& digest, ComingBlob& coming) {
  if (use_blob(repository, digest)) return true;
  std::optional<Upstream::Blob> blob = upstream_->blob(repository, digest, 0);
  if (!blob) return false;
  const std::shared_ptr<Upload> upload = uploads_.begin(repository, digest.algorithm());
  try {
    const uint64_t token = upload->take_over();
    if (blob->size) {
      std::optional<OpenedFile> file = tree_.open(Tree::upload_path(repository, upload->id()));
      if (!file) fail(ErrorCode::kNotFound, "upload {} has gone", upload->id());
      coming.begin(std::make_shared<const UniqueFd>(std::move(file->fd)), *blob->size);
    }
    receive_blob_of_other(repository, digest, *upload, token, std::move(*blob), coming);
    std::promise<Answer> promise;
    finish_upload(upload, token, digest, [&](Answer answer) { promise.set_value(std::move(answer)); });
    const Answer end = promise.get_future().get();
    if (end.status == 400)
      fail(ErrorCode::kCorrupt, "{}: the other registry sent other bytes for {}", repository,
           digest.to_string());
    if (end.status != 201)
      fail(end.status == 507 ? ErrorCode::kNoSpace : ErrorCode::kIo, "{}: {} could not be kept", repository,
           digest.to_string());
  } catch (...) {
    if (uploads_.find(repository, upload->id())) end_upload(upload.get(), false);
    throw;
  }
  return true;
}

// A connection that ends in the middle is made again for the rest.
void Service::receive_blob_of_other(const std::string& repository, const ContentDigest& digest,
                                    Upload& upload, uint64_t token, Upstream::Blob blob, ComingBlob& coming) {
  const std::optional<uint64_t> size = blob.size;
  std::string buffer(kFetchStep, '\0');
  uint64_t skipped = 0;  // of a registry that knows no ranges and sends all of it again
  for (int failures = 0;;) {
    try {
      while (const size_t n = blob.body->read(buffer.data(), buffer.size())) {
        std::string_view bytes(buffer.data(), n);
        const size_t known = std::min<uint64_t>(bytes.size(), skipped);
        skipped -= known;
        bytes.remove_prefix(known);
        if (bytes.empty()) continue;
        if (const std::optional<Answer> refusal = take_bytes(upload, token, bytes))
          fail(refusal->status == 413 ? ErrorCode::kNoSpace : ErrorCode::kCancelled,
               "{}: {} cannot be kept: {}", repository, digest.to_string(), refusal->body);
        coming.grow(upload.size());
        failures = 0;
      }
      return;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo || !size || ++failures >= kFetchAttempts) throw;
    }
    wait_for_retry(pause_after(failures, {.first_pause_ms = 200}, static_cast<uint32_t>(monotonic_ns())),
                   upstream_->cancellation());
    std::optional<Upstream::Blob> rest = upstream_->blob(repository, digest, upload.size());
    if (!rest || rest->size != size)
      fail(ErrorCode::kCorrupt, "{}: the other registry has another {} now", repository, digest.to_string());
    skipped = upload.size() - rest->offset;
    blob = std::move(*rest);
  }
}

}  // namespace corten::registry::serving
