#include "build/solve.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "base/wait_lock.h"
#include "build/copy.h"
#include "build/remote_fetches.h"
#include "build/step_key.h"

namespace corten::build {

StageRootfs BuildResult::rootfs(const TargetPlan& target) const {
  StepId last = target.stage.result;
  return last == kNoStep ? StageRootfs() : steps[static_cast<size_t>(last)].rootfs;
}

namespace {

// Executes one step after the other as they become ready. All public state is guarded by mutex_.
class Solver {
 public:
  Solver(Plan plan, Sources& sources, Executor& executor, Events& events)
      : sources_(sources), executor_(executor), events_(events) {
    result_.plan = std::move(plan);
    result_.steps.resize(result_.plan.steps.size());
    for (const Step& step : steps()) {
      if (!std::holds_alternative<RunStep>(step.work)) continue;
      for (StepId id = step.id; id != kNoStep; id = steps()[static_cast<size_t>(id)].base)
        below_a_run_.insert(id);
    }
  }

  BuildResult run() {
    waiting_.resize(steps().size());
    users_.resize(steps().size());
    for (const Step& step : steps()) {
      VertexInfo info{step.id, step.name, step.inputs(), step.span};
      events_.planned(info);
      waiting_[static_cast<size_t>(step.id)] = info.inputs.size();
      for (StepId input : info.inputs) users_[static_cast<size_t>(input)].push_back(step.id);
    }
    {
      RemoteFetches fetches(result_.plan, sources_);
      remote_fetches_ = &fetches;
      ThreadPool pool(std::max(2u, executor_.request.threads));
      pool_ = &pool;
      {
        std::lock_guard lock(mutex_);
        for (const Step& step : steps())
          if (waiting_[static_cast<size_t>(step.id)] == 0) start(step.id);
      }
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return running_ == 0; });
    }
    if (error_) std::rethrow_exception(error_);
    executor_.cancellation.check();
    return std::move(result_);
  }

 private:
  const std::vector<Step>& steps() const { return result_.plan.steps; }
  StepResult& result_of(StepId id) { return result_.steps[static_cast<size_t>(id)]; }

  void start(StepId id) {
    running_++;
    pool_->submit([this, id] { work_on(id); });
  }

  void work_on(StepId id) {
    const Step& step = steps()[static_cast<size_t>(id)];
    std::exception_ptr error;
    Outcome outcome = Outcome::kDone;
    std::string text;
    if (executor_.cancellation.is_cancelled()) {
      outcome = Outcome::kCancelled;
    } else {
      int64_t began = monotonic_ns();
      try {
        events_.started(id);
        execute(step);
        outcome = result_of(id).was_cached ? Outcome::kCached : Outcome::kDone;
        result_of(id).duration_ns = monotonic_ns() - began;
      } catch (Error& e) {
        if (!e.span()) e.set_span(step.span);
        outcome = e.code() == ErrorCode::kCancelled ? Outcome::kCancelled : Outcome::kFailed;
        text = e.what();
        error = std::current_exception();
      } catch (const std::exception& e) {
        outcome = Outcome::kFailed;
        text = e.what();
        error = std::current_exception();
      }
      try {
        events_.finished(id, outcome, text);
      } catch (const std::exception&) {
        if (!error) error = std::current_exception();
        outcome = Outcome::kFailed;
      }
    }
    std::lock_guard lock(mutex_);
    if (outcome == Outcome::kDone || outcome == Outcome::kCached) {
      (outcome == Outcome::kCached ? result_.cached_steps : result_.executed_steps)++;
      for (StepId user : users_[static_cast<size_t>(id)])
        if (--waiting_[static_cast<size_t>(user)] == 0) start(user);
    } else {
      // The cause is the first failure that is not itself a cancellation.
      if (outcome == Outcome::kFailed && !failed_)
        error_ = error, failed_ = true;
      else if (!error_ && error)
        error_ = error;
      executor_.cancellation.cancel();
      executor_.running.kill_all();
    }
    running_--;
    changed_.notify_all();
  }

  StageRootfs below(StepId id) {
    if (id == kNoStep) return {};
    std::lock_guard lock(mutex_);
    return result_of(id).rootfs;
  }

  void finish(const Step& step, StageRootfs rootfs, bool cached, const Digest& key) {
    std::lock_guard lock(mutex_);
    StepResult& result = result_of(step.id);
    result.rootfs = std::move(rootfs);
    result.was_cached = cached;
    result.key = key;
  }

  void execute(const Step& step) {
    if (auto* from = std::get_if<FromStep>(&step.work))
      from_step(step, *from);
    else if (auto* copy = std::get_if<CopyStep>(&step.work))
      copy_step(step, *copy);
    else if (auto* run = std::get_if<RunStep>(&step.work))
      run_step(step, *run);
    else
      workdir_step(step, std::get<WorkdirStep>(step.work));
  }

  void from_step(const Step& step, const FromStep& from) {
    store::Rootfs base = from.image.layers();
    StageRootfs rootfs;
    for (const store::LayerRef& layer : base) rootfs.layers.push_back({layer, true, false, false});
    int64_t created = kScratchTime;
    if (auto time = parse_rfc3339(from.image.config.created)) created = *time;
    rootfs.newest = below_a_run_.contains(step.id)
                        ? newest_of_base(base, executor_.store.layers(), executor_.clock.now_ns(), created)
                        : created;
    finish(step, std::move(rootfs), true, from.image.identity);
  }

  // Steps whose layers are likely to be much alike: this one in later builds of the same thing.
  Digest family(const Step& step) const {
    std::string text =
        executor_.request.project + '\0' + executor_.request.dockerfile_name + '\0' + step.name;
    return Digest::of(text + '\0' + step.instruction);
  }

  // Looks the key up, or does the work under the key's lock.
  store::LayerRef action(const Step& step, const KeyRecord& record, bool& cached,
                         const std::function<store::LayerRef(int lock_fd)>& work) {
    Digest key = record.digest();
    store::Store& store = executor_.store;
    auto known = [&]() -> std::optional<store::LayerRef> {
      auto action = store.find_action(key);
      return action ? std::optional(action->layer) : std::nullopt;
    };
    cached = true;
    if (!step.no_cache)
      if (auto layer = known()) return *layer;
    FileLock lock;
    std::string path = store.lock_path(key.hex());
    if (!FileLock::try_exclusive(path, lock)) {
      events_.note(step.id, "waiting for another build that runs the same step");
      lock = wait_for_lock(path, executor_.cancellation);
      events_.note(step.id, "");
      if (!step.no_cache)
        if (auto layer = known()) return *layer;
    } else if (!step.no_cache) {
      // Somebody may have finished between the look-up and the lock.
      if (auto layer = known()) return *layer;
    }
    cached = false;
    store::LayerRef layer = work(lock.fd());
    store.layers().succeed(family(step), layer);
    store::Action action;
    action.key = key;
    action.kind = "exact";
    action.layer = layer;
    action.record = record.text();
    store.record_action(action);
    return layer;
  }

  void stack(const Step& step, const StageRootfs& rootfs, const StageLayer& layer, bool cached,
             const Digest& key) {
    auto manifest = executor_.store.layers().load(layer.ref.id);
    finish(step, with_layer(rootfs, layer, *manifest, executor_.clock.now_ns()), cached, key);
  }

  std::shared_ptr<const store::Tree> tree_of(const TreeRef& ref) {
    switch (ref.kind) {
      case TreeRef::Kind::kStep:
        return std::make_shared<store::RootfsView>(executor_.store.layers().view(below(ref.step).refs()));
      case TreeRef::Kind::kScratch:
        return std::make_shared<store::EmptyTree>();
      case TreeRef::Kind::kContext:
        break;
    }
    auto tree = ref.context.empty() ? sources_.main_context() : sources_.named_tree(ref.context);
    return tree ? tree : std::make_shared<store::EmptyTree>();
  }

  static std::string place_name(const TreeRef& ref) {
    if (ref.kind == TreeRef::Kind::kContext)
      return ref.context.empty() ? "context" : "context " + ref.context;
    return ref.kind == TreeRef::Kind::kScratch ? "scratch" : "stage";
  }

  void copy_step(const Step& step, const CopyStep& copy) {
    TraceSpan span("COPY and ADD: select, key, look up");
    StageRootfs rootfs = below(step.base);
    auto source = tree_of(copy.from);
    std::map<size_t, RemoteTree> remotes = remote_fetches_->wait_for(step, events_);
    Selection selection = select_sources(copy, *source, place_name(copy.from), remotes);
    std::vector<const store::Entry*> files = selection.files();
    source->compute_digests(files);
    KeyRecord record = copy_key(copy, rootfs, selection, executor_.request);
    bool cached = false;
    int64_t time = rootfs.newest + 1;
    store::LayerRef layer = action(step, record, cached, [&](int) {
      source->ingest(files);
      TraceSpan making("COPY and ADD: make the layer");
      store::RootfsView view = executor_.store.layers().view(rootfs.refs());
      store::EmptyTree nothing;
      store::LayerBuilder builder(copy.link ? static_cast<const store::Tree&>(nothing) : view);
      // Only --chown asks for names; reading the accounts walks the whole stack.
      store::Accounts accounts = copy.link || !copy.owner
                                     ? store::Accounts::parse("", "")
                                     : store::Accounts::load(view, executor_.store.contents());
      copy_into(copy, selection, *source, accounts, executor_.store.contents(), builder,
                {.cancellation = executor_.cancellation, .max_unpacked_bytes = executor_.max_unpacked_bytes});
      return store::LayerRef{executor_.store.layers().save(with_clock_times(builder.finish())), time};
    });
    stack(step, rootfs, {layer, false, copy.link, false}, cached, record.digest());
  }

  // --timestamps=source: what has no time of its own was made now.
  store::Manifest with_clock_times(store::Manifest manifest) const {
    if (executor_.request.timestamps == Timestamps::kLayer) return manifest;
    std::vector<store::Entry> entries = manifest.entries();
    int64_t now = executor_.request.source_date_epoch ? *executor_.request.source_date_epoch * 1'000'000'000
                                                      : executor_.clock.now_ns();
    for (store::Entry& e : entries)
      if (!e.time_ns && e.type != store::EntryType::kWhiteout) e.time_ns = now;
    return store::Manifest(std::move(entries));
  }

  void workdir_step(const Step& step, const WorkdirStep& workdir) {
    StageRootfs rootfs = below(step.base);
    KeyRecord record = workdir_key(workdir, rootfs, executor_.request);
    bool cached = false;
    int64_t time = rootfs.newest + 1;
    store::LayerRef layer = action(step, record, cached, [&](int) {
      store::RootfsView view = executor_.store.layers().view(rootfs.refs());
      store::LayerBuilder builder(view);
      make_workdir(workdir.path,
                   workdir_owner(store::Accounts::load(view, executor_.store.contents()), workdir.user),
                   builder);
      return store::LayerRef{executor_.store.layers().save(with_clock_times(builder.finish())), time};
    });
    stack(step, rootfs, {layer, false, false, false}, cached, record.digest());
  }

  void run_step(const Step& step, const RunStep& run) {
    TraceSpan span("RUN: key, look up");
    StageRootfs rootfs = below(step.base);
    RunInputs inputs;
    inputs.below = rootfs;
    inputs.output = [&](int stream, std::string_view bytes) { events_.output(step.id, stream, bytes); };
    std::vector<std::optional<Digest>> digests;
    for (const MountUse& use : run.mounts) {
      MountSource source;
      std::optional<Digest> digest;
      if (use.mount.type == dockerfile::MountType::kBind ||
          (use.mount.type == dockerfile::MountType::kCache && use.mount.from)) {
        source.tree = tree_of(use.from);
        digest = mount_digest(use, *source.tree);
      }
      inputs.sources.push_back(std::move(source));
      digests.push_back(digest);
    }
    KeyRecord record = run_key(run, rootfs, digests, executor_.request);
    bool cached = false;
    store::LayerRef layer = action(step, record, cached, [&](int lock_fd) {
      for (size_t i = 0; i < run.mounts.size(); i++)
        if (inputs.sources[i].tree)
          inputs.sources[i].tree->ingest(mount_files(run.mounts[i], *inputs.sources[i].tree));
      inputs.lock_fd = lock_fd;
      return execute_run(run, inputs, executor_);
    });
    stack(step, rootfs, {layer, false, false, true}, cached, record.digest());
  }

  // What a mount shows of a tree: of a cache mount all of it, since it is only where the cache starts from.
  static Selection mount_selection(const MountUse& use, const store::Tree& tree) {
    CopyStep wanted;
    wanted.sources = {use.mount.type == dockerfile::MountType::kBind ? RootfsPath(use.mount.source).absolute()
                                                                     : "/"};
    for (char c : std::string_view("*?["))
      if (wanted.sources[0].find(c) != std::string::npos) wanted.sources[0].clear();
    Selection selection;
    if (!wanted.sources[0].empty()) return select_sources(wanted, tree, use.mount.from.value_or("context"));
    const store::Entry* entry = tree.find(store::resolve_links(tree, RootfsPath(use.mount.source)));
    if (!entry)
      fail(ErrorCode::kNotFound, "failed to compute cache key: {}: not found", quote(use.mount.source));
    Selected item;
    item.entry = entry;
    store::walk(tree, entry->path, [&](const store::Entry& e) { item.below.push_back(&e); });
    selection.items.push_back(std::move(item));
    return selection;
  }
  static std::vector<const store::Entry*> mount_files(const MountUse& use, const store::Tree& tree) {
    return mount_selection(use, tree).files();
  }

  Digest mount_digest(const MountUse& use, const store::Tree& tree) {
    Selection selection = mount_selection(use, tree);
    tree.compute_digests(selection.files());
    return selection_digest(selection, use.from.kind != TreeRef::Kind::kContext);
  }

  Sources& sources_;
  Executor& executor_;
  Events& events_;
  BuildResult result_;
  std::set<StepId> below_a_run_;  // what some RUN stands on, through all stages between
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<size_t> waiting_;
  std::vector<std::vector<StepId>> users_;  // of each step, those that have it as an input
  size_t running_ = 0;
  std::exception_ptr error_;
  bool failed_ = false;
  ThreadPool* pool_ = nullptr;
  RemoteFetches* remote_fetches_ = nullptr;
};

}  // namespace

BuildResult solve(Plan plan, Sources& sources, Executor& executor, Events& events) {
  return Solver(std::move(plan), sources, executor, events).run();
}

}  // namespace corten::build
