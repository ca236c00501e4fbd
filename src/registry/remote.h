// A client of registries (distribution-spec v1.1): manifests, blobs, tags, referrers - over networks that
// drop, stall and lie.
//
// What is asked goes to the mirrors of a registry first and to itself last; a mirror that fails is told once
// and passed over. What may pass is tried again (asker.h).
// A blob that is cut goes on where it stood (Range), an upload where the server says that it stands. Digests
// and sizes are verified while they stream; what a server says of itself (Content-Length,
// Docker-Content-Digest, Range) is compared, never trusted.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "oci/index.h"
#include "oci/reference.h"
#include "registry/access.h"
#include "registry/asker.h"
#include "registry/hosts.h"
#include "registry/referrers_api.h"

namespace corten::registry {

using RemoteOptions = Asker::Options;

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

struct ResumedObject;

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
  // Some of its bytes, which nobody can verify by its digest: the caller does by others.
  std::string read_part(const oci::Reference& repository, const oci::Descriptor& blob, uint64_t offset,
                        size_t size);
  // In the registry's order.
  std::vector<std::string> tags(const oci::Reference& repository);
  // What refers to that manifest: by the API, else by the fallback tag (spec, "Referrers Tag Schema");
  // nothing when the registry has neither. Error when it cannot say now.
  oci::Index referrers(const oci::Reference& repository, const Digest& digest,
                       const std::string& artifact_type = {});

  // --- Writing ---
  Placed push_blob(const oci::Reference& repository, const OutgoingBlob& blob, const Meter& meter = {});
  // Under the reference's tag, or under its digest alone. One with a subject is added to the fallback tag
  // where the registry does not list referrers itself.
  void put_manifest(const oci::Reference& reference, std::string_view bytes, const std::string& media_type);
  // By tag (where the registry can) or digest. False when there was none.
  bool remove_manifest(const oci::Reference& reference);

 private:
  struct Sending;
  struct Upload;
  // Calls f with each endpoint until it does not throw.
  void from_any(const oci::Reference& reference, const std::function<void(const Endpoint&)>& f);
  ResumedObject object_of(const Endpoint& endpoint, const oci::Descriptor& blob);
  Endpoint to_push(const oci::Reference& reference) const;
  void add_fallback_referrer(const oci::Reference& repository, const Digest& subject,
                             const oci::Descriptor& entry);

  Access& access_;
  const Hosts& hosts_;
  Asker asker_;
  ReferrersApi referrers_api_{asker_};
  std::mutex mutex_;
  std::set<std::string> failing_mirrors_;
};

// "sha256:<hex>" to "sha256-<hex>".
std::string fallback_tag(const Digest& subject);

}  // namespace corten::registry
