#include "registry/clean/cleaner.h"

#include <algorithm>
#include <mutex>

#include <fmt/core.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/thread_pool.h"

namespace corten::registry::clean {

namespace {

constexpr size_t kMaxManifestBytes = 16 << 20, kMaxConfigBytes = 8 << 20;
constexpr size_t kMaxNodes = 200'000;
constexpr unsigned kReaders = 8;
constexpr int64_t kOldestTime_s = 10LL * 365 * 86'400;  // 1980: "created" of who sets it to nothing

std::optional<int64_t> believable(const std::string& created) {
  auto time = parse_rfc3339(created);
  return time && *time > kOldestTime_s ? time : std::nullopt;
}

std::string digest_of(const Json& descriptor) {
  std::string digest = descriptor.get_string("digest");
  if (digest.empty()) fail(ErrorCode::kInvalid, "a descriptor without a digest");
  return digest;
}

void add_blob(const Json& descriptor, Node& node) {
  node.blobs.emplace_back(digest_of(descriptor),
                          static_cast<uint64_t>(std::max<int64_t>(descriptor.get_int("size"), 0)));
}

void fill(const Json& json, Node& node) {
  bool is_known = false;
  node.media_type = json.get_string("mediaType");
  node.artifact_type = json.get_string("artifactType");
  if (const Json* children = json.find("manifests")) {
    is_known = true;
    for (const Json& child : children->as_array()) node.children.push_back(digest_of(child));
  }
  if (const Json* config = json.find("config")) {
    is_known = true;
    add_blob(*config, node);
  }
  for (const char* member : {"layers", "blobs"})
    if (const Json* blobs = json.find(member)) {
      is_known = true;
      for (const Json& blob : blobs->as_array()) add_blob(blob, node);
    }
  // Docker's first schema: layers without sizes.
  if (const Json* layers = json.find("fsLayers")) {
    is_known = true;
    for (const Json& layer : layers->as_array()) node.blobs.emplace_back(layer.get_string("blobSum"), 0);
  }
  if (const Json* subject = json.find("subject")) node.subject = digest_of(*subject);
  if (const Json* annotations = json.find("annotations"))
    node.created_s = believable(annotations->get_string("org.opencontainers.image.created"));
  node.is_readable = is_known;
}

class Reader {
 public:
  Reader(Repository& repository, const Rules& rules) : repository_(repository), rules_(rules) {}

  // Reads what is not known yet, and what that leads to.
  void add(Snapshot& snapshot, const Listing& listing) {
    std::set<std::string> wave;
    for (const auto& [tag, digest] : listing.tags) wave.insert(digest);
    for (const Listed& listed : listing.manifests) wave.insert(listed.digest);
    wave.insert(rules_.in_use_digests.begin(), rules_.in_use_digests.end());
    while (!wave.empty()) {
      std::vector<std::string> digests;
      for (const std::string& digest : wave)
        if (!snapshot.nodes.contains(digest) && !gone_.contains(digest)) digests.push_back(digest);
      wave.clear();
      std::vector<std::optional<Node>> nodes = read(digests, listing.is_complete);
      for (size_t i = 0; i < digests.size(); i++) {
        if (!nodes[i]) {
          gone_.insert(digests[i]);
          continue;
        }
        wave.insert(nodes[i]->children.begin(), nodes[i]->children.end());
        if (!nodes[i]->subject.empty()) wave.insert(nodes[i]->subject);
        wave.insert(referrers_[digests[i]].begin(), referrers_[digests[i]].end());
        snapshot.nodes[digests[i]] = std::move(*nodes[i]);
      }
      if (snapshot.nodes.size() > kMaxNodes)
        fail(ErrorCode::kNoSpace, "{}: more than {} manifests", repository_.name(), kMaxNodes);
    }
    for (const Listed& listed : listing.manifests)
      if (auto at = snapshot.nodes.find(listed.digest); at != snapshot.nodes.end()) {
        at->second.pushed_s = listed.pushed_s;
        at->second.is_locked = listed.is_locked;
      }
  }

  // An image's age is its configuration's, an index' that of its newest image.
  void find_ages(Snapshot& snapshot) {
    if (!rules_.older_than_s && !rules_.keep_last) return;
    std::vector<Node*> ageless;
    for (auto& [digest, node] : snapshot.nodes)
      if (!node.pushed_s && !node.created_s && !node.blobs.empty()) ageless.push_back(&node);
    parallel_for(ageless.size(), kReaders,
                 [&](size_t i) { ageless[i]->created_s = config_time(*ageless[i]); });
    for (auto& [digest, node] : snapshot.nodes)
      if (!node.pushed_s && !node.created_s)
        for (const std::string& child : node.children)
          if (auto at = snapshot.nodes.find(child); at != snapshot.nodes.end() && at->second.created_s)
            node.created_s = std::max(node.created_s.value_or(0), *at->second.created_s);
  }

 private:
  std::vector<std::optional<Node>> read(const std::vector<std::string>& digests, bool is_complete) {
    std::vector<std::optional<Node>> nodes(digests.size());
    parallel_for(digests.size(), kReaders, [&](size_t i) {
      auto bytes = repository_.read_manifest(digests[i]);
      if (!bytes) return;
      nodes[i] = parse_node(digests[i], *bytes);
      if (is_complete) return;
      std::vector<std::string> found = repository_.referrers(digests[i]);
      std::lock_guard lock(mutex_);
      referrers_[digests[i]] = std::move(found);
    });
    return nodes;
  }

  std::optional<int64_t> config_time(const Node& node) {
    try {
      auto bytes = repository_.read_blob(node.blobs.front().first, kMaxConfigBytes);
      if (!bytes) return std::nullopt;
      return believable(Json::parse(*bytes, kMaxConfigBytes).get_string("created"));
    } catch (const Error&) {
      return std::nullopt;  // an age that is not known keeps the image
    }
  }

  Repository& repository_;
  const Rules& rules_;
  std::mutex mutex_;
  std::map<std::string, std::vector<std::string>> referrers_;
  std::set<std::string> gone_;
};

}  // namespace

Node parse_node(const std::string& digest, std::string_view bytes) {
  Node node{.digest = digest, .size = bytes.size(), .is_readable = false};
  if (digest.starts_with("sha256:") && Digest::of(bytes).to_string() != digest) return node;
  try {
    fill(Json::parse(bytes, kMaxManifestBytes), node);
  } catch (const Error&) {
    node.is_readable = false;
  }
  return node;
}

Snapshot read_snapshot(Repository& repository, const Rules& rules) {
  Snapshot snapshot;
  Listing listing = repository.list();
  snapshot.tags = listing.tags;
  Reader reader(repository, rules);
  reader.add(snapshot, listing);
  reader.find_ages(snapshot);
  return snapshot;
}

namespace {

class Executor {
 public:
  Executor(Repository& repository, const Rules& rules, const Snapshot& snapshot, const Clock& clock)
      : repository_(repository),
        rules_(rules),
        snapshot_(snapshot),
        clock_(clock),
        reader_(repository, rules) {}

  Cleaned run(const Plan& plan, const std::function<void(const Verdict&)>& said) {
    Cleaned cleaned;
    cleaned.bytes = plan.bytes;
    // Tags of their own first: a manifest that goes takes its tags along.
    for (const std::string& tag : plan.untags)
      attempt(
          tag, cleaned, said, cleaned.untagged, [&](const Plan& now) { return reason_for_tag(now, tag); },
          [&] { repository_.untag(tag); });
    for (const std::string& digest : plan.removals)
      attempt(
          digest, cleaned, said, cleaned.removed, [&](const Plan& now) { return reason_for(now, digest); },
          [&] {
            repository_.remove(digest);
            removed_.insert(digest);
          });
    return cleaned;
  }

 private:
  // "" when it still may go.
  static std::string reason_for(const Plan& now, const std::string& digest) {
    for (const Verdict& verdict : now.manifests)
      if (verdict.name == digest) return verdict.is_deleted ? "" : verdict.reason;
    return "it is not there any more";
  }
  static std::string reason_for_tag(const Plan& now, const std::string& tag) {
    if (std::find(now.untags.begin(), now.untags.end(), tag) != now.untags.end()) return {};
    for (const Verdict& verdict : now.tags)
      if (verdict.name == tag) return verdict.reason;
    return "it is not there any more";
  }

  void attempt(const std::string& name, Cleaned& cleaned, const std::function<void(const Verdict&)>& said,
               size_t& count, const std::function<std::string(const Plan&)>& why_not,
               const std::function<void()>& action) {
    try {
      std::string reason = why_not(look_again());
      if (!reason.empty()) {
        cleaned.kept.push_back({name, false, reason});
        if (auto at = snapshot_.nodes.find(name); at != snapshot_.nodes.end()) take_off(at->second, cleaned);
        return;
      }
      action();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) throw;
      cleaned.failed.push_back({name, false, error.what()});
      if (auto at = snapshot_.nodes.find(name); at != snapshot_.nodes.end()) take_off(at->second, cleaned);
      return;
    }
    count++;
    said({name, true, ""});
  }

  static void take_off(const Node& node, Cleaned& cleaned) {
    uint64_t bytes = node.size;
    for (const auto& [blob, size] : node.blobs) bytes += size;
    cleaned.bytes -= std::min(cleaned.bytes, bytes);
  }

  // The plan for what there is now. What we deleted counts as if it were there: its children would be orphans
  // else, which other rules are about.
  const Plan& look_again() {
    if (now_ && monotonic_ns() - looked_ns_ < repository_.listing_lasts_ms() * 1'000'000) return *now_;
    looked_ns_ = monotonic_ns();
    Listing listing = repository_.list();
    for (const auto& [tag, digest] : snapshot_.tags)
      if (removed_.contains(digest)) listing.tags.emplace(tag, digest);
    if (now_ && listing.tags == snapshot_.tags && !has_news(listing)) return *now_;
    snapshot_.tags = listing.tags;
    reader_.add(snapshot_, listing);
    reader_.find_ages(snapshot_);
    now_ = plan_cleaning(snapshot_, rules_, clock_.now_s());
    return *now_;
  }
  bool has_news(const Listing& listing) const {
    return std::any_of(listing.manifests.begin(), listing.manifests.end(),
                       [&](const Listed& listed) { return !snapshot_.nodes.contains(listed.digest); });
  }

  Repository& repository_;
  const Rules& rules_;
  Snapshot snapshot_;
  const Clock& clock_;
  Reader reader_;
  std::optional<Plan> now_;
  int64_t looked_ns_ = 0;
  std::set<std::string> removed_;
};

}  // namespace

Cleaned carry_out(Repository& repository, const Rules& rules, const Snapshot& snapshot, const Plan& plan,
                  const Clock& clock, const std::function<void(const Verdict&)>& said) {
  return Executor(repository, rules, snapshot, clock).run(plan, said);
}

}  // namespace corten::registry::clean
