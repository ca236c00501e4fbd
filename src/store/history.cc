// Builds that were, and what `why` needs to know of them. They outlive the images that they made.
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "store/shelves.h"
#include "store/store.h"

namespace corten::store {

static constexpr int64_t kMostBuilds = 500;
static constexpr uint64_t kMostListBytes = 256 << 20, kLongestList = 64 << 20;

// A build's directory is renamed and removed: a row that says anything else than an id leads nowhere.
static bool is_build_id(std::string_view id) {
  constexpr size_t kMost = 64;
  return !id.empty() && id.size() <= kMost &&
         id.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz") == id.npos;
}

std::string Store::build_directory(std::string_view id) const {
  if (!is_build_id(id)) fail(ErrorCode::kInvalid, "build {}: no id of a build", quote(id));
  return fmt::format("{}/builds/{}", path_, id);
}

BuildPlace Store::begin_build(const std::string& id) {
  forget_old_builds();
  BuildPlace place;
  place.directory = build_directory(id);
  make_directories_on_host(place.directory, 0700);
  place.lock = FileLock::exclusive(place.directory + "/lock");
  return place;
}

void Store::save_build(const BuildRecord& record) {
  database_
      ->prepare("INSERT OR REPLACE INTO builds(id,started,finished,status,name,record) VALUES(?,?,?,?,?,?)")
      .bind(record.id)
      .bind(record.started_ns)
      .bind(record.finished_ns)
      .bind(record.status)
      .bind(record.name)
      .bind(record.details.dump())
      .run();
}

static BuildRecord read_row(Statement& row) {
  BuildRecord record{row.text(0), row.integer(1), row.integer(2), row.text(3), row.text(4), {}};
  try {
    record.details = Json::parse(row.text(5));
  } catch (const Error&) {
    // A name that is no UTF-8, or a damaged row: the rest is good.
  }
  return record;
}

std::vector<BuildRecord> Store::builds(size_t most) {
  std::vector<BuildRecord> found;
  {
    Statement row = database_->prepare(
        "SELECT id, started, finished, status, name, record FROM builds ORDER BY started DESC, id LIMIT ?");
    row.bind(static_cast<int64_t>(most));
    while (row.step())
      if (BuildRecord record = read_row(row); is_build_id(record.id)) found.push_back(std::move(record));
  }
  for (BuildRecord& record : found) {
    if (record.status != "running") continue;
    // Who runs holds the lock; a build that was killed could not write that it was.
    FileLock lock;
    if (FileLock::try_exclusive_unless_gone(build_directory(record.id) + "/lock", lock))
      record.status = "killed";
  }
  return found;
}

BuildRecord Store::find_build(std::string_view text) {
  std::vector<BuildRecord> all = builds();
  if (all.empty())
    throw Error(ErrorCode::kNotFound, "no build is remembered").with_hint("'corten build' makes the first");
  if (text.empty()) return all.front();
  if (text.starts_with('^')) {
    auto back = parse_int(text.substr(1));
    if (!back || *back < 0)
      fail(ErrorCode::kUsage, "build {}: ^N is the N-th before the newest", quote(text));
    if (static_cast<size_t>(*back) >= all.size())
      fail(ErrorCode::kNotFound, "build {}: there are {}", quote(text), all.size());
    return all[static_cast<size_t>(*back)];
  }
  constexpr size_t kShortest = 3;
  const BuildRecord* found = nullptr;
  for (const BuildRecord& record : all) {
    if (record.id == text) return record;
    if (text.size() < kShortest || !record.id.starts_with(text)) continue;
    if (found) fail(ErrorCode::kInvalid, "build {}: several begin so", quote(text));
    found = &record;
  }
  if (found) return *found;
  for (const BuildRecord& record : all)
    if (record.name == text) return record;  // the newest of that name
  throw Error(ErrorCode::kNotFound, fmt::format("no such build: {}", text))
      .with_hint("'corten builds' lists those that are remembered");
}

// Builds that begin at once forget the same old one: whoever moves its directory away removes it.
void Store::delete_build(const std::string& id) {
  TempDir place = temporary("build");
  if (rename(build_directory(id).c_str(), (place.path() + "/build").c_str()) != 0 && errno != ENOENT)
    fail_errno("remove {}", build_directory(id));
  database_->prepare("DELETE FROM builds WHERE id=?").bind(id).run();
}

void Store::forget_old_builds() {
  std::vector<std::string> old;
  {
    Statement row = database_->prepare("SELECT id FROM builds ORDER BY started DESC, id LIMIT -1 OFFSET ?");
    row.bind(kMostBuilds - 1);
    while (row.step())
      if (is_build_id(row.text(0))) old.push_back(row.text(0));
  }
  for (const std::string& id : old) {
    FileLock lock;
    if (FileLock::try_exclusive_unless_gone(build_directory(id) + "/lock", lock)) delete_build(id);
  }
}

std::string Store::history_key() {
  constexpr size_t kBytes = 32;
  std::string file = path_ + "/history-key";
  if (path_exists(file))
    if (std::string key = read_file(file, 4096); key.size() == kBytes) return key;
  std::string key(kBytes, '\0');
  if (getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(kBytes)) fail_errno("get random bytes");
  write_file_atomic(file, key, 0600);
  return read_file(file, 4096);  // of two that make it at once the later one wins
}

void Store::save_list(const Digest& digest, const std::function<std::string()>& make) {
  std::string file = fmt::format("{}/lists/{}", path_, digest.hex());
  if (utimensat(AT_FDCWD, file.c_str(), nullptr, 0) == 0) return;
  std::string bytes = make();
  if (bytes.size() > kLongestList) return;
  trim_lists(bytes.size());
  TempDir place = temporary("list-");
  UniqueFd fd = open_file(place / "list", O_WRONLY | O_CREAT | O_EXCL, 0600);
  write_fully(fd.get(), bytes, "list");
  fd.close_checked("list");
  if (rename((place / "list").c_str(), file.c_str()) != 0) fail_errno("store list {}", digest.hex());
}

std::optional<std::string> Store::read_list(const Digest& digest) const {
  std::string file = fmt::format("{}/lists/{}", path_, digest.hex());
  if (!path_exists(file)) return std::nullopt;
  return read_file(file, kLongestList);
}

// Those that were not needed for the longest time go, so that the others and the new one fit.
void Store::trim_lists(uint64_t coming) {
  struct Item {
    int64_t used;
    uint64_t bytes;
    std::string path;
  };
  std::vector<Item> items;
  uint64_t sum = coming;
  for (const std::string& name : names_in(path_ + "/lists")) {
    std::string path = path_ + "/lists/" + name;
    struct stat st;
    if (lstat(path.c_str(), &st) != 0) continue;
    items.push_back({st.st_mtim.tv_sec, static_cast<uint64_t>(st.st_size), path});
    sum += items.back().bytes;
  }
  if (sum <= kMostListBytes) return;
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.used < b.used; });
  for (const Item& item : items) {
    if (sum <= kMostListBytes) return;
    unlink(item.path.c_str());
    sum -= item.bytes;
  }
}

}  // namespace corten::store
