// What a layer's tar holds does not depend on what lies below it, but for its hard links and whiteouts. So
// the members of all layers are read as their blobs come, in any order, and their contents go into the store
// at once; what they make of the layers below is worked out when those are known, from the lowest up. The
// last byte from the network is thus nearly the last work.
#include "source/layer_import.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <optional>

#include <fmt/core.h>

#include "archive/compression.h"
#include "base/eager_writeback.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "base/trace.h"
#include "base/unique_fd.h"
#include "store/layer_tar.h"

namespace corten::source {

namespace {

constexpr uint64_t kMaxLayerBytes = uint64_t{1} << 40;

// A blob's file, which one thread fills while another reads behind it. What is read is not verified before
// settle() says so; and it may begin again, from another server with other bytes.
class Arrival : public archive::ByteSource {
 public:
  explicit Arrival(std::string path) : path_(std::move(path)) {}

  // --- By who fetches ---
  void reached(uint64_t at) {
    std::lock_guard lock(mutex_);
    if (given_up_) std::rethrow_exception(given_up_);
    if (at < came_) attempt_++;
    came_ = at;
    changed_.notify_all();
  }
  void end(std::exception_ptr error) {
    std::lock_guard lock(mutex_);
    if (has_ended_) return;
    has_ended_ = true;
    error_ = std::move(error);
    changed_.notify_all();
  }
  // By anybody: nobody wants it any more.
  void give_up(const std::exception_ptr& why) {
    {
      std::lock_guard lock(mutex_);
      given_up_ = why;
    }
    end(why);
  }

  // --- By who reads ---
  void rewind() {
    at_ = 0;
    std::lock_guard lock(mutex_);
    read_attempt_ = attempt_;
  }
  size_t read(void* data, size_t size) override {
    uint64_t here = 0;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return has_ended_ || attempt_ != read_attempt_ || came_ > at_; });
      if (error_) std::rethrow_exception(error_);
      if (attempt_ != read_attempt_) fail(ErrorCode::kIo, "the download began again");
      here = came_ - at_;
    }
    if (!file_) file_ = open_file(path_, O_RDONLY);
    const ssize_t n = pread(file_.get(), data, std::min<uint64_t>(size, here), static_cast<off_t>(at_));
    if (n < 0) fail_errno("read a layer's blob");
    at_ += static_cast<uint64_t>(n);
    return static_cast<size_t>(n);
  }
  // Waits until it has ended; throws what it failed with. False: what was read is of no worth, since it began
  // again meanwhile.
  bool settle() {
    file_.reset();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return has_ended_ || attempt_ != read_attempt_; });
    if (error_) std::rethrow_exception(error_);
    return attempt_ == read_attempt_;
  }

 private:
  const std::string path_;
  UniqueFd file_;  // of who reads
  uint64_t at_ = 0;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  uint64_t came_ = 0;
  int attempt_ = 0, read_attempt_ = 0;
  bool has_ended_ = false;
  std::exception_ptr error_, given_up_;
};

// A layer before anybody says what lies below it.
struct Unpacked {
  std::vector<store::LayerMember> members;
  Digest tar;
  uint64_t tar_bytes = 0;
};

Unpacked unpack(archive::ByteSource& blob, store::Store& store) {
  TraceSpan span("unpack a layer");
  auto expanded = archive::open_decompressor(blob);
  archive::LimitedSource limited(*expanded, kMaxLayerBytes, "its tar");
  archive::HashingSource hashing(limited);
  Unpacked found;
  found.members = store::read_layer_members(hashing, store.contents());
  archive::drain(hashing);
  found.tar = hashing.digest();
  found.tar_bytes = hashing.size();
  return found;
}

[[noreturn]] void throw_about(const oci::Descriptor& layer, const std::exception_ptr& wrong) {
  try {
    std::rethrow_exception(wrong);
  } catch (Error& error) {
    error.add_context("layer " + layer.digest.to_string());
    throw;
  }
}

Unpacked unpack_coming(Arrival& blob, const oci::Descriptor& descriptor, store::Store& store) {
  for (;;) {
    blob.rewind();
    Unpacked found;
    std::exception_ptr wrong;
    try {
      found = unpack(blob, store);
    } catch (const Error&) {
      wrong = std::current_exception();
    }
    // Whether the bytes were the blob's is known at the end.
    if (!blob.settle()) continue;
    if (wrong) throw_about(descriptor, wrong);
    return found;
  }
}

// The layers of one image on their way. Each blob is fetched and unpacked once, however often it stands
// there. The first failure is the image's: all others are given up, and nobody waits for what lies below.
class Import {
 public:
  Import(unsigned fetches, const BlobFetch& fetch, store::Store& store)
      : fetch_(fetch), store_(store), place_(store.temporary("import-")), fetching_(fetches) {}
  // Whoever still fetches or waits is told; the pools then end.
  ~Import() { give_up(); }
  Import(const Import&) = delete;
  Import& operator=(const Import&) = delete;

  void begin(const oci::Descriptor& blob) {
    const bool is_here = has_layer_blob(blob, store_);
    Coming* coming = nullptr;
    {
      std::lock_guard lock(mutex_);
      auto& place = coming_[blob.digest];
      if (place) {
        if (place->size != blob.size)
          fail(ErrorCode::kCorrupt, "layer {}: it is said to have {} bytes, and {}", blob.digest.to_string(),
               place->size, blob.size);
        place->uses++;
        return;
      }
      place = std::make_unique<Coming>(blob.size);
      coming = place.get();
      if (!is_here) coming->arrival.emplace(path_of(blob));
      if (failed_ && coming->arrival) coming->arrival->give_up(another_failed());
    }
    if (is_here) {
      unpacking_.submit([this, &blob, coming] {
        settle(*coming, [&] {
          const UniqueFd file = open_file(store_.blob_path(blob.digest), O_RDONLY);
          archive::FdSource from(file.get(), blob.digest.to_string());
          try {
            return unpack(from, store_);
          } catch (const Error&) {
            throw_about(blob, std::current_exception());
          }
        });
      });
      return;
    }
    fetching_.submit([this, &blob, &arrival = *coming->arrival] {
      try {
        arrival.reached(0);  // nothing is asked for that nobody wants any more
        UniqueFd file = open_file(path_of(blob), O_RDWR | O_CREAT | O_EXCL, 0644);
        EagerWriteback writeback;  // whoever keeps the image syncs it
        fetch_(blob, file.get(), [&](uint64_t at) {
          writeback.reached(file.get(), at);
          arrival.reached(at);
        });
        file.close_checked(path_of(blob));
        arrival.end({});
      } catch (...) {
        arrival.end(std::current_exception());
        lost(std::current_exception());
      }
    });
    unpacking_.submit([this, &blob, coming] {
      settle(*coming, [&] { return unpack_coming(*coming->arrival, blob, store_); });
    });
  }

  // For a blob that begin() was told of, as often as it was. One that stands twice in an image makes what it
  // makes of what is below.
  store::LayerRef finish(const oci::Descriptor& blob, const DiffId& diff_id, const store::Rootfs& below) {
    Coming& coming = coming_of(blob);
    coming.is_settled.wait();
    if (!coming.unpacked) throw_what_failed();
    const Unpacked& layer = *coming.unpacked;
    if (layer.tar != diff_id.digest)
      fail(ErrorCode::kCorrupt, "layer {}: its tar is {}, the config says {}", blob.digest.to_string(),
           layer.tar.to_string(), diff_id.digest.to_string());
    const uint64_t tar_bytes = layer.tar_bytes;
    const store::RootfsView view = store_.layers().view(below);
    const store::LayerRef kept{store_.layers().save(store::build_layer(layer.members, view)), 0};
    if (--coming.uses == 0) coming.unpacked.reset();  // a million members are some hundred megabytes
    if (coming.arrival && !coming.is_placed) store_.place_blob(path_of(blob), blob.digest);
    coming.is_placed = true;
    store_.layers().remember_diff(kept, {diff_id, tar_bytes});
    store_.layers().remember_blob(diff_id, "as-pulled", {blob.digest, blob.size});
    return kept;
  }

 private:
  struct Coming {
    explicit Coming(uint64_t bytes) : size(bytes), is_settled(promise.get_future()) {}
    const uint64_t size;
    size_t uses = 1;  // how often it stands in the image, and was not finished
    std::optional<Arrival> arrival;
    std::optional<Unpacked> unpacked;  // of who unpacks, until it is settled; nothing: that failed
    std::promise<void> promise;
    std::future<void> is_settled;
    bool is_placed = false;
  };
  static std::exception_ptr another_failed() {
    return std::make_exception_ptr(Error(ErrorCode::kCancelled, "another layer failed"));
  }
  void settle(Coming& coming, const std::function<Unpacked()>& work) {
    try {
      coming.unpacked = work();
    } catch (...) {
      lost(std::current_exception());
    }
    coming.promise.set_value();
  }
  // The first that is told of is the one to be shown: what others say is its consequence.
  void lost(const std::exception_ptr& why) {
    {
      std::lock_guard lock(mutex_);
      if (failed_) return;
      failed_ = why;
    }
    give_up();
  }
  void give_up() {
    std::lock_guard lock(mutex_);
    for (auto& [digest, coming] : coming_)
      if (coming->arrival) coming->arrival->give_up(another_failed());
  }
  [[noreturn]] void throw_what_failed() {
    std::exception_ptr why;
    {
      std::lock_guard lock(mutex_);
      why = failed_;
    }
    std::rethrow_exception(why);
  }
  Coming& coming_of(const oci::Descriptor& blob) {
    std::lock_guard lock(mutex_);
    return *coming_.at(blob.digest);
  }
  std::string path_of(const oci::Descriptor& blob) const { return place_ / blob.digest.hex(); }

  const BlobFetch& fetch_;
  store::Store& store_;
  TempDir place_;
  std::mutex mutex_;  // guards what follows
  std::map<Digest, std::unique_ptr<Coming>> coming_;
  std::exception_ptr failed_;
  ThreadPool fetching_, unpacking_{available_processors()};  // after what their tasks use: they end first
};

}  // namespace

// The imported form is the one whose members all have times of their own, so that the layer's is 0. One that
// was built here has the same tar and no blob of others: what is exported must not depend on who was here
// first.
// For the same reason a layer that comes in another compression than the last time is taken in again: what is
// built on it carries it as this base has it.
std::optional<store::LayerRef> imported_layer(const oci::Descriptor& blob, const DiffId& diff_id,
                                              store::Store& store) {
  auto known = store.layers().find_blob(diff_id, "as-pulled");
  if (!known || known->digest != blob.digest || known->size != blob.size || !store.has_blob(blob.digest))
    return std::nullopt;
  for (const store::LayerRef& layer : store.layers().find_layers(diff_id))
    if (layer.time == 0 && store.layers().has(layer.id) && store.layers().is_whole(layer.id)) return layer;
  return std::nullopt;
}

// One that lies about its size is found out where it comes from.
bool has_layer_blob(const oci::Descriptor& blob, store::Store& store) {
  struct stat st;
  return store.has_blob(blob.digest) && stat(store.blob_path(blob.digest).c_str(), &st) == 0 &&
         static_cast<uint64_t>(st.st_size) == blob.size;
}

BlobFetch fetch_from_files(std::function<UniqueFd(const oci::Descriptor&)> open) {
  return [open = std::move(open)](const oci::Descriptor& blob, int fd,
                                  const std::function<void(uint64_t at)>& reached) {
    const std::string what = "blob " + blob.digest.to_string();
    const UniqueFd file = open(blob);
    archive::FdSource bytes(file.get(), what);
    archive::VerifyingSource verified(bytes, blob.digest, blob.size, what);
    archive::FdSink sink(fd, what);
    std::string buffer(256 << 10, '\0');
    uint64_t at = 0;
    while (const size_t n = verified.read(buffer.data(), buffer.size())) {
      sink.write({buffer.data(), n});
      reached(at += n);
    }
  };
}

store::Rootfs import_layers(const std::vector<oci::Descriptor>& blobs, const std::vector<DiffId>& diff_ids,
                            unsigned fetches, const BlobFetch& fetch, store::Store& store,
                            store::Rootfs below) {
  TraceSpan span("import layers");
  std::vector<std::optional<store::LayerRef>> known;
  Import import(fetches, fetch, store);
  for (size_t i = 0; i < blobs.size(); i++) {
    known.push_back(imported_layer(blobs[i], diff_ids[i], store));
    if (!known[i]) import.begin(blobs[i]);
  }
  store::Rootfs& rootfs = below;
  for (size_t i = 0; i < blobs.size(); i++)
    rootfs.push_back(known[i] ? *known[i] : import.finish(blobs[i], diff_ids[i], rootfs));
  return rootfs;
}

}  // namespace corten::source
