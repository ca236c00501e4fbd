#include "cli/tag_moves.h"

#include <fnmatch.h>

#include <optional>

#include <fmt/core.h>

#include "base/error.h"
#include "oci/config.h"
#include "oci/layout.h"

namespace corten::cli {

namespace {

bool matches_any(const std::vector<std::string>& patterns, const oci::Reference& name) {
  for (const std::string& pattern : patterns)
    if (fnmatch(pattern.c_str(), name.tag().c_str(), 0) == 0 ||
        fnmatch(pattern.c_str(), name.familiar().c_str(), 0) == 0)
      return true;
  return false;
}

// The image's time of making, by its label or its config: which of two revisions is the older one.
std::optional<oci::Timestamp> time_of(const oci::ImageConfig& config) {
  auto label = config.config.labels.find(std::string(oci::kCreatedAnnotation));
  if (label != config.config.labels.end())
    if (auto time = oci::parse_time(label->second)) return time;
  return oci::parse_time(config.created);
}

}  // namespace

void check_moves(const std::vector<oci::Reference>& names, const MoveRules& rules, const image::ImageSet& set,
                 const std::function<Digest()>& root, registry::Remote& remote,
                 source::RegistryImages& images) {
  const oci::ImageConfig mine = oci::parse_config(set.images.front().config).config;
  for (const oci::Reference& name : names) {
    const bool is_immutable = matches_any(rules.immutable, name),
               is_latest = name.tag() == "latest" && !rules.latest_may_go_back;
    if (!is_immutable && !is_latest) continue;
    const auto there = remote.find(name.without_digest());
    if (!there) continue;
    const source::BaseImage other =
        images.image(name.repository_only().with_digest(there->digest), mine.platform);
    const bool is_same = other.identity == set.images.front().id;
    if (is_immutable && (!is_same || root() != there->digest))
      throw Error(ErrorCode::kExists, fmt::format("{} is {} and would become another: it matches --immutable",
                                                  name.familiar(), there->digest.to_string()))
          .with_hint("push it under another tag");
    const auto my_time = time_of(mine), its_time = time_of(other.config);
    if (is_latest && !is_same && my_time && its_time && *my_time < *its_time)
      throw Error(ErrorCode::kExists,
                  fmt::format("{} would go back: it is of {}, this image of {}", name.familiar(),
                              oci::format_time(its_time->seconds), oci::format_time(my_time->seconds)))
          .with_hint("--force moves it all the same");
  }
}

}  // namespace corten::cli
