// COPY, ADD and WORKDIR as steps.
#include "base/trace.h"
#include "build/step_key.h"
#include "build/step_work.h"

namespace corten::build {

static std::string place_name(const TreeRef& ref) {
  if (ref.kind == TreeRef::Kind::kContext) return ref.context.empty() ? "context" : "context " + ref.context;
  return ref.kind == TreeRef::Kind::kScratch ? "scratch" : "stage";
}

// The files that names of users and groups are looked up in.
static void need_accounts(const StageRootfs& rootfs, store::Layers& layers) {
  layers.need_for(rootfs.refs(), {RootfsPath("etc/passwd"), RootfsPath("etc/group")});
}

PreparedStep StepWork::prepare_copy(const Step& step, const CopyStep& copy) const {
  TraceSpan span("COPY and ADD: select, key");
  StageRootfs rootfs = inputs_.rootfs_of(step.base);
  auto source = tree_of(copy.from);
  std::map<size_t, RemoteTree> remotes = fetches_.wait_for(step, events_);
  Selection selection = select_sources(copy, *source, place_name(copy.from), remotes);
  std::vector<const store::Entry*> files = selection.files();
  source->compute_digests(files);
  Digest content = selection_digest(selection, copy.from.kind != TreeRef::Kind::kContext);
  PreparedStep prepared{.record = copy_key(copy, rootfs, content, executor_.request),
                        .below = rootfs,
                        .layer = {.is_link = copy.link}};
  prepared.record.note("from", shown_place(copy.from));
  prepared.selections.emplace(content, selection);
  prepared.trees.push_back(source);
  for (const auto& [position, remote] : remotes) prepared.trees.push_back(remote.tree);
  prepared.work = [this, &step, &copy, rootfs, source, selection = std::move(selection),
                   files = std::move(files), remotes](Lead&, sandbox::ResourceUse&) {
    // Of many files most were in this step's layer the last time.
    constexpr size_t kManyFiles = 1000;
    auto known =
        files.size() < kManyFiles || step.no_cache ? nullptr : executor_.store.layers().latest(family(step));
    source->ingest(files, known.get());
    TraceSpan making("COPY and ADD: make the layer");
    store::RootfsView view = executor_.store.layers().view(rootfs.refs());
    store::EmptyTree nothing;
    store::LayerBuilder builder(copy.link ? static_cast<const store::Tree&>(nothing) : view);
    // Only --chown asks for names; reading the accounts walks the whole stack.
    if (!copy.link && copy.owner) need_accounts(rootfs, executor_.store.layers());
    store::Accounts accounts = copy.link || !copy.owner
                                   ? store::Accounts::parse("", "")
                                   : store::Accounts::load(view, executor_.store.contents());
    copy_into(copy, selection, accounts, executor_.store.contents(), builder,
              {.cancellation = executor_.cancellation, .max_unpacked_bytes = executor_.max_unpacked_bytes});
    return store::LayerRef{executor_.store.layers().save(with_clock_times(builder.finish())),
                           rootfs.newest + 1};
  };
  return prepared;
}

PreparedStep StepWork::prepare_workdir(const Step& step, const WorkdirStep& workdir) const {
  StageRootfs rootfs = inputs_.rootfs_of(step.base);
  PreparedStep prepared{.record = workdir_key(workdir, rootfs, executor_.request), .below = rootfs};
  prepared.work = [this, &workdir, rootfs](Lead&, sandbox::ResourceUse&) {
    store::RootfsView view = executor_.store.layers().view(rootfs.refs());
    store::LayerBuilder builder(view);
    const bool has_owner = !workdir.user.empty();
    if (has_owner) need_accounts(rootfs, executor_.store.layers());
    make_workdir(workdir.path,
                 has_owner
                     ? workdir_owner(store::Accounts::load(view, executor_.store.contents()), workdir.user)
                     : Owner(),
                 builder);
    return store::LayerRef{executor_.store.layers().save(with_clock_times(builder.finish())),
                           rootfs.newest + 1};
  };
  return prepared;
}

}  // namespace corten::build
