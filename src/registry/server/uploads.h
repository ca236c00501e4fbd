// Uploads under way. Each is a file below its repository, named for its id, whose size is what has come: so
// an upload goes on where it stood after the server was killed. The running digest is kept in memory alone;
// an upload that was found on the disk is read again at its end.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "registry/server/content_digest.h"
#include "registry/server/tree.h"
#include "registry/server/usage.h"

namespace corten::registry::serving {

// Thread-safe. One request writes at a time: who comes later takes the upload over, since a client that lost
// its connection tries again while the server may still wait for the first one.
class Upload {
 public:
  Upload(std::string repository, std::string id, UniqueFd file, uint64_t size, Algorithm algorithm);
  const std::string& repository() const { return repository_; }
  const std::string& id() const { return id_; }

  uint64_t size() const;
  // A token for write() and finish(); those of others are void from now.
  uint64_t take_over();
  // Appends; false when somebody has taken over.
  bool write(uint64_t token, std::string_view bytes);
  // Shortens it to what it was: a request that sent more than it said has not been. Gives how many bytes
  // went.
  uint64_t cut(uint64_t token, uint64_t size);
  // The digest of what has come, which is on the disk then, and to which nobody adds anything any more;
  // nothing when somebody has taken over or finishes already. Reads everything again when no running digest
  // of that algorithm is there. After an error it is of no use any more: after a sync that failed the kernel
  // may have dropped what it then calls written.
  std::optional<ContentDigest> finish(uint64_t token, Algorithm algorithm);
  // Writes all of it and finishes it, without a sync; false when something else has come.
  bool write_whole(std::string_view bytes);
  // What has come, if it is at most so much, without a sync; it is finished then.
  std::optional<std::string> take_small(uint64_t token, uint64_t most);
  // Nobody adds to it from now. False: somebody has finished it, and says what becomes of it.
  bool seal();
  // Its size, once: of all that end it one has the bytes to account for.
  std::optional<uint64_t> end();

 private:
  ContentHasher hash_file(int file, uint64_t size, Algorithm algorithm) const;
  const std::string repository_, id_;
  mutable std::mutex mutex_;
  bool is_sealed_ = false, is_ended_ = false;
  UniqueFd file_;
  uint64_t size_ = 0, flushed_ = 0, token_ = 0;
  std::optional<ContentHasher> hasher_;
};

// Thread-safe.
class Uploads {
 public:
  Uploads(const Tree& tree, Usage& usage) : tree_(tree), usage_(usage) {}

  std::shared_ptr<Upload> begin(const std::string& repository, Algorithm algorithm);
  // Also one that an earlier server began; nothing when there is none of that id in the repository.
  std::shared_ptr<Upload> find(const std::string& repository, const std::string& id);
  // Forgets it and removes its file.
  void drop(Upload& upload);
  // Forgets it: its file has gone to its place.
  void forget(Upload& upload);
  size_t open_count() const;

 private:
  // With the lock held.
  void keep(const std::shared_ptr<Upload>& upload);
  const Tree& tree_;
  Usage& usage_;
  mutable std::mutex mutex_;
  // The latest used in front. Those that nobody uses are closed beyond a number.
  std::list<std::shared_ptr<Upload>> used_;
  std::unordered_map<std::string, std::list<std::shared_ptr<Upload>>::iterator> by_id_;
};

bool is_upload_id(std::string_view text);  // 8-4-4-4-12 lower-case hexadecimal digits (a UUID)

}  // namespace corten::registry::serving
