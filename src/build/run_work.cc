// RUN as a step: what its mounts show is part of its key; run.cc executes it.
#include "base/error.h"
#include "base/strings.h"
#include "build/run_mounts.h"
#include "build/step_key.h"
#include "build/step_work.h"

namespace corten::build {

namespace {

// What a mount shows of a tree: of a cache mount all of it, since it is only where the cache starts from.
Selection mount_selection(const MountUse& use, const store::Tree& tree) {
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

bool shows_a_tree(const MountUse& use) {
  return use.mount.type == dockerfile::MountType::kBind ||
         (use.mount.type == dockerfile::MountType::kCache && use.mount.from);
}

}  // namespace

// A secret is in no key; that it changed is told by a digest that only this store can make, cut short.
Json StepWork::secret_digests(const RunStep& run) const {
  constexpr size_t kHexDigits = 16;
  Json digests = Json::object();
  for (const MountUse& use : run.mounts) {
    if (use.mount.type != dockerfile::MountType::kSecret) continue;
    std::string id = secret_id(use.mount);
    auto secret = executor_.request.secrets.find(id);
    if (secret == executor_.request.secrets.end()) continue;
    digests.set(
        id, keyed_digest(executor_.store.history_key(), secret->second.value).hex().substr(0, kHexDigits));
  }
  return digests;
}

PreparedStep StepWork::prepare_run(const Step& step, const RunStep& run) const {
  RunInputs inputs;
  inputs.name = step.name;
  inputs.below = inputs_.rootfs_of(step.base);
  std::vector<std::optional<Digest>> digests;
  std::vector<std::vector<const store::Entry*>> files;
  std::map<Digest, Selection> selections;
  std::vector<std::shared_ptr<const store::Tree>> trees;
  Json places = Json::object();
  for (const MountUse& use : run.mounts) {
    MountSource& source = inputs.sources.emplace_back();
    digests.emplace_back();
    files.emplace_back();
    if (!shows_a_tree(use)) continue;
    source.tree = tree_of(use.from);
    trees.push_back(source.tree);
    Selection selection = mount_selection(use, *source.tree);
    files.back() = selection.files();
    source.tree->compute_digests(files.back());
    digests.back() = selection_digest(selection, use.from.kind != TreeRef::Kind::kContext);
    selections.emplace(*digests.back(), std::move(selection));
    places.set(use.mount.target, shown_place(use.from));
  }
  PreparedStep prepared{.record = run_key(run, inputs.below, digests, executor_.request),
                        .below = inputs.below,
                        .layer = {.is_run = true},
                        .selections = std::move(selections),
                        .work = {},
                        .trees = std::move(trees)};
  if (places.size()) prepared.record.note("mounts_from", std::move(places));
  if (Json secrets = secret_digests(run); secrets.size()) prepared.record.note("secrets", std::move(secrets));
  prepared.work = [this, id = step.id, &run, inputs = std::move(inputs), files = std::move(files)](
                      Lead& lead, sandbox::ResourceUse& use) mutable {
    for (size_t i = 0; i < files.size(); i++)
      if (inputs.sources[i].tree) inputs.sources[i].tree->ingest(files[i]);
    inputs.lock_fd = lead.lock_fd();
    inputs.output = [&](int stream, std::string_view bytes) {
      lead.write(stream, bytes);
      events_.output(id, stream, bytes);
    };
    inputs.used = [&](const sandbox::ResourceUse& used) { use = used; };
    inputs.wait = [&](std::string_view text) { events_.note(id, text); };
    return execute_run(run, inputs, executor_);
  };
  return prepared;
}

}  // namespace corten::build
