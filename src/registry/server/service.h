// What the registry answers (distribution-spec v1.1, and of its development what is useful: cancelling
// uploads, several tags in one push, digest-algorithm). Each end point is a function; they lie in *_calls.cc
// by subject.
#pragma once
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "base/thread_pool.h"
#include "registry/server/access_log.h"
#include "registry/server/authorizer.h"
#include "registry/server/collector.h"
#include "registry/server/coming_blob.h"
#include "registry/server/content_digest.h"
#include "registry/server/image_provider.h"
#include "registry/server/journal.h"
#include "registry/server/message.h"
#include "registry/server/metrics.h"
#include "registry/server/tree.h"
#include "registry/server/uploads.h"
#include "registry/server/upstream.h"
#include "registry/server/usage.h"

namespace corten::registry::serving {

// Blobs up to this size go through the journal, as manifests do; bigger ones are synced as files.
inline constexpr uint64_t kSmallBlob = 128 << 10;
inline constexpr size_t kMaxManifest = 4 << 20;
inline constexpr size_t kMaxTags = 100;  // of one push

struct ServiceOptions {
  std::string root;
  bool is_read_only = false;
  uint64_t max_bytes = 0;       // of blobs, manifests and uploads; 0: as much as the disk takes
  std::string access_log = {};  // a file, "-" for standard error, "" for none
  AuthOptions auth = {};
  CollectorOptions collector = {};
  std::shared_ptr<ImageProvider> images = {};  // unset: what was pushed alone
  std::string proxy = {};      // the address of another registry, whose images are fetched and kept
  int64_t proxy_fresh_s = 60;  // how long a tag of it is not asked for again
  JournalOptions journal = {};
  std::function<void(const std::string& line)> log = {};  // failures of ours; called by any thread
};

// Thread-safe.
class Service {
 public:
  explicit Service(ServiceOptions options);
  ~Service();

  // What takes the request's body and answers it; nullptr when prepare() has to be called first. Says in
  // `head` who it is.
  std::unique_ptr<Call> begin(RequestHead& head);
  // Looks at credentials that take long to look at, on another thread; calls `done` there. False: too many
  // wait.
  bool prepare(const RequestHead& head, std::function<void()> done);
  void finished(const Finished& request);
  Metrics& metrics() { return metrics_; }
  // One round of garbage collection.
  Collected collect(int64_t now_s) { return collector_.collect(now_s); }
  // What an exception means to a client: 507 for a full disk, else 500. Its words go to the log alone.
  Answer failed(const std::exception& failure);

 private:
  friend class ManifestPut;
  friend class BlobPut;
  friend class SmallBlobPut;
  friend class ChunkPatch;
  using CallPtr = std::unique_ptr<Call>;

  CallPtr begin_admitted(const RequestHead& head);
  CallPtr show_metrics();
  void count_usage();
  // 401 where the request may not do that; nothing where it may.
  std::optional<Answer> check_access(const RequestHead& head, std::string_view type, const std::string& name,
                                     std::string_view action) const;
  CallPtr begin_repository(const RequestHead& head, const std::string& repository,
                           const std::vector<std::string>& rest);
  // blob_calls.cc
  CallPtr get_blob(const RequestHead& head, const std::string& repository, const std::string& digest);
  CallPtr delete_blob(const std::string& repository, const std::string& digest);
  Answer blob_answer(const RequestHead& head, const std::string& repository, const ContentDigest& digest);
  // All of it, or the part that was asked for.
  Answer content_answer(const RequestHead& head, const ContentDigest& digest,
                        std::shared_ptr<const UniqueFd> file, uint64_t size) const;
  // upload_calls.cc
  CallPtr start_upload(const RequestHead& head, const std::string& repository);
  CallPtr mount_blob(const RequestHead& head, const std::string& repository, const ContentDigest& digest);
  CallPtr upload_status(const std::string& repository, const std::string& id);
  CallPtr cancel_upload(const std::string& repository, const std::string& id);
  CallPtr patch_upload(const RequestHead& head, const std::string& repository, const std::string& id);
  CallPtr put_upload(const RequestHead& head, const std::string& repository, const std::string& id);
  CallPtr receive_blob(const RequestHead& head, std::shared_ptr<Upload> upload, const std::string& repository,
                       const ContentDigest& digest);
  // It has got its answer. Throws nothing.
  void end_upload(Upload* upload, bool has_become_blob);
  void finish_upload(const std::shared_ptr<Upload>& upload, uint64_t token, const ContentDigest& digest,
                     Reply reply);
  // The answer that refuses them, if it does.
  std::optional<Answer> take_bytes(Upload& upload, uint64_t token, std::string_view bytes);
  // manifest_calls.cc
  CallPtr get_manifest(const RequestHead& head, const std::string& repository, const std::string& reference);
  CallPtr put_manifest(const RequestHead& head, const std::string& repository, const std::string& reference);
  CallPtr delete_manifest(const std::string& repository, const std::string& reference);
  Answer store_manifest(std::string_view media_type, const std::string& repository,
                        const ContentDigest& digest, const std::vector<std::string>& tags,
                        std::string_view body, std::vector<Change>& changes);
  Answer remove_manifest(const std::string& repository, const ContentDigest& digest);
  std::optional<Answer> check_references(const std::string& repository, const struct ManifestFacts& facts);
  Answer manifest_answer(const RequestHead& head, const std::string& repository, const std::string& reference,
                         const std::optional<ContentDigest>& digest);
  // store_calls.cc
  bool may_be_in_store(const std::string& repository, const std::string& tag) const;
  void bring_image(const std::string& host, const std::string& repository, const std::string& tag);
  void take_manifest(const std::string& layout, const std::string& repository, const ContentDigest& digest,
                     std::vector<Change>& links, std::vector<Change>& manifests);
  // proxy_calls.cc
  class Flight;
  bool is_fresh(const std::string& key);
  void set_fresh(const std::string& key);
  void fetch_tag(const std::string& repository, const std::string& tag);
  void fetch_manifest(const std::string& repository, const ContentDigest& digest);
  void keep_manifest(const std::string& repository, const std::string& tag,
                     const std::optional<Upstream::Manifest>& manifest,
                     const std::optional<ContentDigest>& wanted);
  void join_flight(const RequestHead& head, const std::string& repository, const ContentDigest& digest,
                   Reply reply);
  // False when the other registry does not have it.
  bool fetch_blob(const std::string& repository, const ContentDigest& digest, ComingBlob& coming);
  void receive_blob_of_other(const std::string& repository, const ContentDigest& digest, Upload& upload,
                             uint64_t token, Upstream::Blob blob, ComingBlob& coming);
  // list_calls.cc
  CallPtr list_tags(const RequestHead& head, const std::string& repository);
  CallPtr list_referrers(const RequestHead& head, const std::string& repository, const std::string& digest);
  CallPtr list_repositories(const RequestHead& head);

  // Runs `work` on a worker; what it throws becomes an answer.
  void on_worker(Reply reply, std::function<Answer()> work) {
    run_on(workers_, std::move(reply), std::move(work));
  }
  void run_on(ThreadPool& pool, Reply reply, std::function<Answer()> work);
  // Answers when the changes are durable.
  void commit(std::vector<Change> changes, Answer answer, Reply reply);
  // Whether the repository has it; if so it will not be collected soon.
  bool use_blob(const std::string& repository, const ContentDigest& digest);

  const ServiceOptions options_;
  Metrics metrics_;
  std::unique_ptr<AccessLog> log_;
  Authorizer authorizer_;
  std::atomic<int> passwords_waiting_ = 0;
  Usage usage_;
  Tree tree_;
  Uploads uploads_;
  Journal journal_;     // what it still has to tell needs all above
  ThreadPool workers_;  // these end before the journal, which they use
  std::unique_ptr<Upstream> upstream_;
  std::mutex flights_mutex_;
  std::condition_variable landed_;
  std::set<std::string> flights_;  // of tags and manifests
  std::map<std::string, std::shared_ptr<ComingBlob>> coming_;
  std::map<std::string, int64_t> fresh_until_ns_;
  ThreadPool fetchers_, blob_fetchers_;  // wait for another registry
  ThreadPool importers_;                 // one thread: makes layouts of the store's images
  ThreadPool passwords_;  // one thread: trying passwords must not take the processor from everybody else
  Collector collector_;
};

Answer unknown_blob(const std::string& digest);
// A call without a body, or whose body counts for nothing.
std::unique_ptr<Call> answer_with(std::function<void(Reply)> work);
std::unique_ptr<Call> answer_now(Answer answer);  // before the body comes

}  // namespace corten::registry::serving
