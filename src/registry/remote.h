// A client of registries (distribution-spec v1.1): manifests, blobs, tags, referrers - over networks that
// drop, stall and lie.
//
// What is asked goes to the mirrors of a registry first and to itself last; a mirror that fails is told once
// and passed over. Every request that may be sent again is, after a pause, when the connection fails or the
// answer is one that may pass (retry.h); a Retry-After is obeyed. Mirrors are tried twice: the next is there.
// A blob that is cut goes on where it stood (Range), an upload where the server says that it stands. Digests
// and sizes are verified while they stream; what a server says of itself (Content-Length,
// Docker-Content-Digest, Range) is compared, never trusted.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "base/thread_pool.h"
#include "oci/index.h"
#include "oci/reference.h"
#include "registry/access.h"
#include "registry/hosts.h"
#include "registry/retry.h"

namespace corten::registry {

struct RemoteOptions {
  RetryRules retry;
  Cancellation cancellation;
  std::function<void(const std::string&)> warn;  // a line for people; from any thread
};

struct RemoteManifest {
  oci::Descriptor descriptor;  // the media type as the registry and the document agree on it
  std::string bytes;
};

// A blob on its way to a registry.
struct OutgoingBlob {
  oci::Descriptor descriptor;
  std::function<std::unique_ptr<archive::ByteSource>(uint64_t offset)> open;  // may be asked again
  std::vector<std::string> mount_from;  // repositories of the same registry that may have it
};

enum class Placed { kThere, kMounted, kSent };

// With which the embedded server marks a manifest that nobody pushed: it is of the store that it shares, and
// follows it. Who pushes the same one has to, so that it stays.
inline constexpr std::string_view kLentField = "Corten-Lent";

// How far one transfer has come, in bytes; may go back when it has to start again.
using Meter = std::function<void(uint64_t at)>;

// Thread-safe. `access` and `hosts` are borrowed.
class Remote {
 public:
  Remote(Access& access, const Hosts& hosts, RemoteOptions options);

  // --- Reading. Error(kNotFound) names what is not there. ---
  // What the reference means now, by HEAD; nothing when there is no such manifest.
  // `is_lent`: the server shows it out of an image store, and will stop when the store does (kLentField).
  std::optional<oci::Descriptor> find(const oci::Reference& reference, bool* is_lent = nullptr);
  // With a digest in the reference, the bytes are verified by it.
  RemoteManifest manifest(const oci::Reference& reference);
  bool has_blob(const oci::Reference& repository, const Digest& digest);
  // Into an empty file, from its start; Error(kCorrupt) when no server has the right bytes.
  void fetch_blob(const oci::Reference& repository, const oci::Descriptor& blob, int fd,
                  const Meter& meter = {});
  // A small one (a config), verified.
  std::string read_blob(const oci::Reference& repository, const oci::Descriptor& blob, size_t max_bytes);
  // In the registry's order.
  std::vector<std::string> tags(const oci::Reference& repository);
  // What refers to that manifest: by the API, else by the fallback tag (spec, "Referrers Tag Schema").
  oci::Index referrers(const oci::Reference& repository, const Digest& digest,
                       const std::string& artifact_type = {});

  // --- Writing ---
  Placed push_blob(const oci::Reference& repository, const OutgoingBlob& blob, const Meter& meter = {});
  // Under the reference's tag, or under its digest alone. One with a subject is added to the fallback tag
  // where the registry does not list referrers itself.
  void put_manifest(const oci::Reference& reference, std::string_view bytes, const std::string& media_type);
  // By tag (where the registry can) or digest. False when there was none.
  bool remove_manifest(const oci::Reference& reference);

  // The answer's body, read to its end, at most `max_bytes`: Error(kInvalid) beyond.
  static std::string body_of(http::Response& response, size_t max_bytes);

 private:
  class BlobStream;
  struct Sending;
  struct Upload;
  // A request with retries; every status that is final is an answer.
  http::Response ask(const Endpoint& endpoint, const http::Request& request,
                     const std::vector<std::string>& scopes);
  // The same, once more when a connection ends in the middle of the body.
  std::string ask_whole(const Endpoint& endpoint, const http::Request& request,
                        const std::vector<std::string>& scopes, size_t max_bytes, http::Response& response);
  void pause(int64_t milliseconds) const;
  uint32_t random() const;
  // What a status means that is no success.
  Error refused(const Endpoint& endpoint, const std::string& what, http::Response& response,
                const std::vector<std::string>& scopes) const;
  void hear_warnings(const http::Response& response);
  void warn_once(const std::string& text);
  // Calls f with each endpoint until it does not throw.
  void from_any(const oci::Reference& reference, const std::function<void(const Endpoint&)>& f);
  Endpoint to_push(const oci::Reference& reference) const;
  void add_fallback_referrer(const oci::Reference& repository, const Digest& subject,
                             const oci::Descriptor& entry);
  std::vector<std::string> all_pages(const Endpoint& endpoint, const std::string& path,
                                     const std::vector<std::string>& scopes, bool& is_there,
                                     http::Fields* fields = nullptr);

  Access& access_;
  const Hosts& hosts_;
  RemoteOptions options_;
  std::mutex mutex_;
  std::set<std::string> warned_;
  std::set<std::string> failing_mirrors_;
};

// What an answer's Link field names as the next page (RFC 8288), or "".
std::string next_link(const http::Response& response);
// "sha256:<hex>" to "sha256-<hex>".
std::string fallback_tag(const Digest& subject);

}  // namespace corten::registry
