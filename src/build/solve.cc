// docs/solver.md tells this as a story; step_state.h has the states. Each step goes its way on one thread,
// from the moment its last input is done (work_on); what happens between steps is in ended().
#include "build/solve.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "build/caches.h"
#include "build/explainer.h"
#include "build/foresight.h"
#include "build/journal.h"
#include "build/read_list.h"
#include "build/remote_fetches.h"
#include "build/single_flight.h"
#include "build/step_state.h"
#include "build/step_work.h"

namespace corten::build {

StageRootfs BuildResult::rootfs(const TargetPlan& target) const {
  StepId last = target.stage.result;
  return last == kNoStep ? StageRootfs() : steps[static_cast<size_t>(last)].rootfs;
}

namespace {

// Threads beyond those that run steps: who waits for another build, or for a slot, holds up nobody.
constexpr unsigned kThreadsPerSlot = 4;
constexpr size_t kShortDigest = 16;

// Caches that know the plan while it is solved.
class CachesInUse {
 public:
  CachesInUse(Caches* caches, const Plan& plan, const Request& request, Caches::FilesOf files)
      : caches_(caches) {
    if (caches_) caches_->begin(plan, request, std::move(files));
  }
  ~CachesInUse() {
    if (caches_) caches_->end();
  }
  CachesInUse(const CachesInUse&) = delete;
  CachesInUse& operator=(const CachesInUse&) = delete;

 private:
  Caches* caches_;
};

class Solver : public Inputs {
 public:
  Solver(Plan plan, Sources& sources, Executor& executor, Events& events)
      : sources_(sources),
        executor_(executor),
        events_(events),
        flights_(HostPath{executor.store.lock_path("x")}.parent(), executor.build, executor.cancellation) {
    result_.plan = std::move(plan);
    result_.steps.resize(steps().size());
    told_.resize(steps().size());
    users_.resize(steps().size());
    for (const Step& step : steps()) {
      if (!std::holds_alternative<RunStep>(step.work)) continue;
      for (StepId id = step.id; id != kNoStep; id = steps()[index(id)].base) below_a_run_.insert(id);
    }
    for (const TargetPlan& target : result_.plan.targets) {
      bool is_below_a_run = false;
      for (auto id = target.stage.layer_steps.rbegin(); id != target.stage.layer_steps.rend(); ++id) {
        in_images_[*id].insert(is_below_a_run);
        is_below_a_run |= std::holds_alternative<RunStep>(steps()[index(*id)].work);
      }
    }
  }

  BuildResult run() {
    for (const Step& step : steps()) {
      VertexInfo info{step.id, step.name, step.inputs(), step.span};
      events_.planned(info);
      for (StepId input : info.inputs) users_[index(input)].push_back(step.id);
    }
    {
      RemoteFetches fetches(result_.plan, sources_);
      StepWork work(sources_, executor_, events_, fetches, *this);
      work_ = &work;
      // The threads end before what the caches borrow does.
      const CachesInUse in_use(executor_.caches, result_.plan, executor_.request,
                               [&work](const TreeRef& ref) { return work.tree_of(ref); });
      ThreadPool pool(kThreadsPerSlot * steps_at_once(executor_.request.threads));
      pool_ = &pool;
      // Each pass that ends with a loss has forgotten a layer for good, so there is a last one.
      while (!pass()) continue;
    }
    if (error_) std::rethrow_exception(error_);
    executor_.cancellation.check();
    return std::move(result_);
  }

 private:
  static size_t index(StepId id) { return static_cast<size_t>(id); }
  const std::vector<Step>& steps() const { return result_.plan.steps; }

  // True when there is nothing more to do: all have their layers, or one failed.
  bool pass() {
    std::unique_lock lock(mutex_);
    is_lost_ = false;
    result_.cached_steps = result_.executed_steps = 0;
    waiting_.clear();
    for (const Step& step : steps())
      waiting_.push_back(is_taken(step.id) ? size_t{step.base != kNoStep} : step.inputs().size());
    for (const Step& step : steps())
      if (waiting_[index(step.id)] == 0 && !is_skipped(step.id)) start(step.id);
    changed_.wait(lock, [&] { return running_ == 0; });
    if (error_ || executor_.cancellation.is_cancelled()) return true;
    if (is_lost_) {
      if (is_foresight_wanted_) foresight_ = offered_;
      if (is_foresight_wrong_) foresight_.reset();
      return false;
    }
    count_skipped();
    lock.unlock();
    try {
      if (executor_.settle) executor_.settle(result_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kLost) throw;
      return false;
    }
    return true;
  }

  // What this pass leaves out. It changes between passes alone.
  bool is_skipped(StepId id) const { return foresight_ && foresight_->is_skipped(id); }
  bool is_taken(StepId id) const { return foresight_ && foresight_->is_taken(id); }

  // --- between steps; mutex_ is held -----------------------------------------------------------------------

  void start(StepId id) {
    if (is_lost_) return;  // the next pass does
    running_++;
    pool_->submit([this, id] { work_on(id); });
  }

  // A step that gave a layer starts those that waited for it alone. The first failure cancels the rest.
  void ended(StepId id, StepState state, const std::exception_ptr& error) {
    if (state == StepState::kLost) {
      is_lost_ = true;
    } else if (state == StepState::kDone || state == StepState::kCached) {
      // What an earlier pass executed is no less executed for being found in this one.
      const bool is_executed = state == StepState::kDone || told_[index(id)].end == StepState::kDone;
      result_.steps[index(id)].was_cached = !is_executed;
      (is_executed ? result_.executed_steps : result_.cached_steps)++;
      for (StepId user : users_[index(id)]) {
        if (is_skipped(user) || (is_taken(user) && steps()[index(user)].base != id)) continue;
        if (--waiting_[index(user)] == 0) start(user);
      }
    } else {
      // The cause is the first failure that is not itself a cancellation.
      if (state == StepState::kFailed && !failed_)
        error_ = error, failed_ = true;
      else if (!error_ && error)
        error_ = error;
      executor_.cancellation.cancel();
      executor_.running.kill_all();
    }
    running_--;
    changed_.notify_all();
  }

  // Steps that nothing needed count as those that were found.
  void count_skipped() {
    for (const Step& step : steps()) {
      if (!is_skipped(step.id)) continue;
      Told& told = told_[index(step.id)];
      const bool is_executed = told.end == StepState::kDone;
      result_.steps[index(step.id)].was_cached = !is_executed;
      (is_executed ? result_.executed_steps : result_.cached_steps)++;
      if (told.end) continue;
      if (!told.is_begun) events_.started(step.id);
      told.is_begun = true;
      told.end = StepState::kCached;
      events_.finished(step.id, Outcome::kCached, "");
    }
  }

  StageRootfs rootfs_of(StepId id) const override {
    std::lock_guard lock(mutex_);
    return id == kNoStep ? StageRootfs() : result_.steps[index(id)].rootfs;
  }

  Json origin_of(StepId id) const override {
    if (id == kNoStep) return {};
    const Step& step = steps()[index(id)];
    if (auto* from = std::get_if<FromStep>(&step.work))
      return Json::object({{"image", from->image.name}, {"digest", from->image.identity.to_string()}});
    std::lock_guard lock(mutex_);
    return Json::object({{"step", step.name}, {"key", result_.steps[index(id)].key.hex()}});
  }

  // --- one step, on its thread -----------------------------------------------------------------------------

  void work_on(StepId id) {
    const Step& step = steps()[index(id)];
    StepLife life;
    std::exception_ptr error;
    bool is_told = true;
    if (executor_.cancellation.is_cancelled()) {
      life.enter(StepState::kCancelled);
    } else {
      int64_t began = monotonic_ns();
      std::string text;
      JournalStep entry{.id = id, .name = step.name, .line = step.span.line};
      entry.started_ns = executor_.clock.now_ns();
      // A pass before may have told of it: then only what happens to it anew is told.
      Told& told = told_[index(id)];
      const bool was_told = told.end.has_value();
      try {
        if (!told.is_begun) events_.started(id);
        told.is_begun = true;
        life.enter(StepState::kKeying);
        solve_step(step, life, entry);
      } catch (Error& e) {
        if (!e.span()) e.set_span(step.span);
        life.enter(state_of(e, life.state()));
        text = e.what();
        error = std::current_exception();
      } catch (const std::exception& e) {
        life.enter(StepState::kFailed);
        text = e.what();
        error = std::current_exception();
      }
      try {
        if (life.state() == StepState::kLost) {
          if (!text.empty()) events_.remark(id, text + "; what gave it runs again");
        } else if (!was_told || life.state() != StepState::kCached) {
          told.end = life.state();
          tell(id, life.state(), entry, text, began);
        }
      } catch (const std::exception&) {
        if (!error) error = std::current_exception();
        is_told = false;  // a log that cannot be written fails the build
      }
    }
    std::lock_guard lock(mutex_);
    ended(id, is_told ? life.state() : StepState::kFailed, error);
  }

  // How a step ends with that error. What is lost while a step waits for its turn is a failure of ours.
  static StepState state_of(const Error& error, StepState from) {
    if (error.code() == ErrorCode::kCancelled) return StepState::kCancelled;
    if (error.code() == ErrorCode::kLost && may_follow(from, StepState::kLost)) return StepState::kLost;
    return StepState::kFailed;
  }

  void tell(StepId id, StepState state, JournalStep& entry, const std::string& text, int64_t began) {
    entry.duration_ns = monotonic_ns() - began;
    entry.state = state_name(state);
    entry.error = text;
    if (executor_.journal) executor_.journal->add(entry);
    events_.finished(id, outcome_of(state), text);
  }

  static Outcome outcome_of(StepState state) {
    switch (state) {
      case StepState::kCached:
        return Outcome::kCached;
      case StepState::kDone:
        return Outcome::kDone;
      case StepState::kCancelled:
        return Outcome::kCancelled;
      default:
        return Outcome::kFailed;
    }
  }

  // From keying to an end that has a layer; any other end is an exception.
  void solve_step(const Step& step, StepLife& life, JournalStep& entry) {
    if (auto* from = std::get_if<FromStep>(&step.work)) {
      entry.key = from->image.identity.hex();
      finish(step, rootfs_of_image(step, *from), from->image.identity);
      life.enter(StepState::kKeyed);
      life.enter(StepState::kCached);
      return;
    }
    if (is_taken(step.id)) return take(step, life, entry);
    PreparedStep prepared = work_->prepare(step);
    const Digest key = prepared.record.digest();
    entry.key = key.hex();
    entry.record = without_secrets(prepared.record.json(), [&](std::string_view value) {
      return "keyed:" + keyed_digest(executor_.store.history_key(), value).hex().substr(0, kShortDigest);
    });
    life.enter(StepState::kKeyed);
    std::optional<store::LayerRef> layer = find(step, key, prepared.below);
    if (!layer) {
      if (may_be_skipped(step.id)) return life.enter(StepState::kLost);
      life.enter(StepState::kQueued);
      SingleFlight::Turn turn = flights_.take(key, watch_of(step.id));
      layer = find(step, key, prepared.below);  // of who led meanwhile
      if (!layer) {
        life.enter(StepState::kLeading);
        if (told_[index(step.id)].end) events_.started(step.id);  // and ended, in a pass before
        tell_followed(step.id, turn.followed);
        layer = lead(step, key, prepared, *turn.lead, entry);
      }
    }
    prepared.layer.ref = *layer;
    auto manifest = executor_.store.layers().load(layer->id);
    finish(step, with_layer(prepared.below, prepared.layer, *manifest, executor_.clock.now_ns()), key);
    const bool is_made = life.state() == StepState::kLeading;
    std::vector<store::LayerRef> exported;
    if (auto image = in_images_.find(step.id); image != in_images_.end())
      for (bool is_below_a_run : image->second)
        exported.push_back({layer->id, exported_time(prepared.layer, is_below_a_run)});
    if (is_made && executor_.layer_made)
      for (const store::LayerRef& ref : exported) executor_.layer_made(ref);
    if (executor_.caches)
      executor_.caches->step_ended({.key = key, .kind = "exact", .layer = *layer, .record = step.name},
                                   exported, is_made);
    life.enter(is_made ? StepState::kDone : StepState::kCached);
  }

  // A step that would be executed, and that another pass may leave out.
  bool may_be_skipped(StepId id) {
    if (!executor_.caches || foresight_ || is_foresight_wrong_) return false;
    std::call_once(foresight_asked_, [&] {
      Foresight foresight(result_.plan, executor_.caches->foresee());
      if (!foresight.empty()) offered_ = std::move(foresight);
    });
    if (!offered_ || !offered_->is_skipped(id)) return false;
    is_foresight_wanted_ = true;
    return true;
  }

  // A layer that a cache knows without the inputs. It has no key of ours, which would hold their contents, so
  // nobody is told of it.
  void take(const Step& step, StepLife& life, JournalStep& entry) {
    const StageRootfs below = rootfs_of(step.base);
    const auto layer = executor_.caches->foreseen(step.id, below.refs());
    if (!layer) {
      is_foresight_wrong_ = true;
      return life.enter(StepState::kLost);
    }
    const Digest key =
        Digest::of("corten-foreseen-1\n" + rootfs_digest(below.refs()).hex() + layer->id.hex());
    entry.key = key.hex();
    StageLayer placed{.ref = *layer, .is_run = std::holds_alternative<RunStep>(step.work)};
    if (const auto* copy = std::get_if<CopyStep>(&step.work)) placed.is_link = copy->link;
    finish(step,
           with_layer(below, placed, *executor_.store.layers().load(layer->id), executor_.clock.now_ns()),
           key);
    life.enter(StepState::kKeyed);
    life.enter(StepState::kCached);
  }

  bool made_in_this_build(StepId id, const Digest& key) const {
    std::lock_guard lock(mutex_);
    return result_.steps[index(id)].key == key;
  }

  std::optional<store::LayerRef> find(const Step& step, const Digest& key, const StageRootfs& below) {
    // What a pass before this one executed is done, whatever may be found otherwise.
    const bool is_done = told_[index(step.id)].end == StepState::kDone && made_in_this_build(step.id, key);
    if (step.no_cache && !is_done) return std::nullopt;
    auto action = executor_.store.find_action(key);
    if (!action && executor_.caches) action = executor_.caches->find(key, below.refs(), step.id);
    return action ? std::optional(action->layer) : std::nullopt;
  }

  store::LayerRef lead(const Step& step, const Digest& key, const PreparedStep& prepared, Lead& lead,
                       JournalStep& entry) {
    lead.begin(executor_.build, step.name);
    // Many files take a while to write down and to compare, which nothing waits for.
    std::jthread beside;
    if (is_long_to_explain(prepared))
      beside = std::jthread([&] { explain(step, key, prepared, entry); });
    else
      explain(step, key, prepared, entry);
    sandbox::ResourceUse use;
    try {
      store::LayerRef layer = prepared.work(lead, use);
      if (beside.joinable()) beside.join();
      note_use(use, entry);
      executor_.store.layers().succeed(work_->family(step), layer);
      executor_.store.record_action(
          {.key = key, .kind = "exact", .layer = layer, .record = entry.record.dump()});
      lead.ended(Lead::End::kDone);
      return layer;
    } catch (const Error& error) {
      if (beside.joinable()) beside.join();
      note_use(use, entry);
      bool is_failure = error.code() != ErrorCode::kCancelled && error.code() != ErrorCode::kLost;
      lead.ended(is_failure ? Lead::End::kFailed : Lead::End::kCancelled, error.what());
      throw;
    }
  }

  static void note_use(const sandbox::ResourceUse& use, JournalStep& entry) {
    entry.peak_bytes = use.max_resident_bytes;
    entry.processor_ns = use.user_ns + use.system_ns;
  }

  static bool is_long_to_explain(const PreparedStep& prepared) {
    constexpr size_t kManyFiles = 2000;
    size_t files = 0;
    for (const auto& [digest, selection] : prepared.selections)
      for (const Selected& item : selection.items) files += item.below.size();
    return files > kManyFiles;
  }

  // What it read is written down for the next build's explanation; this one is made from what earlier builds
  // wrote. A store that is full of other things must not fail a build for it.
  void explain(const Step& step, const Digest& key, const PreparedStep& prepared, JournalStep& entry) {
    if (!executor_.explainer) return;
    try {
      for (const auto& [digest, selection] : prepared.selections)
        executor_.store.save_list(digest, [&, &selection = selection] { return serialize_list(selection); });
      entry.miss = executor_.explainer->explain(step, key, entry.record);
    } catch (const std::exception&) {
      return;
    }
    if (entry.miss->reason == Miss::Reason::kNoCache) return;  // who asked for it knows
    if (std::string text = miss_text(*entry.miss, executor_.clock.now_ns()); !text.empty())
      events_.remark(step.id, text);
  }

  FollowerWatch watch_of(StepId id) {
    return {.output = [this, id](int stream, std::string_view bytes) { events_.output(id, stream, bytes); },
            .wait = [this, id](std::string_view text) { events_.note(id, text); }};
  }

  // Why a step that somebody else had begun is executed here all the same.
  void tell_followed(StepId id, const Followed& leader) {
    std::string who = leader.build.empty() || leader.build == executor_.build
                          ? "the one that ran this step"
                          : fmt::format("build {}, which ran this step,", leader.build);
    switch (leader.end) {
      case Followed::End::kNobody:
      case Followed::End::kDone:
        return;
      case Followed::End::kFailed:
        return events_.remark(id, fmt::format("{} failed; running it here", who));
      case Followed::End::kCancelled:
        return events_.remark(id, fmt::format("{} was cancelled; running it here", who));
      case Followed::End::kDied:
        return events_.remark(id, fmt::format("{} was killed; running it here", who));
    }
  }

  StageRootfs rootfs_of_image(const Step& step, const FromStep& from) {
    if (from.image.progress)
      *from.image.progress = [this, id = step.id](uint64_t at, uint64_t total) {
        events_.progressed(id, {"pulling layers", at, total, at == total});
      };
    std::optional<store::Rootfs> elsewhere;
    if (executor_.caches) elsewhere = executor_.caches->base(from.image);
    store::Rootfs base = elsewhere ? *elsewhere : from.image.layers();
    if (executor_.caches) executor_.caches->base_used(from.image, base);
    StageRootfs rootfs;
    for (const store::LayerRef& layer : base) rootfs.layers.push_back({layer, true, false, false});
    int64_t created = kScratchTime;
    if (auto time = parse_rfc3339(from.image.config.created)) created = *time;
    rootfs.newest = below_a_run_.contains(step.id)
                        ? newest_of_base(base, executor_.store.layers(), executor_.clock.now_ns(), created)
                        : created;
    return rootfs;
  }

  void finish(const Step& step, StageRootfs rootfs, const Digest& key) {
    std::lock_guard lock(mutex_);
    StepResult& result = result_.steps[index(step.id)];
    result.rootfs = std::move(rootfs);
    result.key = key;
  }

  Sources& sources_;
  Executor& executor_;
  Events& events_;
  SingleFlight flights_;
  std::map<StepId, std::set<bool>>
      in_images_;                 // steps whose layers images will have: is it below a RUN there
  std::set<StepId> below_a_run_;  // what some RUN stands on, through all stages between
  StepWork* work_ = nullptr;
  ThreadPool* pool_ = nullptr;

  // How each step's end was told, in whatever pass; written by the step's own thread.
  struct Told {
    bool is_begun = false;
    std::optional<StepState> end;
  };
  std::vector<Told> told_;

  // Foresight (foresight.h): what caches offered, asked for once, and what this pass uses of it.
  std::once_flag foresight_asked_;
  std::optional<Foresight> offered_, foresight_;
  std::atomic<bool> is_foresight_wanted_ = false, is_foresight_wrong_ = false;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  BuildResult result_;
  std::vector<size_t> waiting_;             // of each step, inputs that are not done
  std::vector<std::vector<StepId>> users_;  // of each step, those that have it as an input
  size_t running_ = 0;
  bool is_lost_ = false;  // in this pass
  std::exception_ptr error_;
  bool failed_ = false;
};

}  // namespace

BuildResult solve(Plan plan, Sources& sources, Executor& executor, Events& events) {
  return Solver(std::move(plan), sources, executor, events).run();
}

}  // namespace corten::build
