#include "registry/server/collector.h"

#include <time.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "registry/server/manifest_facts.h"
#include "registry/server/stored_manifest.h"

namespace corten::registry::serving {

namespace {

// The first 64 bits of a digest stand for it: two that share them keep each other, which is no harm.
using Marks = std::vector<uint64_t>;

uint64_t mark_of(std::string_view hex) {
  uint64_t mark = 0;
  for (char c : hex.substr(0, 16))
    mark = mark << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  return mark;
}

void sort(Marks& marks) {
  std::sort(marks.begin(), marks.end());
  marks.erase(std::unique(marks.begin(), marks.end()), marks.end());
}

bool has(const Marks& marks, std::string_view hex) {
  return std::binary_search(marks.begin(), marks.end(), mark_of(hex));
}

constexpr std::string_view kAlgorithms[] = {"sha256", "sha512"};

// What is not new enough to be left alone: only these are worth a change in the journal.
bool is_old(const Tree& tree, const std::string& path, int64_t before_s) {
  const std::optional<OpenedFile> file = tree.open(path);
  return file && file->modified_s < before_s;
}

}  // namespace

std::vector<std::string> repositories_of(const Tree& tree) {
  std::vector<std::string> found, todo{""};
  while (!todo.empty()) {
    const std::string name = std::move(todo.back());
    todo.pop_back();
    bool is_repository = false;
    for (const std::string& entry : tree.names(name.empty() ? "repositories" : Tree::repository_path(name))) {
      if (entry.starts_with('_'))
        is_repository = true;
      else
        todo.push_back(name.empty() ? entry : name + "/" + entry);
    }
    if (is_repository) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

Collector::Collector(Tree& tree, Journal& journal, Uploads& uploads, Usage& usage, CollectorOptions options,
                     std::function<void(const Collected&)> after,
                     std::function<void(const std::exception&)> failed)
    : tree_(tree),
      journal_(journal),
      uploads_(uploads),
      usage_(usage),
      options_(options),
      after_(std::move(after)),
      failed_(std::move(failed)) {
  if (options_.every_s > 0) thread_ = std::thread([this] { work(); });
}

Collector::~Collector() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Collector::work() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, std::chrono::seconds(options_.every_s), [&] { return closing_; })) {
    lock.unlock();
    try {
      after_(collect(::time(nullptr)));
    } catch (const std::exception& failure) {
      failed_(failure);
    }
    lock.lock();
  }
}

Collected Collector::collect(int64_t now_s) {
  const int64_t before_s = now_s - options_.grace_s;
  const std::vector<std::string> repositories = repositories_of(tree_);
  Collected collected;
  for (const std::string& repository : repositories) {
    collected.files += collect_links(repository, before_s);
    collected.files += collect_uploads(repository, before_s);
  }
  collected.files += collect_contents(repositories, before_s);
  return collected;
}

// A manifest that cannot be read ends the round: what it needs is not known.
uint64_t Collector::collect_links(const std::string& repository, int64_t before_s) {
  Marks needed;
  for (const std::string_view algorithm : kAlgorithms)
    for (const std::string& hex :
         tree_.names(Tree::repository_path(repository, fmt::format("_manifests/{}", algorithm)))) {
      const std::optional<ContentDigest> digest = ContentDigest::parse(fmt::format("{}:{}", algorithm, hex));
      const std::optional<StoredManifest> stored =
          digest ? read_manifest(tree_, repository, *digest) : std::nullopt;
      if (!stored) continue;  // deleted meanwhile
      const ManifestFacts facts = read_manifest_facts(stored->bytes, stored->media_type);
      for (const auto* list : {&facts.blobs, &facts.elsewhere})
        for (const ContentDigest& blob : *list) needed.push_back(mark_of(blob.hex()));
    }
  sort(needed);
  uint64_t removed = 0;
  for (const std::string_view algorithm : kAlgorithms)
    for (const std::string& hex :
         tree_.names(Tree::repository_path(repository, fmt::format("_blobs/{}", algorithm)))) {
      const std::string path = Tree::repository_path(repository, fmt::format("_blobs/{}/{}", algorithm, hex));
      if (has(needed, hex) || !is_old(tree_, path, before_s)) continue;
      journal_.commit_now({Change::remove_if_unused(path, before_s)});
      if (!tree_.exists(path)) removed++;
    }
  return removed;
}

uint64_t Collector::collect_uploads(const std::string& repository, int64_t before_s) {
  uint64_t removed = 0;
  for (const std::string& id : tree_.names(Tree::repository_path(repository, "_uploads"))) {
    if (!is_old(tree_, Tree::upload_path(repository, id), before_s)) continue;
    const std::shared_ptr<Upload> upload = uploads_.find(repository, id);
    if (!upload) continue;
    upload->seal();
    uploads_.drop(*upload);
    removed++;
  }
  return removed;
}

uint64_t Collector::collect_contents(const std::vector<std::string>& repositories, int64_t before_s) {
  Marks linked;
  for (const std::string& repository : repositories)
    for (const std::string_view algorithm : kAlgorithms)
      for (const std::string& hex :
           tree_.names(Tree::repository_path(repository, fmt::format("_blobs/{}", algorithm))))
        linked.push_back(mark_of(hex));
  sort(linked);
  uint64_t removed = 0;
  for (const std::string_view algorithm : kAlgorithms)
    for (const std::string& first : tree_.names(fmt::format("blobs/{}", algorithm)))
      for (const std::string& hex : tree_.names(fmt::format("blobs/{}/{}", algorithm, first))) {
        const std::string path = fmt::format("blobs/{}/{}/{}", algorithm, first, hex);
        if (has(linked, hex) || !is_old(tree_, path, before_s)) continue;
        const std::optional<OpenedFile> file = tree_.open(path);
        journal_.commit_now({Change::remove_if_unused(path, before_s)});
        if (!file || tree_.exists(path)) continue;
        usage_.give_back(file->size);
        removed++;
      }
  return removed;
}

}  // namespace corten::registry::serving
