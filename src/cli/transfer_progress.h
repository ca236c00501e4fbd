// One line on a terminal for all transfers of a command: how much, how fast, how long still. Elsewhere a line
// a blob.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "oci/descriptor.h"

namespace corten::cli {

// Thread-safe.
class TransferProgress {
 public:
  // `verb`: "pulling". Quiet shows nothing at all.
  TransferProgress(std::string verb, bool is_quiet);
  ~TransferProgress() { finish(); }
  void moved(const oci::Descriptor& blob, uint64_t at, bool is_placed = false);
  void say(const std::string& line);
  // Takes the line away.
  void finish();

 private:
  void draw();
  void clear();

  std::string verb_;
  bool is_quiet_, is_terminal_, is_drawn_ = false;
  std::mutex mutex_;
  struct Blob {
    uint64_t at = 0, size = 0;
  };
  std::map<Digest, Blob> blobs_;
  std::set<Digest> told_;
  int64_t began_ns_ = 0, drawn_ns_ = 0;
};

}  // namespace corten::cli
