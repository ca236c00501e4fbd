// The store: everything that outlives a command, in one directory.
//
//   format             the version of this layout
//   lock               held shared by every command that uses the store; exclusively by fsck
//   index.db           what is where (SQLite; database.h)
//   contents/ab/...    file contents by digest          layers/ab/...  layer manifests by id
//   dirs/ab/...        directory bodies                 blobs/ab/...   configs, manifests, compressed layers
//   mounts/ID/         cache mounts                     builds/ID/     logs of builds
//   containers/ID/     containers                       volumes/NAME/  named volumes
//   git/ID/            what was fetched from a repository
//   locks/             one file a key while a step runs stat/          stat caches of contexts
//   lists/             what steps read, for `why`       history-key    for digests of secrets beside keys
//   leases/ID          what a command that runs needs   tmp/ID/        what it is making (lease.h)
//
// Writes go to tmp/ and are renamed, so a name is always whole. Contents and layers are not synced one by
// one: an image is, once, before its name is written (make_durable). What a crash of the machine may have
// lost is known by the boot that wrote it and counts as a miss.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "oci/platform.h"
#include "store/collector.h"
#include "store/contents.h"
#include "store/database.h"
#include "store/layers.h"
#include "store/lease.h"

namespace corten::store {

// The machine's boot id; "" where there is none.
const std::string& boot_id();

// What a step with this key gave. `record` is the key's inputs by name, as JSON text, for `why`.
struct Action {
  Digest key;
  std::string kind;  // "exact"
  LayerRef layer;
  std::string record;
};

struct Image {
  Digest id;                      // of the config's bytes
  std::string config;             // the bytes
  Rootfs layers;                  // times as exported
  uint64_t size = 0;              // sum of the files' sizes in its layers: what Docker calls SIZE
  std::vector<std::string> tags;  // full references, sorted
  int64_t added = 0;              // when it came here, seconds
};

// Images of several platforms under one name: what is an OCI image index once it leaves the store.
struct ImageIndex {
  struct Member {
    oci::Platform platform;
    Digest image;
  };
  Digest id;                      // of the members' list
  std::vector<Member> members;    // in the order in which they were asked for
  std::vector<std::string> tags;  // full references, sorted
  int64_t added = 0;

  // What a machine of that platform takes; null when there is nothing for it.
  const Member* choose(const oci::Platform& wanted) const;
  std::string platforms() const;  // "linux/amd64, linux/arm64"
};

struct BuildRecord {
  std::string id;
  int64_t started_ns = 0, finished_ns = 0;  // 0: not finished
  std::string status;                       // "running", "done", "failed", "cancelled", "killed"
  std::string name;                         // the first tag, or what else it is known by
  Json details;
};

// Where a running build writes. The lock says that it runs.
struct BuildPlace {
  std::string directory;
  FileLock lock;
};

struct Usage {
  uint64_t images = 0, layers = 0, contents = 0, bodies = 0, blobs = 0, cache_mounts = 0, containers = 0,
           index = 0, other = 0;  // bytes on disk
  uint64_t total() const { return limited() + containers + index; }
  // What a size limit is about: all that builds put there. The index is a few MB that come and go.
  uint64_t limited() const { return images + layers + contents + bodies + blobs + cache_mounts + other; }
};

// Thread-safe.
class Store {
 public:
  // $CORTEN_STORE, else /var/lib/corten for root, else $XDG_DATA_HOME/corten (~/.local/share/corten). Call
  // before a user namespace is entered: there everybody is root.
  static std::string default_path();

  // Makes what is missing. Error(kPermission) with a hint when it cannot be written, or when root would use a
  // user's store.
  // `on_wait` is told whom this or a later wait is for, when it takes longer than two seconds.
  explicit Store(const std::string& path, std::function<void(std::string_view)> on_wait = {});
  ~Store();

  // Gives up the shared lock and the lease, so that nobody need wait for a command that goes on for long and
  // writes nothing here.
  void release();

  const std::string& path() const { return path_; }
  Database& database() { return *database_; }
  Contents& contents() { return *contents_; }
  Layers& layers() { return *layers_; }

  // Blobs: configs, manifests, compressed layers. Written whole or not at all.
  std::string blob_path(const Digest& digest) const;
  // Held from here on.
  bool has_blob(const Digest& digest);
  std::string read_blob(const Digest& digest, size_t max_bytes) const;  // verified
  Digest write_blob(std::string_view bytes);
  // A file in tmp/ that becomes the blob of that digest.
  void place_blob(const std::string& temporary_file, const Digest& digest);

  std::optional<Action> find_action(const Digest& key);
  void record_action(const Action& action);
  std::vector<Action> actions();

  // Makes config, layers and tags durable in this order. A tag that another image has moves here.
  void save_image(const Image& image);
  std::vector<Image> images();
  // By tag (normalised by the caller), or by id or its unique prefix of at least 3 hex digits. Of an index
  // the image for `wanted`; Error(kNotFound) names the platforms that it has when there is none.
  std::optional<Image> find_image(std::string_view name_or_id, const oci::Platform& wanted);
  std::optional<Image> find_image(std::string_view name_or_id);  // for this machine
  std::optional<Image> image_by_id(const Digest& id);
  // The same for indexes; their members are images that were saved before.
  ImageIndex save_index(const std::vector<ImageIndex::Member>& members, std::vector<std::string> tags);
  std::vector<ImageIndex> indexes();
  std::optional<ImageIndex> find_index(std::string_view name_or_id);
  void delete_index(const Digest& id);                       // with its tags; its members stay
  void tag_image(const Digest& id, const std::string& tag);  // an image or an index
  bool untag(const std::string& tag);
  bool has_tag(std::string_view tag);
  void delete_image(const Digest& id);  // with its tags

  // One sync barrier: all that was written before is on disk when it returns.
  void make_durable();

  // Once after each start of the machine: what was written after the last sync barrier may have lost its
  // bytes in a crash. Contents, manifests and blobs of that time are hashed, and those that are damaged go
  // away; bodies of that time go away. Where the ids of layers exist.
  void recover_after_crash();
  // Takes away what commands that were killed left in tmp/. Where the ids of layers exist.
  void clean_temporary();
  // A directory below this command's own in tmp/.
  TempDir temporary(const std::string& prefix);
  Lease& lease() { return *lease_; }
  // A lock by name (locks/NAME); the file stays.
  std::string lock_path(std::string_view name) const;

  // --- History (history.cc) ---
  // Makes the directory of a new build; of the oldest builds some hundreds are kept.
  BuildPlace begin_build(const std::string& id);
  std::string build_directory(std::string_view id) const;
  void save_build(const BuildRecord& record);
  // Newest first. One that says it runs and does not has the status "killed".
  std::vector<BuildRecord> builds(size_t most = 1 << 20);
  // By id or its unique prefix of at least 3 digits, by name (the newest), ^N (the N-th before the newest),
  // "" (the newest). Error(kNotFound).
  BuildRecord find_build(std::string_view text);
  void delete_build(const std::string& id);
  // 32 random bytes of this store, for digests that nobody else can guess.
  std::string history_key();
  // What a step read, in full, under the digest that its key holds (build/read_list.h). Those that were not
  // used for the longest time give way to new ones.
  void save_list(const Digest& digest, const std::function<std::string()>& make);
  std::optional<std::string> read_list(const Digest& digest) const;

  // The directory of a cache mount, made when missing, and held. `sharing` and `owner` are for people.
  std::string cache_mount_directory(std::string_view id, std::string_view sharing = "",
                                    std::string_view owner = "");
  // The directory of a named volume, made when missing.
  std::string volume_directory(std::string_view name);
  // Copies of git repositories (source/git_repository.h): git/ID, the start of the address's SHA-256.
  std::string git_directory() const { return path_ + "/git"; }
  // To be called before git/ID is used.
  void hold_git(std::string_view remote);
  std::string containers_directory() const { return path_ + "/containers"; }

  struct Pruned {
    std::vector<std::string> deleted;  // images (tags or ids) and others, for people
    Collected collected;
  };
  struct PruneOptions {
    bool images = true;          // those without a name
    bool all_images = false;     // also tagged ones that no container uses
    bool lists = false;          // what steps read, for `why`
    std::vector<Digest> in_use;  // images of containers
    CollectOptions collect = {};
  };
  // Removes what nothing needs, and what the options name. Builds may go on (collector.h).
  Pruned prune(const PruneOptions& options);
  // Layers that are in use without a lease (containers); asked by who collects.
  void set_other_roots(std::function<std::vector<Digest>()> roots) { other_roots_ = std::move(roots); }
  std::vector<Digest> other_roots() const { return other_roots_ ? other_roots_() : std::vector<Digest>(); }
  // What the store took when it was last counted (containers and volumes left out), if that is still known.
  struct KnownBytes {
    uint64_t bytes = 0, free_when_counted = 0;
  };
  std::optional<KnownBytes> known_bytes();
  void set_known_bytes(uint64_t bytes);
  struct Damage {
    std::string what;   // "content sha256:...", "image x"
    std::string wrong;  // "its bytes have another digest"
  };
  // Reads everything that has a digest and compares; finds what images and actions need and is missing.
  // `repair` takes away what is damaged and what cannot be without it: later builds make it again. Waits
  // until no other command uses the store.
  std::vector<Damage> check(bool repair);
  // The whole store directory, bodies of other ids included. Closes the store: nothing else may be called.
  void destroy();
  Usage usage();

 private:
  void open_directories();
  FileLock shared_lock();
  void save_uses();
  void forget_known_bytes();
  std::optional<Image> read_image(const Digest& id);
  void forget_old_builds();
  void trim_lists(uint64_t coming);
  std::string fact(std::string_view name);
  void set_fact(std::string_view name, std::string_view value);
  Image read_image_row(Statement& row);
  // Whether save_image() has nothing to sync: it did so before, and all of it is still there.
  bool is_durable(const Image& image, const std::string& layers);
  std::optional<Digest> find_id(std::string_view table, std::string_view name_or_id);
  std::optional<ImageIndex> index_by_id(const Digest& id);

  std::string path_;
  std::function<void(std::string_view)> on_wait_;
  FileLock exclusive_lock(const std::function<bool()>& is_needless = {});

  FileLock lock_;
  std::unique_ptr<Lease> lease_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Contents> contents_;
  std::unique_ptr<Layers> layers_;
  std::mutex uses_mutex_;
  std::set<Digest> used_actions_, used_blobs_;
  std::function<std::vector<Digest>()> other_roots_;
};

}  // namespace corten::store
