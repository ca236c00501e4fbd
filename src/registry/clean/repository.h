// A repository as the cleaner sees it: what there is, and how to take something away.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace corten::registry::clean {

struct Listed {
  std::string digest;
  std::optional<int64_t> pushed_s;  // since 1970
  bool is_locked = false;
};

struct Listing {
  std::map<std::string, std::string> tags;  // to digests
  std::vector<Listed> manifests;
  bool is_complete = false;  // untagged ones are among them
};

// What is read may be read by several threads at once.
class Repository {
 public:
  virtual ~Repository() = default;
  virtual std::string name() const = 0;  // "ghcr.io/owner/app"
  virtual Listing list() = 0;
  // The bytes of a manifest; nothing when there is none. Error when it cannot be had.
  virtual std::optional<std::string> read_manifest(const std::string& digest) = 0;
  virtual std::optional<std::string> read_blob(const std::string& digest, size_t max_bytes) = 0;
  // Digests of what refers to it, as far as the registry tells.
  virtual std::vector<std::string> referrers(const std::string& digest) = 0;
  // A manifest, with every tag that names it. What is gone already is fine.
  virtual void remove(const std::string& digest) = 0;
  // A tag alone; Error(kUnsupported) where the registry cannot.
  virtual void untag(const std::string& tag) = 0;
  // How long a listing may be relied on before a deletion, where listing is dear.
  virtual int64_t listing_lasts_ms() const { return 0; }
};

}  // namespace corten::registry::clean
