#include "build/explainer.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "build/read_list.h"

namespace corten::build {

static constexpr size_t kMostBuilds = 24;
static constexpr size_t kMostFiles = 20;

void Explainer::find_builds() {
  if (std::exchange(is_ready_, true)) return;
  for (store::BuildRecord& record : store_.builds(kMostBuilds + 1)) {
    if (record.id == identity_.id) continue;
    Past past;
    past.is_same = record.details.get_string("context") == identity_.context &&
                   record.details.get_string("file") == identity_.file &&
                   record.details.get_string("target") == identity_.target;
    past.build = std::move(record);
    builds_.push_back(std::move(past));
  }
  auto distance = [&](const Past& past) {
    return past.is_same ? 0 : past.build.name == identity_.name ? 1 : 2;
  };
  std::stable_sort(builds_.begin(), builds_.end(),
                   [&](const Past& a, const Past& b) { return distance(a) < distance(b); });
}

Explainer::Near Explainer::nearest(const Step& step, const Digest& key, const Json& record) {
  find_builds();
  JournalStep own;
  own.name = step.name;
  const JournalStep::Place place = own.place();
  const std::string kind = record.get_string("step"), hex = key.hex();
  // Compared in this order; the first that is found wins among equals, which is the newest.
  using Score = std::tuple<bool, bool, bool, bool, size_t>;
  Near best;
  Score best_score;
  for (Past& past : builds_) {
    if (!std::exchange(past.is_loaded, true))
      past.steps = read_journal(store_.build_directory(past.build.id) + "/steps");
    for (const JournalStep& candidate : past.steps) {
      if (candidate.record.is_null() || candidate.record.get_string("step") != kind) continue;
      JournalStep::Place there = candidate.place();
      bool is_same_stage = there.stage == place.stage;
      Score score{candidate.key == hex, there.text == place.text && is_same_stage,
                  past.is_same && is_same_stage && there.number == place.number, there.text == place.text,
                  equal_members(candidate.record, record)};
      if (best.step && score <= best_score) continue;
      best = {&past, &candidate};
      best_score = score;
    }
    // The same step of the same thing: no older build is nearer.
    if (best.step && past.is_same && (std::get<0>(best_score) || std::get<1>(best_score))) break;
  }
  return best;
}

Miss Explainer::explain(const Step& step, const Digest& key, const Json& record) {
  Miss miss;
  if (step.no_cache) {
    miss.reason = Miss::Reason::kNoCache;
    return miss;
  }
  std::lock_guard lock(mutex_);
  Near near = nearest(step, key, record);
  if (!near.step) return miss;
  miss.build = near.past->build.id;
  miss.step = near.step->name;
  miss.when_ns = near.step->started_ns;
  if (near.step->key == key.hex()) {
    bool gave_layer = near.step->state == "done" || near.step->state == "cached";
    miss.reason = gave_layer ? Miss::Reason::kForgotten : Miss::Reason::kFailedBefore;
    return miss;
  }
  miss.reason = Miss::Reason::kInput;
  CompareLists lists = [&](const Digest& before, const Digest& after, std::string_view place,
                           size_t& more) -> std::optional<std::vector<Difference>> {
    auto read = [&](const Digest& digest) {
      auto bytes = store_.read_list(digest);
      return bytes ? parse_list(*bytes) : std::nullopt;
    };
    auto a = read(before), b = read(after);
    if (!a || !b) return std::nullopt;
    return compare_lists(*a, *b, place, kMostFiles, more);
  };
  miss.differences = compare_records(near.step->record, record, lists, miss.more);
  return miss;
}

}  // namespace corten::build
