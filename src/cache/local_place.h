// A cache in a directory: an OCI image layout, one entry of index.json for each tag.
//
// It is what BuildKit's type=local writes and reads, and the two may use one directory: index.json is
// replaced under the same lock (index.json.lock, flock(2)), blobs get their name when they are whole, and
// everything that is not ours stays. A kill at any point leaves a layout that reads; what was begun lies in
// ingest/ and goes with a later drop_unreachable().
//
// Which blobs may go? Those that no entry of index.json reaches. A writer has put blobs long before its
// manifest names them, so every writer of ours holds corten.lock shared for as long as it lives, and who
// wants to drop needs it exclusively: of several that write at once the last one drops. BuildKit does not
// know that lock, so blobs younger than an hour stay in any case, and one that a writer finds in place is
// young again. Readers hold nothing: what is taken from under them is a miss.
#pragma once
#include <sys/stat.h>

#include <mutex>

#include "base/thread_pool.h"
#include "base/unique_fd.h"
#include "cache/place.h"
#include "oci/index.h"

namespace corten::cache {

struct LocalOptions {
  std::string tag = "latest";
  std::optional<Digest> digest;  // read: this manifest, whatever the tag says
  bool is_written = false;       // makes the directory, and holds its lock
  bool is_reset = false;         // what lies there does not count: the manifest becomes the only entry
  Cancellation cancellation = {};
};

class LocalPlace : public Place {
 public:
  // A directory that is only read may be missing: then there is no manifest.
  explicit LocalPlace(std::string directory, LocalOptions options = {});

  std::string name() const override;
  std::optional<std::string> manifest() override;
  void put_manifest(std::string_view bytes) override;
  bool has_blob(const oci::Descriptor& blob) override;
  std::string read_blob(const oci::Descriptor& blob, size_t max_bytes) override;
  void fetch_blob(const oci::Descriptor& blob, int fd) override;
  std::string read_part(const oci::Descriptor& blob, uint64_t offset, size_t size) override;
  void put_blob(const NewBlob& blob) override;
  uint64_t drop_unreachable() override;

 private:
  struct Temporary;
  void need_writing() const;
  UniqueFd lock(const std::string& name, int how) const;
  std::optional<UniqueFd> open_regular(const std::string& name) const;
  UniqueFd open_blob(const oci::Descriptor& blob) const;
  std::optional<std::string> read_manifest(const Digest& digest) const;
  std::optional<oci::Index> read_index() const;
  Temporary begin_file() const;
  void sync_blobs();
  void write_root_file(const std::string& name, std::string_view bytes) const;
  std::vector<Digest> reached() const;
  uint64_t drop_files(const std::string& directory,
                      const std::function<bool(const std::string& name)>& may_go) const;

  const std::string directory_;
  const LocalOptions options_;
  UniqueFd root_;          // not open: there is no such directory
  UniqueFd writers_lock_;  // shared
  std::mutex mutex_;       // of the rest, and of index.json
  std::vector<Digest> unsynced_;
  bool is_fresh_ = false;  // after a reset, until the manifest is put
};

}  // namespace corten::cache
