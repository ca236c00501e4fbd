// What the store says it has, read again.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "store/shelves.h"
#include "store/store.h"

namespace corten::store {

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  DIR* stream = opendir(directory.c_str());
  if (!stream) {
    if (errno == ENOENT) return names;
    fail_errno("read {}", directory);
  }
  while (dirent* item = readdir(stream))
    if (item->d_name[0] != '.') names.emplace_back(item->d_name);
  closedir(stream);
  return names;
}

void for_each_named(const std::string& directory,
                    const std::function<void(const std::string& path, const std::string& name)>& visit) {
  for (const std::string& shelf : names_in(directory))
    for (const std::string& name : names_in(directory + "/" + shelf))
      visit(directory + "/" + shelf + "/" + name, name);
}

namespace {

Digest digest_of_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return {};  // a content whose home is gone
  if (!fd) fd = open_stored(path);        // which says why not
  archive::FdSource from(fd.get(), path);
  archive::HashingSource hashing(from);
  archive::drain(hashing);
  return hashing.digest();
}

bool path_exists_through_links(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 || errno != ENOENT;
}

// Of a layer's directory: the first file that is not what the manifest says; "" when all are. Contents that
// live in it have been read as such. A delta has only some of the layer's files.
std::string wrong_in_body(const std::string& body, const Manifest& manifest, const Contents& contents) {
  bool is_delta = body.ends_with(".delta");
  for (const Entry& e : manifest.entries()) {
    if (e.type != EntryType::kFile || e.is_hard_link()) continue;
    std::string path = body + (is_delta ? "/tree/" : "/") + e.path.str();
    struct stat st, home;
    if (lstat(path.c_str(), &st) != 0) {
      if (is_delta) continue;
      return fmt::format("{} is missing", e.path.absolute());
    }
    if (!S_ISREG(st.st_mode)) return fmt::format("{} is no file", e.path.absolute());
    if (e.size > 0 && stat(contents.path(e.content).c_str(), &home) == 0 && home.st_ino == st.st_ino &&
        home.st_dev == st.st_dev)
      continue;
    bool is_right = e.size == 0 ? st.st_size == 0 : digest_of_file(path) == e.content;
    if (!is_right) return fmt::format("the bytes of {} have another digest", e.path.absolute());
  }
  return "";
}

// Seconds; of the inode's last change, which nobody can set back.
int64_t changed_at(const std::string& path) {
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) fail_errno("stat {}", path);
  return st.st_ctim.tv_sec;
}

// Columns that hold digests. A row in which one is something else is found by nobody, and stops whoever lists
// the rows.
constexpr std::pair<const char*, const char*> kDigestColumns[] = {
    {"layers", "id"},      {"bodies", "layer"},       {"diffs", "layer"},          {"diffs", "diff_id"},
    {"blobs", "diff_id"},  {"blobs", "digest"},       {"actions", "key"},          {"actions", "layer"},
    {"images", "id"},      {"tags", "image"},         {"indexes", "id"},           {"lineages", "family"},
    {"lineages", "layer"}, {"predecessors", "layer"}, {"predecessors", "earlier"}, {"absent", "layer"},
    {"absent", "blob"}};

std::string no_digest(std::string_view column) {
  return fmt::format("(typeof({0})<>'blob' OR length({0})<>32)", column);
}

void check_rows(Database& database, bool repair, std::vector<Store::Damage>& damages) {
  auto check = [&](std::string_view table, const std::string& condition, std::string_view wrong) {
    int64_t count = 0;
    {
      Statement row = database.prepare(fmt::format("SELECT count(*) FROM {} WHERE {}", table, condition));
      if (row.step()) count = row.integer(0);
    }
    if (count == 0) return;
    damages.push_back({fmt::format("index, {} of the rows of {}", count, table), std::string(wrong)});
    if (repair) database.execute(fmt::format("DELETE FROM {} WHERE {}", table, condition));
  };
  for (const auto& [table, column] : kDigestColumns)
    check(table, no_digest(column), fmt::format("{} is no digest", column));
  check("builds", "typeof(id)<>'text' OR length(id) NOT BETWEEN 1 AND 64 OR id GLOB '*[^0-9a-z]*'",
        "id is no id of a build");
}

// The ids of rows that check_rows() has nothing to say of.
std::vector<Digest> sound_ids(Database& database, std::string_view table) {
  std::vector<Digest> ids;
  Statement row = database.prepare(fmt::format("SELECT id FROM {} WHERE NOT {}", table, no_digest("id")));
  while (row.step()) ids.push_back(row.digest(0));
  return ids;
}

}  // namespace

void Store::recover_after_crash() {
  auto is_done = [&] { return fact("boot") == boot_id(); };
  if (boot_id().empty() || is_done()) return;
  // Of several that come first one does it, and goes on to use the store: the others must not wait for that.
  FileLock exclusive = exclusive_lock(is_done);
  if (exclusive.held() && !is_done()) {
    // A tick before the barrier, for clocks that are coarse.
    int64_t durable = std::max<int64_t>(parse_int(fact("durable")).value_or(0), 0) - 1;
    bool is_new = true;  // a new store has nothing to lose, and waits for no disk
    for (const char* kind : {"contents", "layers", "blobs"})
      for_each_named(path_ + "/" + kind, [&](const std::string& path, const std::string& name) {
        is_new = false;
        if (changed_at(path) < durable) return;
        auto expected = Digest::try_parse("sha256:" + name);
        if (!expected || digest_of_file(path) != *expected) remove_tree(path);
      });
    const Contents::Homes homes = contents_->homes();
    for_each_named(path_ + "/dirs", [&](const std::string& path, const std::string&) {
      if (changed_at(path) >= durable) layers_->remove_body(path, homes);
    });
    if (!is_new) make_durable();
    database_->durable_transaction([&] { set_fact("boot", boot_id()); });
  }
  exclusive.release();
  lock_ = FileLock::shared(path_ + "/lock");
}

std::vector<Store::Damage> Store::check(bool repair) {
  std::vector<Damage> damages;
  FileLock exclusive = exclusive_lock();
  for (const char* kind : {"contents", "layers", "blobs"})
    for_each_named(path_ + "/" + kind, [&](const std::string& path, const std::string& name) {
      auto expected = Digest::try_parse("sha256:" + name);
      if (!path_exists_through_links(path)) {
        // A kill between a body and the links to it: the content is missing, which is damage only to a layer
        // that names it.
        if (repair) remove_tree(path);
        return;
      }
      if (expected && digest_of_file(path) == *expected) return;
      damages.push_back({fmt::format("{} {}", kind, name),
                         expected ? "its bytes have another digest" : "its name is no digest"});
      if (repair) remove_tree(path);
    });

  // A layer without its manifest or without one of its contents is of no use, nor are actions and images that
  // need it.
  // Of one that is known to lie elsewhere only the manifest has to be here; no image may need it.
  std::set<Digest> whole, known;
  for_each_named(path_ + "/layers", [&](const std::string&, const std::string& name) {
    auto id = Digest::try_parse("sha256:" + name);
    if (!id) return;
    try {
      const auto manifest = layers_->load(*id);
      known.insert(*id);
      if (layers_->is_absent(*id)) return;
      for (const Entry& entry : manifest->entries())
        if (entry.type == EntryType::kFile && entry.size > 0 && !contents_->exists(entry.content))
          fail(ErrorCode::kCorrupt, "content {} of {} is missing", entry.content.short_hex(),
               entry.path.absolute());
      whole.insert(*id);
    } catch (const Error& error) {
      known.erase(*id);
      // One that was to come from elsewhere and did not is nobody's any more.
      const bool is_left = !layers_->is_whole(*id) && !layers_->is_absent(*id);
      if (is_left && !repair) return;
      if (!is_left) damages.push_back({"layer " + name, error.what()});
      if (repair) remove_tree(path_ + "/layers/" + name.substr(0, 2) + "/" + name);
    }
  });
  const Contents::Homes homes = contents_->homes();
  for_each_named(path_ + "/dirs", [&](const std::string& path, const std::string& name) {
    auto id = Digest::try_parse("sha256:" + name.substr(0, 64));
    std::string wrong = id && whole.contains(*id) ? wrong_in_body(path, *layers_->load(*id), *contents_) : "";
    if (!wrong.empty()) damages.push_back({"directory " + name, wrong});
    // What a layer left behind that is no more may be what made it so: nobody shall find it under its name.
    bool is_left = !id || !known.contains(*id);
    if (repair && (is_left || !wrong.empty())) layers_->remove_body(path, homes);
  });
  check_rows(*database_, repair, damages);
  std::vector<Digest> lost_actions;
  {
    Statement row = database_->prepare(fmt::format("SELECT key, layer FROM actions WHERE NOT ({} OR {})",
                                                   no_digest("key"), no_digest("layer")));
    while (row.step())
      if (!known.contains(row.digest(1))) lost_actions.push_back(row.digest(0));
  }
  for (const Digest& key : lost_actions) {
    damages.push_back({"action " + key.hex(), "its layer is missing"});
    if (repair) database_->prepare("DELETE FROM actions WHERE key=?").bind(key).run();
  }
  for (const Digest& id : sound_ids(*database_, "images")) {
    try {
      auto image = image_by_id(id);
      if (!image) continue;
      for (const LayerRef& layer : image->layers)
        if (!whole.contains(layer.id))
          fail(ErrorCode::kCorrupt, "its layer {} is missing", layer.id.short_hex());
    } catch (const Error& error) {
      damages.push_back({"image " + id.to_string(), error.what()});
      if (repair) delete_image(id);
    }
  }
  for (const Digest& id : sound_ids(*database_, "indexes")) {
    try {
      auto index = index_by_id(id);
      if (!index) continue;
      for (const ImageIndex::Member& member : index->members) {
        Statement row = database_->prepare("SELECT 1 FROM images WHERE id=?");
        row.bind(member.image);
        if (!row.step()) fail(ErrorCode::kCorrupt, "its image for {} is missing", member.platform.format());
      }
    } catch (const Error& error) {
      damages.push_back({"index " + id.to_string(), error.what()});
      if (repair) delete_index(id);
    }
  }
  exclusive.release();
  lock_ = FileLock::shared(path_ + "/lock");
  return damages;
}

}  // namespace corten::store
