#include "registry/clean/graph.h"

#include <algorithm>
#include <functional>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/strings.h"

namespace corten::registry::clean {

namespace {

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string age_text(int64_t seconds) {
  return human_duration(std::max<int64_t>(seconds, 0));
}

class Planner {
 public:
  Planner(const Snapshot& snapshot, const Rules& rules, int64_t now_s)
      : snapshot_(snapshot), rules_(rules), now_s_(now_s) {
    for (const auto& [digest, node] : snapshot.nodes)
      if (!node.subject.empty()) referrers_[node.subject].push_back(digest);
    for (const auto& [tag, digest] : snapshot.tags)
      if (std::string subject = subject_of_tag(tag); !subject.empty() && snapshot.nodes.contains(subject))
        helper_tags_[subject].push_back(tag);
  }

  Plan plan() {
    judge_tags();
    find_tagged();
    keep_roots();
    Plan plan;
    for (const auto& [digest, why] : kept_)
      if (const Node* node = find(digest); node && !node->is_readable && plan.blocked_by.empty())
        plan.blocked_by = digest;
    tell_manifests(plan);
    tell_tags(plan);
    if (plan.blocked_by.empty()) {
      order(plan);
      count_bytes(plan);
    }
    return plan;
  }

 private:
  const Node* find(const std::string& digest) const {
    auto at = snapshot_.nodes.find(digest);
    return at == snapshot_.nodes.end() ? nullptr : &at->second;
  }

  std::optional<int64_t> time_of(const std::string& digest) const {
    const Node* node = find(digest);
    if (!node) return std::nullopt;
    return node->pushed_s ? node->pushed_s : node->created_s;
  }

  bool is_named(const std::string& tag) const {
    return rules_.tags.empty() ||
           std::any_of(rules_.tags.begin(), rules_.tags.end(),
                       [&](const std::string& pattern) { return match_glob(pattern, tag); });
  }

  // Whether a tag says of itself what becomes of it; the others follow what they belong to.
  bool is_helper(const std::string& tag) const {
    std::string subject = subject_of_tag(tag);
    return !subject.empty();
  }

  // The newest manifests of the tags that the patterns name.
  std::set<std::string> newest() const {
    std::vector<std::pair<int64_t, std::string>> by_time;
    std::set<std::string> seen, newest;
    for (const auto& [tag, digest] : snapshot_.tags)
      if (!is_helper(tag) && is_named(tag) && seen.insert(digest).second)
        if (auto time = time_of(digest)) by_time.emplace_back(*time, digest);
    std::sort(by_time.rbegin(), by_time.rend());
    for (size_t i = 0; i < by_time.size() && i < static_cast<size_t>(std::max(*rules_.keep_last, 0)); i++)
      newest.insert(by_time[i].second);
    return newest;
  }

  void judge_tags() {
    std::set<std::string> newest_ones;
    if (rules_.keep_last) newest_ones = newest();
    for (const auto& [tag, digest] : snapshot_.tags)
      if (!is_helper(tag)) judge(tag, digest, newest_ones);
  }

  void judge(const std::string& tag, const std::string& digest, const std::set<std::string>& newest_ones) {
    auto keep = [&](std::string why) { tags_[tag] = {tag, false, std::move(why)}; };
    if (!rules_.names_tags()) return keep("no rule is about tags");
    if (rules_.in_use_tags.contains(tag)) return keep("in use");
    if (!is_named(tag)) return keep("named by no pattern");
    auto time = time_of(digest);
    if (!time && (rules_.older_than_s || rules_.keep_last)) return keep("its age is not known");
    if (newest_ones.contains(digest)) return keep(fmt::format("among the newest {}", *rules_.keep_last));
    if (rules_.older_than_s && now_s_ - *time <= *rules_.older_than_s)
      return keep(fmt::format("{} old", age_text(now_s_ - *time)));
    std::string why = time ? fmt::format("{} old", age_text(now_s_ - *time)) : "named by a pattern";
    tags_[tag] = {tag, true, why};
  }

  // All that can be reached from `from`. What stays keeps its subject too; but who deletes the tag of an SBOM
  // does not mean the image that it is of.
  enum class Subjects { kFollowed, kNot };
  void walk(const std::string& from, const std::string& why, Subjects subjects,
            std::map<std::string, std::string>& reached) const {
    std::vector<std::pair<std::string, std::string>> todo = {{from, why}};
    while (!todo.empty()) {
      auto [digest, reason] = std::move(todo.back());
      todo.pop_back();
      if (!reached.emplace(digest, reason).second) continue;
      std::string of = digest.substr(0, digest.find(':') + 13);
      if (const Node* node = find(digest)) {
        for (const std::string& child : node->children) todo.emplace_back(child, "in the index " + of);
        if (subjects == Subjects::kFollowed && !node->subject.empty())
          todo.emplace_back(node->subject, "what " + of + " refers to");
      }
      if (auto at = referrers_.find(digest); at != referrers_.end())
        for (const std::string& referrer : at->second) todo.emplace_back(referrer, "refers to " + of);
      if (auto at = helper_tags_.find(digest); at != helper_tags_.end())
        for (const std::string& tag : at->second)
          todo.emplace_back(snapshot_.tags.at(tag), "tagged for " + of);
    }
  }

  // What tags reach now, those that go included.
  void find_tagged() {
    for (const auto& [tag, digest] : snapshot_.tags)
      if (!is_helper(tag) || !snapshot_.nodes.contains(subject_of_tag(tag)))
        walk(digest, "", Subjects::kNot, tagged_);
  }

  void keep(const std::string& digest, const std::string& why) {
    walk(digest, why, Subjects::kFollowed, kept_);
  }

  void keep_roots() {
    for (const auto& [tag, verdict] : tags_)
      if (!verdict.is_deleted) keep(snapshot_.tags.at(tag), "tag " + tag);
    for (const auto& [tag, digest] : snapshot_.tags)
      if (is_helper(tag) && !snapshot_.nodes.contains(subject_of_tag(tag)))
        keep(digest, "tag " + tag + ", of an image that is not here");
    for (const auto& [digest, node] : snapshot_.nodes) {
      bool is_used = rules_.in_use_digests.contains(digest) ||
                     std::any_of(node.blobs.begin(), node.blobs.end(), [&](const auto& blob) {
                       return rules_.in_use_digests.contains(blob.first);
                     });
      if (is_used) keep(digest, "in use");
      if (node.is_locked) keep(digest, "locked in the registry");
      if (tagged_.contains(digest)) continue;
      if (std::string why = why_untagged_stays(node); !why.empty()) keep(digest, why);
    }
  }

  // "" when it may go.
  std::string why_untagged_stays(const Node& node) const {
    if (!rules_.untagged) return "untagged, and no rule is about those";
    auto time = node.pushed_s ? node.pushed_s : node.created_s;
    if (node.pushed_s && now_s_ - *node.pushed_s < kYoungestUntagged_s)
      return "pushed a moment ago: its index or tag may be on its way";
    if (!rules_.older_than_s) return {};
    if (!time) return "its age is not known";
    if (now_s_ - *time <= *rules_.older_than_s) return fmt::format("{} old", age_text(now_s_ - *time));
    return {};
  }

  void tell_manifests(Plan& plan) const {
    for (const auto& [digest, node] : snapshot_.nodes) {
      auto at = kept_.find(digest);
      if (at != kept_.end())
        plan.manifests.push_back({digest, false, at->second});
      else if (!plan.blocked_by.empty())
        plan.manifests.push_back({digest, false, "what " + plan.blocked_by + " reaches is not known"});
      else
        plan.manifests.push_back(
            {digest, true, tagged_.contains(digest) ? "only tags that go reach it" : "no tag reaches it"});
    }
  }

  // What other tags or an index hold. The last tag of what stays for another reason is no tag to take away: a
  // registry's own garbage collection would find it untagged.
  std::set<std::string> held_otherwise() const {
    std::set<std::string> held;
    for (const auto& [tag, verdict] : tags_)
      if (!verdict.is_deleted) held.insert(snapshot_.tags.at(tag));
    for (const auto& [digest, why] : kept_)
      if (const Node* node = find(digest)) held.insert(node->children.begin(), node->children.end());
    return held;
  }

  void tell_tags(Plan& plan) {
    const std::set<std::string> held = held_otherwise();
    for (const auto& [tag, digest] : snapshot_.tags) {
      bool stays = kept_.contains(digest) || !plan.blocked_by.empty();
      if (is_helper(tag)) {
        bool is_here = snapshot_.nodes.contains(subject_of_tag(tag));
        tags_[tag] = {tag, !stays,
                      !stays    ? "what it is for goes"
                      : is_here ? "what it is for stays"
                                : "what it is for is not here"};
      } else if (tags_[tag].is_deleted && stays && plan.blocked_by.empty() && !held.contains(digest)) {
        tags_[tag] = {tag, false, "what it names stays: " + kept_.at(digest)};
      } else if (tags_[tag].is_deleted && stays && plan.blocked_by.empty()) {
        tags_[tag].reason += ", the tag alone: its manifest stays";
        plan.untags.push_back(tag);
      } else if (tags_[tag].is_deleted && stays) {
        tags_[tag] = {tag, false, "what " + plan.blocked_by + " reaches is not known"};
      }
    }
    for (const auto& [tag, verdict] : tags_) plan.tags.push_back(verdict);
  }

  // Depth first from what nothing that goes points to; an edge leads from an index to its children and from a
  // subject to what refers to it.
  void order(Plan& plan) const {
    std::set<std::string> goes, done;
    for (const Verdict& verdict : plan.manifests)
      if (verdict.is_deleted) goes.insert(verdict.name);
    std::vector<std::string> finished;
    for (const std::string& start : goes) {
      // Each entry: a manifest, and how many of its edges were followed.
      std::vector<std::pair<std::string, size_t>> path;
      if (done.insert(start).second) path.emplace_back(start, 0);
      while (!path.empty()) {
        std::vector<std::string> edges = edges_of(path.back().first);
        if (path.back().second == edges.size()) {
          finished.push_back(path.back().first);
          path.pop_back();
          continue;
        }
        const std::string& next = edges[path.back().second++];
        if (goes.contains(next) && done.insert(next).second) path.emplace_back(next, 0);
      }
    }
    plan.removals.assign(finished.rbegin(), finished.rend());
  }

  std::vector<std::string> edges_of(const std::string& digest) const {
    std::vector<std::string> edges;
    if (const Node* node = find(digest)) edges = node->children;
    if (auto at = referrers_.find(digest); at != referrers_.end())
      edges.insert(edges.end(), at->second.begin(), at->second.end());
    if (auto at = helper_tags_.find(digest); at != helper_tags_.end())
      for (const std::string& tag : at->second) edges.push_back(snapshot_.tags.at(tag));
    return edges;
  }

  void count_bytes(Plan& plan) const {
    std::set<std::string> held;
    for (const Verdict& verdict : plan.manifests)
      if (!verdict.is_deleted)
        for (const auto& [blob, size] : find(verdict.name)->blobs) held.insert(blob);
    for (const std::string& digest : plan.removals) {
      const Node* node = find(digest);
      plan.bytes += node->size;
      for (const auto& [blob, size] : node->blobs)
        if (held.insert(blob).second) plan.bytes += size;
    }
  }

  const Snapshot& snapshot_;
  const Rules& rules_;
  int64_t now_s_;
  std::map<std::string, std::vector<std::string>> referrers_;    // by subject
  std::map<std::string, std::vector<std::string>> helper_tags_;  // by the manifest that they are for
  std::map<std::string, Verdict> tags_;
  std::map<std::string, std::string> tagged_, kept_;  // digest to why
};

}  // namespace

std::string subject_of_tag(const std::string& tag) {
  std::string_view text = tag;
  for (std::string_view suffix : {".sig", ".att", ".sbom"})
    if (text.ends_with(suffix)) {
      text.remove_suffix(suffix.size());
      break;
    }
  size_t dash = text.find('-');
  if (dash == std::string_view::npos) return {};
  std::string_view algorithm = text.substr(0, dash), hex = text.substr(dash + 1);
  bool is_digest = (algorithm == "sha256" && hex.size() == 64) || (algorithm == "sha512" && hex.size() == 64);
  if (!is_digest || !is_hex(hex)) return {};
  return std::string(algorithm) + ":" + std::string(hex);
}

Plan plan_cleaning(const Snapshot& snapshot, const Rules& rules, int64_t now_s) {
  return Planner(snapshot, rules, now_s).plan();
}

}  // namespace corten::registry::clean
