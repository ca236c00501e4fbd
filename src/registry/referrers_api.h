// The list of what refers to a manifest, where a registry has one.
//
// Source: distribution-spec v1.1, "Listing Referrers" and "Referrers Tag Schema". A registry with the API
// never answers 404 there; one without it answers anything: 404, 400, 405, 501, a page, and GHCR a 303 to its
// web site, whose 429 is for browsers. So the first request is sent once, and a refusal means that the tag is
// asked for, with no waiting for a thing that is not there. What does not mean it: a registry that speaks of
// itself (a 429 in the form of the specification's errors), a server that is down (5xx), and any failure of a
// registry that had the API before. These are waited out, and are errors in the end: "nothing refers to it"
// would be a lie that loses signatures.
#pragma once
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "registry/asker.h"

namespace corten::registry {

// Thread-safe. `asker` is borrowed.
class ReferrersApi {
 public:
  explicit ReferrersApi(Asker& asker) : asker_(asker) {}
  // The pages of a list, all of them; nothing: there is no such API. `path`: one behind the endpoint's
  // prefix.
  std::optional<std::vector<std::string>> pages(const Endpoint& endpoint, const std::string& path);

 private:
  Asker& asker_;
  std::mutex mutex_;
  std::map<std::string, bool> known_;  // repositories: whether they have it
};

}  // namespace corten::registry
