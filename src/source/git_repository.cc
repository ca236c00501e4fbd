#include "source/git_repository.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "base/wait_lock.h"

namespace corten::source {

namespace {

constexpr std::string_view kKept = "refs/corten/commits/";

// "ID\tNAME" lines; --symref adds "ref: NAME\tHEAD".
std::map<std::string, std::string> parse_refs(const std::string& text) {
  std::map<std::string, std::string> refs;
  for (const std::string& line : split(text, '\n')) {
    size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    if (line.starts_with("ref: "))
      refs["ref: " + line.substr(tab + 1)] = line.substr(5, tab - 5);
    else if (is_commit_id(line.substr(0, tab)))
      refs[line.substr(tab + 1)] = line.substr(0, tab);
  }
  return refs;
}

std::string short_ref(std::string_view name) {
  for (std::string_view prefix : {"refs/heads/", "refs/tags/"})
    if (name.starts_with(prefix)) return std::string(name.substr(prefix.size()));
  return std::string(name);
}

bool holds_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return text.find(word) != std::string_view::npos; });
}

// What a machine that went down, or a git that was killed, can leave behind.
bool is_damage(std::string_view reason) {
  return holds_any(reason, {"corrupt", "bad object", "unable to read", "loose object", "not a git repository",
                            "would clobber", "unable to update local ref", "could not parse", "bad config",
                            "did not send all necessary objects", "cannot lock ref", "bad signature"});
}

}  // namespace

GitRepository::GitRepository(const std::string& directory, GitProgram program)
    : home_(directory + "/" + Digest::of(program.remote().remote).hex().substr(0, 32)),
      repository_(home_ + "/repo"),
      program_(std::move(program)) {}

GitCommit GitRepository::resolve(const GitReference& reference) const {
  const std::string& remote = program_.remote().remote;
  auto check = [&](const std::string& found, const std::string& other) {
    if (reference.checksum.empty() || found.starts_with(reference.checksum) ||
        (!other.empty() && other.starts_with(reference.checksum)))
      return;
    throw Error(ErrorCode::kCorrupt,
                fmt::format("expected checksum to match {}, got {}{}", reference.checksum, found,
                            other.empty() || other == found ? "" : " or " + other))
        .with_hint("the ref has moved, or the checksum is another commit's");
  };
  if (is_commit_id(reference.ref)) {
    check(reference.ref, "");
    return {reference.ref, reference.ref, ""};
  }
  if (reference.fetch_by_commit) {
    if (!is_commit_id(reference.checksum))
      fail(ErrorCode::kInvalid, "fetch-by-commit requires a full commit SHA checksum, got {}",
           quote(reference.checksum));
    std::string name = reference.ref;
    if (!name.empty() && !name.starts_with("refs/")) name = "refs/heads/" + name;
    return {reference.checksum, reference.checksum, name};
  }
  std::vector<std::string> ask = {"ls-remote", "--symref", "--", remote};
  if (reference.ref.empty())
    ask.push_back("HEAD");
  else
    ask.insert(ask.end(), {reference.ref, reference.ref + "^{}"});
  auto refs = parse_refs(program_.run({}, ask, "failed to fetch remote " + remote));
  if (reference.ref.empty()) {
    auto head = refs.find("HEAD");
    if (head == refs.end())
      throw Error(ErrorCode::kNotFound, "could not find default branch for repository: " + remote)
          .with_hint("name a branch: " + remote + "#BRANCH");
    auto name = refs.find("ref: HEAD");
    check(head->second, "");
    return {head->second, head->second, name == refs.end() ? "" : name->second};
  }
  // A branch wins over a tag, as with git checkout.
  auto bare = [&](std::string_view prefix) {
    return reference.ref.starts_with(prefix) ? reference.ref : std::string(prefix) + reference.ref;
  };
  for (const std::string& name :
       {bare("refs/"), bare("refs/heads/"), bare("refs/tags/"), std::string(reference.ref)}) {
    auto found = refs.find(name);
    if (found == refs.end() || name.find("^{}") != std::string::npos) continue;
    auto peeled = refs.find(name + "^{}");
    std::string commit = peeled == refs.end() ? found->second : peeled->second;
    check(found->second, commit);
    return {commit, found->second, name};
  }
  no_such_ref(reference.ref);
}

void GitRepository::no_such_ref(const std::string& ref) const {
  Error error(ErrorCode::kNotFound,
              fmt::format("{}: repository does not contain ref {}", program_.remote().remote, ref));
  SubprocessResult all =
      program_.try_run({}, {"ls-remote", "--heads", "--tags", "--refs", "--", program_.remote().remote});
  std::vector<std::string> names;
  for (const auto& [name, id] : parse_refs(all.output)) names.push_back(short_ref(name));
  bool may_be_id = ref.size() >= 7 && ref.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (auto near = suggest(ref, names))
    error.set_hint(fmt::format("did you mean {}?", *near));
  else if (may_be_id)
    error.set_hint("a commit is named by its whole id (40 digits)");
  else if (names.empty())
    error.set_hint("it has no branches and no tags");
  else
    error.set_hint("it has " + join(std::span(names).first(std::min<size_t>(names.size(), 10)), ", ") +
                   (names.size() > 10 ? fmt::format(" and {} more", names.size() - 10) : ""));
  throw error;
}

void GitRepository::reset() {
  remove_tree(repository_);
}

void GitRepository::prepare() {
  make_directories_on_host(home_, 0700);
  if (!lock_.held() && !FileLock::try_exclusive(home_ + "/lock", lock_)) {
    if (program_.access().note)
      program_.access().note("waiting for another build that fetches " + program_.remote().remote);
    lock_ = wait_for_lock(home_ + "/lock", program_.access().cancellation);
  }
  if (!path_exists(repository_ + "/HEAD")) {
    reset();
    std::vector<std::string> init = {"init", "--quiet", "--bare"};
    if (is_sha256_) init.push_back("--object-format=sha256");
    init.push_back(repository_);
    GitProgram::Place nowhere;
    program_.run(nowhere, init, "make repository " + repository_);
  }
  // Left by a git that was killed.
  for (const char* name : {"shallow.lock", "packed-refs.lock", "config.lock"})
    unlink((repository_ + "/" + name).c_str());
  std::string packs = repository_ + "/objects/pack";
  if (DIR* stream = opendir(packs.c_str())) {
    while (dirent* item = readdir(stream))
      if (std::string_view(item->d_name).starts_with("tmp_")) unlink((packs + "/" + item->d_name).c_str());
    closedir(stream);
  }
}

bool GitRepository::has(const std::string& commit) const {
  return program_.try_run(place(), {"cat-file", "-e", commit + "^{tree}"}).exit_code == 0;
}

bool GitRepository::try_fetch(std::vector<std::string> refspecs, bool shallow, std::string& reason) {
  std::vector<std::string> fetch = {"fetch", "--progress", "--no-tags", "--force"};
  if (shallow)
    fetch.push_back("--depth=1");
  else if (path_exists(repository_ + "/shallow"))
    fetch.push_back("--unshallow");
  fetch.insert(fetch.end(), {"--", program_.remote().remote});
  fetch.insert(fetch.end(), refspecs.begin(), refspecs.end());
  SubprocessResult result = program_.try_run(place(), fetch);
  if (result.exit_code == 0) return true;
  // A server that knows no depth (dumb HTTP, very old ones) gives all or nothing.
  if (shallow && holds_any(result.error_output, {"--depth", "shallow"}))
    return try_fetch(std::move(refspecs), false, reason);
  reason = git_reason(result.error_output);
  return false;
}

void GitRepository::fetch_once(GitCommit& commit) {
  const std::string& remote = program_.remote().remote;
  prepare();
  if (!has(commit.object)) {
    if (program_.access().note) program_.access().note("fetching " + remote);
    std::string reason;
    if (!commit.name.empty()) try_fetch({commit.name + ":refs/corten/tip"}, true, reason);
    if (!has(commit.object)) try_fetch({commit.object + ":refs/corten/tip"}, true, reason);
    // Servers that refuse ids give them with the refs that lead to them.
    if (!has(commit.object) &&
        (reason.empty() || holds_any(reason, {"not our ref", "unadvertised object",
                                              "Server does not allow request", "couldn't find remote ref"})))
      try_fetch({"refs/heads/*:refs/corten/all/heads/*", "refs/tags/*:refs/corten/all/tags/*"}, false,
                reason);
    if (!has(commit.object)) {
      bool is_absent =
          reason.empty() || holds_any(reason, {"not our ref", "find remote ref", "unadvertised"});
      if (is_absent)
        throw Error(ErrorCode::kNotFound,
                    fmt::format("{}: repository does not contain commit {}", remote, commit.object));
      program_.refuse("failed to fetch remote " + remote, reason);
    }
    program_.run(place(), {"update-ref", std::string(kKept) + commit.object, commit.object},
                 "failed to fetch remote " + remote);
  }
  std::string peeled = program_.run(place(), {"rev-parse", "--verify", commit.object + "^{commit}"},
                                    "failed to fetch remote " + remote);
  commit.commit = std::string(trim(peeled));
}

void GitRepository::fetch(GitCommit& commit) {
  is_sha256_ = commit.object.size() == 64;
  bool was_there = path_exists(repository_ + "/HEAD");
  try {
    fetch_once(commit);
  } catch (const Error& error) {
    std::string_view words = error.what();
    if (!was_there || !(is_damage(words) || words.find(repository_) != words.npos)) throw;
    reset();
    fetch_once(commit);
  }
}

}  // namespace corten::source
