#include "source/git_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "source/git_submodules.h"
#include "source/local_context.h"

namespace corten::source {

using store::Entry;
using store::EntryType;

namespace {

constexpr int kMostLevels = 10;  // of submodules in submodules
constexpr size_t kMostSubmodules = 1000;

std::shared_ptr<const store::Tree> tree_of(std::shared_ptr<const store::Manifest> manifest) {
  return std::make_shared<store::RootfsView>(
      std::vector<std::shared_ptr<const store::Manifest>>{std::move(manifest)});
}

// A checkout under our feet cannot be a link: git made it. All the same nothing is written through one.
void check_plain_directory(const std::string& root, const std::string& path) {
  UniqueFd top = open_file(root, O_PATH | O_DIRECTORY);
  if (!open_no_links(top.get(), path, O_PATH | O_DIRECTORY))
    fail(ErrorCode::kInvalid, "submodule path {}: it is no directory", quote(path));
}

}  // namespace

GitSource::GitSource(store::Store& store, GitAccess access, unsigned threads)
    : store_(store), access_(std::move(access)), threads_(threads) {
  if (access_.known_hosts.empty()) access_.known_hosts = store_.git_directory() + "/known_hosts";
}

GitCheckout GitSource::checkout(const GitReference& reference, const GitOptions& options) {
  bool submodules = reference.submodules.value_or(true);
  // As with BuildKit, a directory of a repository has no .git.
  bool keeps_git = reference.keep_git_dir.value_or(options.keep_git_dir) && reference.subdir.empty();
  GitAccess access = access_;
  access.note = options.note;
  store_.hold_git(reference.remote);
  GitRepository repository(store_.git_directory(), GitProgram(access, reference, reference));
  GitCommit commit = resolve(repository, reference);

  Json record = Json::object({{"step", "git"},
                              {"remote", reference.remote},
                              {"commit", commit.object},
                              {"directory", reference.subdir},
                              {"submodules", submodules},
                              {"commit_times", options.commit_times}});
  if (keeps_git) record.set("git", commit.name.empty() ? "HEAD" : commit.name);
  Digest key = Digest::of("corten-git-1\n" + record.dump());
  if (auto known = store_.find_action(key))
    return {tree_of(store_.layers().load(known->layer.id)), commit.commit};

  repository.fetch(commit);
  if (!reference.checksum.empty() && !commit.commit.starts_with(reference.checksum) &&
      !commit.object.starts_with(reference.checksum))
    fail(ErrorCode::kCorrupt, "expected checksum to match {}, got {}", reference.checksum, commit.commit);
  TempDir place = store_.temporary("git-");
  std::string directory = place / "files";
  if (mkdir(directory.c_str(), 0755) != 0) fail_errno("make directory {}", directory);
  size_t modules = 0;
  check_out(repository, commit, directory, {access, reference, keeps_git, submodules, modules}, 0);
  std::optional<int64_t> time;
  if (options.commit_times)
    time = parse_int(
        trim(repository.program().run(repository.place(), {"show", "-s", "--format=%ct", commit.commit},
                                      "failed to get commit time for " + reference.remote)));
  store::Manifest manifest = read(directory, reference.subdir, time);
  store_.record_action({key, "exact", {store_.layers().save(manifest), 0}, record.dump()});
  return {tree_of(std::make_shared<const store::Manifest>(std::move(manifest))), commit.commit};
}

GitCommit GitSource::resolve(const GitRepository& repository, const GitReference& reference) {
  std::string asked = reference.remote + "#" + reference.ref + "?" + reference.checksum +
                      (reference.fetch_by_commit ? "!" : "");
  {
    std::lock_guard lock(mutex_);
    if (auto known = resolved_.find(asked); known != resolved_.end()) return known->second;
  }
  GitCommit commit = repository.resolve(reference);
  std::lock_guard lock(mutex_);
  return resolved_.emplace(asked, commit).first->second;
}

void GitSource::check_out(GitRepository& repository, const GitCommit& commit, const std::string& directory,
                          const Wish& wish, int depth) {
  const GitProgram& program = repository.program();
  std::string what = "failed to checkout remote " + program.remote().remote;
  if (wish.keeps_git) {
    keep_git(repository, commit, directory);
  } else {
    TempDir index = store_.temporary("git-index-");
    GitProgram::Place place = repository.place();
    place.work_tree = directory;
    place.index = index / "index";
    program.run(place, {"-c", "core.bare=false", "read-tree", "--reset", "-u", commit.commit}, what);
  }
  if (!wish.submodules) return repository.release();
  std::vector<GitSubmodule> modules = list_submodules(repository, commit.commit);
  repository.release();
  for (GitSubmodule& module : modules) {
    if (++wish.modules > kMostSubmodules)
      fail(ErrorCode::kInvalid, "{}: more than {} submodules", what, kMostSubmodules);
    if (depth + 1 > kMostLevels)
      fail(ErrorCode::kInvalid, "{}: submodules nest deeper than {}", what, kMostLevels);
    check_plain_directory(directory, module.path);
    try {
      store_.hold_git(module.remote.remote);
      GitRepository inner(store_.git_directory(), GitProgram(wish.access, module.remote, wish.main));
      GitCommit wanted{module.commit, module.commit, ""};
      inner.fetch(wanted);
      check_out(inner, wanted, directory + "/" + module.path, wish, depth + 1);
    } catch (Error& error) {
      error.add_context(fmt::format("submodule {}", quote(module.name)));
      throw;
    }
    if (!wish.keeps_git) continue;
    GitProgram::Place place{.git_dir = directory + "/.git", .work_tree = directory, .index = {}};
    program.run(place, {"config", "submodule." + module.name + ".url", module.remote.remote}, what);
    program.run(place, {"config", "submodule." + module.name + ".active", "true"}, what);
  }
}

void GitSource::keep_git(const GitRepository& repository, const GitCommit& commit,
                         const std::string& directory) {
  const GitProgram& program = repository.program();
  std::string what = "failed to checkout remote " + program.remote().remote;
  GitProgram::Place place{.git_dir = directory + "/.git", .work_tree = directory, .index = {}, .local = true};
  auto run = [&](std::vector<std::string> arguments) { program.run(place, std::move(arguments), what); };
  std::vector<std::string> init = {"init", "--quiet"};
  if (commit.object.size() == 64) init.push_back("--object-format=sha256");
  run(init);
  std::string name = commit.name.starts_with("refs/") ? commit.name : "refs/corten/tip";
  run({"fetch", "--quiet", "--update-head-ok", "--depth=1", "--no-tags", "--", repository.place().git_dir,
       "+" + commit.object + ":" + name});
  run({"update-ref", "--no-deref", "HEAD", commit.commit});
  run({"read-tree", "--reset", "-u", "HEAD"});
  if (name == "refs/corten/tip") run({"update-ref", "-d", name});
  run({"config", "remote.origin.url", program.remote().remote});
  run({"config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"});
  // What the same commit would otherwise be different in from one machine to the next.
  run({"-c", "pack.threads=1", "repack", "-a", "-d", "-F", "-q", "--window=0"});
  for (const char* trace : {"FETCH_HEAD", "ORIG_HEAD", "index"})
    unlink((place.git_dir + "/" + trace).c_str());
  for (const char* trace : {"logs", "branches", "hooks"}) remove_tree(place.git_dir + "/" + trace);
  run({"read-tree", "HEAD"});
}

store::Manifest GitSource::read(const std::string& directory, const std::string& subdir,
                                std::optional<int64_t> time) {
  LocalContextOptions options;
  options.threads = threads_;
  LocalContext files(HostPath{directory}, options, store_.contents());
  RootfsPath above;
  for (const std::string& name : RootfsPath(subdir).components()) {
    above = above.child(name);
    const Entry* entry = files.find(above);
    if (!entry)
      fail(ErrorCode::kNotFound, "invalid subdir {}: {} does not exist in the repository", subdir,
           above.str());
    if (!entry->is_directory())
      fail(ErrorCode::kInvalid, "invalid subdir {}: git subpath {} contains non-directory {}", subdir,
           quote(subdir), quote(above.str()));
  }
  std::vector<const Entry*> all, regular;
  store::walk(files, above, [&](const Entry& e) {
    all.push_back(&e);
    if (e.type == EntryType::kFile) regular.push_back(&e);
  });
  files.compute_digests(regular);
  files.ingest(regular);
  std::vector<Entry> entries;
  for (const Entry* e : all) {
    Entry copy = *e;
    if (!above.is_root()) copy.path = RootfsPath(e->path.str().substr(above.str().size() + 1));
    copy.hard_link = RootfsPath();
    copy.xattrs.clear();
    copy.uid = copy.gid = 0;
    if (e->type == EntryType::kFile) copy.mode = e->mode & 0100 ? 0755 : 0644;
    if (e->is_directory()) copy.mode = 0755;
    copy.time_ns.reset();
    if (time) copy.time_ns = clamped_ns(*time);
    entries.push_back(std::move(copy));
  }
  return store::Manifest(std::move(entries));
}

}  // namespace corten::source
