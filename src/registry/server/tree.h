// What lies below the root of a registry (docs/formats/registry.md), read without following a link. Changes
// go through the journal alone, but for uploads that are under way.
#pragma once
#include <cstdint>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "registry/server/content_digest.h"

namespace corten::registry::serving {

struct OpenedFile {
  UniqueFd fd;
  uint64_t size = 0;
  int64_t modified_s = 0;
};

// Thread-safe.
class Tree {
 public:
  // Makes the directory where it is missing; Error(kInvalid) when it holds something else, Error(kPermission)
  // when another server has it open.
  explicit Tree(const std::string& path);
  int root() const { return root_.get(); }
  const std::string& path() const { return path_; }

  static std::string content_path(const ContentDigest& digest);
  static std::string repository_path(std::string_view repository, std::string_view rest = {});
  static std::string link_path(std::string_view repository, const ContentDigest& digest);
  static std::string manifest_path(std::string_view repository, const ContentDigest& digest);
  static std::string tag_path(std::string_view repository, std::string_view tag);
  static std::string referrers_path(std::string_view repository, const ContentDigest& subject);
  static std::string referrer_path(std::string_view repository, const ContentDigest& subject,
                                   const ContentDigest& referrer);
  // What the tag's image was in the store, if it came from there.
  static std::string origin_path(std::string_view repository, std::string_view tag);
  static std::string upload_path(std::string_view repository, std::string_view id);

  bool exists(const std::string& path) const;
  bool has_repository(std::string_view repository) const;
  std::optional<OpenedFile> open(const std::string& path) const;
  std::optional<std::string> read(const std::string& path, size_t max_bytes) const;
  // The names in a directory in the order of their bytes; none when it is not there.
  std::vector<std::string> names(const std::string& path) const;

  // Whether it exists; if so, it counts as used from now: remove_if_unused() leaves it alone.
  bool use(const std::string& path) const;
  // Removes what was neither made nor used since `before_s` (seconds since 1970).
  bool remove_if_unused(const std::string& path, int64_t before_s) const;
  // How old a mark may be until use() makes it new.
  void set_mark_after(int64_t seconds) { mark_after_s_ = seconds; }

  // Directories are made when missing. Temporary name, then renamed; not synced.
  void put(const std::string& path, std::string_view bytes) const;
  void remove(const std::string& path) const;                       // missing is fine
  bool move(const std::string& from, const std::string& to) const;  // false: there is no `from`
  // Moves a file of ours from anywhere on the same file system.
  void adopt(const std::string& host_path, const std::string& to) const;

 private:
  UniqueFd parent(const std::string& path, bool make) const;
  std::string path_;
  UniqueFd root_, temporary_;
  FileLock lock_;
  int64_t mark_after_s_ = 3600;
  mutable std::shared_mutex presence_;  // exclusive: something is removed if it is still unused
};

}  // namespace corten::registry::serving
