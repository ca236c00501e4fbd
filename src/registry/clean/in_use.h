// What a deployment names: digests and tags that must stay, whatever the rules.
#pragma once
#include <set>
#include <string>
#include <string_view>

namespace corten::registry::clean {

struct InUse {
  std::set<std::string> digests;  // of any repository: one more that stays does no harm
  std::set<std::string> tags;     // of the asked repository
  bool names_images = false;      // whether there was anything at all
};

// Kubernetes manifests, a digest record, kubectl's output, any text: every digest in it, and every image name
// of `repository`
// ("ghcr.io/owner/app") with a tag. Adds to `to`.
void add_in_use(std::string_view text, const std::string& repository, InUse& to);

}  // namespace corten::registry::clean
