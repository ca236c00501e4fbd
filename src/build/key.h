// A step's key: the digest of a canonical record of all that can change its result. The record keeps the
// inputs by name, so that two runs can be compared ("why").
//
// What a key holds is DESIGN's table; docs/decisions/0002-keys.md argues for it. A key never holds a time
// stamp of a checkout, an inode, a host path, a secret, a proxy.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/json.h"

namespace corten::build {

class KeyRecord {
 public:
  explicit KeyRecord(std::string_view step) { add("step", std::string(step)); }
  void add(std::string name, Json value) { members_.emplace_back(std::move(name), std::move(value)); }
  // Beside the key: compared by `why`, no part of the digest.
  void note(std::string name, Json value) { notes_.emplace_back(std::move(name), std::move(value)); }
  Digest digest() const;
  // The record, notes under "beside".
  Json json() const;
  std::string text() const { return json().dump(); }

 private:
  Json::Object members_, notes_;
};

}  // namespace corten::build
