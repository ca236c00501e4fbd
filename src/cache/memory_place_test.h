// A place for tests: in memory, with faults on order.
#pragma once
#include <functional>
#include <map>
#include <mutex>

#include "base/beneath.h"
#include "base/error.h"
#include "cache/place.h"

namespace corten::cache {

class MemoryPlace : public Place {
 public:
  explicit MemoryPlace(std::string name = "registry example.com/memory:cache") : name_(std::move(name)) {}

  std::string name() const override { return name_; }
  std::optional<std::string> manifest() override {
    call("manifest");
    std::lock_guard lock(mutex_);
    return manifest_;
  }
  void put_manifest(std::string_view bytes) override {
    call("put_manifest");
    {
      std::lock_guard lock(mutex_);
      manifest_ = bytes;
    }
    if (after_put) after_put();
  }
  bool has_blob(const oci::Descriptor& blob) override {
    call("has_blob");
    std::lock_guard lock(mutex_);
    return blobs.contains(blob.digest);
  }
  std::string read_blob(const oci::Descriptor& blob, size_t max_bytes) override {
    call("read_blob");
    std::lock_guard lock(mutex_);
    auto found = blobs.find(blob.digest);
    if (found == blobs.end()) fail(ErrorCode::kNotFound, "blob {} is not there", blob.digest.short_hex());
    if (found->second.size() > max_bytes) fail(ErrorCode::kInvalid, "it is too large");
    return found->second;
  }
  void fetch_blob(const oci::Descriptor& blob, int fd) override {
    call("fetch_blob");
    write_fully(fd, read_blob(blob, SIZE_MAX), "blob");
  }
  std::string read_part(const oci::Descriptor& blob, uint64_t offset, size_t size) override {
    call("read_part");
    parts += size;
    return read_blob(blob, SIZE_MAX).substr(offset, size);
  }
  void put_blob(const NewBlob& blob) override {
    call("put_blob");
    std::string bytes = archive::read_rest(*blob.open(0), SIZE_MAX);
    if (Digest::of(bytes) != blob.descriptor.digest) fail(ErrorCode::kCorrupt, "other bytes");
    std::lock_guard lock(mutex_);
    puts++;
    blobs[blob.descriptor.digest] = std::move(bytes);
  }

  std::map<Digest, std::string> blobs;
  int puts = 0;
  uint64_t parts = 0;                                  // bytes that were asked for in parts
  std::function<void(const std::string& call)> fault;  // may throw
  std::function<void()> after_put;
  std::map<std::string, int> calls;

 private:
  void call(const std::string& what) {
    {
      std::lock_guard lock(mutex_);
      calls[what]++;
    }
    if (fault) fault(what);
  }
  const std::string name_;
  std::mutex mutex_;
  std::optional<std::string> manifest_;
};

}  // namespace corten::cache
