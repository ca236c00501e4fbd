#include "store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "store/stock.h"

namespace corten::store {

static constexpr std::string_view kFormat = "corten-store-1\n";

const std::string& boot_id() {
  static const std::string id = [] {
    try {
      return std::string(trim(read_file("/proc/sys/kernel/random/boot_id", 256)));
    } catch (const Error&) {
      return std::string();  // no /proc: nothing is known to have survived a crash, nor that there was one
    }
  }();
  return id;
}

std::string Store::default_path() {
  auto variable = [](const char* name) {
    const char* value = getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string path = variable("CORTEN_STORE"); !path.empty()) return path;
  if (geteuid() == 0) return "/var/lib/corten";
  if (std::string data = variable("XDG_DATA_HOME"); data.starts_with('/')) return data + "/corten";
  std::string home = variable("HOME");
  if (home.empty())
    throw Error(ErrorCode::kInvalid, "no place for the store: HOME is not set")
        .with_hint("set CORTEN_STORE=DIR");
  return home + "/.local/share/corten";
}

Store::Store(const std::string& path, std::function<void(std::string_view)> on_wait)
    : path_(path), on_wait_(std::move(on_wait)) {
  try {
    open_directories();
  } catch (Error& error) {
    if (error.code() == ErrorCode::kPermission)
      error.set_hint("choose a store that can be written to: CORTEN_STORE=DIR");
    throw;
  }
  database_ = std::make_unique<Database>(path_ + "/index.db");
  contents_ = std::make_unique<Contents>(path_ + "/contents", *lease_);
  layers_ = std::make_unique<Layers>(path_, *database_, *contents_, *lease_);
}

Store::~Store() {
  try {
    save_uses();
  } catch (const Error&) {
    // When something was used last is worth no failure.
  }
}

void Store::release() {
  save_uses();
  lease_->end();
  lock_.release();
}

// One transaction a command, and none when nothing was used.
void Store::save_uses() {
  if (!database_ || !lock_.held()) return;
  std::set<Digest> actions, blobs;
  {
    std::lock_guard lock(uses_mutex_);
    actions.swap(used_actions_);
    blobs.swap(used_blobs_);
  }
  int64_t now = time(nullptr);
  if (actions.empty() && blobs.empty() && !layers_->has_uses()) return;
  database_->transaction([&] {
    for (const Digest& key : actions)
      database_->prepare("UPDATE actions SET used=? WHERE key=?").bind(now).bind(key).run();
    for (const Digest& digest : blobs)
      database_->prepare("UPDATE blobs SET used=? WHERE digest=?").bind(now).bind(digest).run();
    layers_->save_uses(now);
  });
}

// A command that has the store for itself may take it away as a whole: then there is a new lock.
FileLock Store::shared_lock() {
  constexpr int64_t kSilentNs = 2'000'000'000;
  FileLock lock;
  struct stat st;
  bool is_told = false;
  for (int64_t began = monotonic_ns();; usleep(20'000)) {
    make_directories_on_host(path_, 0755);
    if (FileLock::try_shared(path_ + "/lock", lock) && fstat(lock.fd(), &st) == 0 && st.st_nlink > 0)
      return lock;
    if (is_told || monotonic_ns() - began < kSilentNs) continue;
    is_told = true;
    if (on_wait_)
      on_wait_(fmt::format(
          "waiting for the store {}: another command (fsck, prune --everything) has it for itself", path_));
  }
}

void Store::open_directories() {
  make_directories_on_host(path_, 0755);
  struct stat st;
  if (stat(path_.c_str(), &st) != 0) fail_errno("store {}", path_);
  if (st.st_uid != geteuid())
    throw Error(ErrorCode::kPermission,
                fmt::format("store {}: belongs to user {}, we are user {}", path_, st.st_uid, geteuid()));
  if (!path_.starts_with('/')) {
    char* real = realpath(path_.c_str(), nullptr);
    if (!real) fail_errno("store {}", path_);
    path_ = real;
    free(real);
  }
  lock_ = shared_lock();
  lease_ = std::make_unique<Lease>(path_);
  std::string format_file = path_ + "/format";
  if (!path_exists(format_file)) {
    write_file_atomic(format_file, kFormat);
    // Foreign ids own files below; their names must not be everybody's to read.
    if (chmod(path_.c_str(), 0700) != 0) fail_errno("store {}", path_);
  } else if (std::string format = read_file(format_file, 256); format != kFormat) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("store {}: format {}, ours is {}", path_, quote(trim(format)), trim(kFormat)))
        .with_hint("use another store: CORTEN_STORE=DIR");
  }
  // Commands of versions without leases hold nothing: they must be done before the first lease is made. (A
  // new store has leases before it has anything for them.)
  auto has_leases = [&] { return path_exists(path_ + "/leases"); };
  if (path_exists(path_ + "/tmp") && !has_leases()) {
    lock_ = exclusive_lock(has_leases);
    if (lock_.held()) {
      make_directories_on_host(path_ + "/leases", 0700);
      lock_.downgrade();
    } else {
      lock_ = shared_lock();
    }
  }
  for (const char* name : {"contents", "layers", "dirs", "blobs", "mounts", "builds", "containers", "volumes",
                           "git", "lists", "locks", "stat", "leases", "tmp"})
    if (mkdir((path_ + "/" + name).c_str(), 0700) != 0 && errno != EEXIST)
      fail_errno("store {}/{}", path_, name);
}

std::string Store::blob_path(const Digest& digest) const {
  std::string hex = digest.hex();
  return path_ + "/blobs/" + hex.substr(0, 2) + "/" + hex;
}

bool Store::has_blob(const Digest& digest) {
  lease_->hold(Held::kBlob, digest);
  {
    std::lock_guard lock(uses_mutex_);
    used_blobs_.insert(digest);
  }
  return path_exists(blob_path(digest));
}

std::string Store::read_blob(const Digest& digest, size_t max_bytes) const {
  std::string bytes = read_file(blob_path(digest), max_bytes);
  if (Digest::of(bytes) != digest)
    throw Error(ErrorCode::kCorrupt,
                fmt::format("blob {}: its bytes have another digest", digest.to_string()))
        .with_hint("run 'corten fsck --repair'");
  return bytes;
}

Digest Store::write_blob(std::string_view bytes) {
  Digest digest = Digest::of(bytes);
  if (has_blob(digest)) return digest;
  TempDir place = temporary("blob-");
  UniqueFd file = open_file(place / "blob", O_WRONLY | O_CREAT | O_EXCL, 0644);
  write_fully(file.get(), bytes, "blob");
  file.close_checked("blob");
  place_blob(place / "blob", digest);
  return digest;
}

void Store::place_blob(const std::string& temporary_file, const Digest& digest) {
  std::string target = blob_path(digest);
  lease_->hold(Held::kBlob, digest);
  make_directories_on_host(HostPath{target}.parent(), 0700);
  if (rename(temporary_file.c_str(), target.c_str()) != 0) fail_errno("store blob {}", digest.to_string());
}

std::optional<Action> Store::find_action(const Digest& key) {
  Action action;
  {
    Statement row = database_->prepare("SELECT kind, layer, time, record FROM actions WHERE key=?");
    row.bind(key);
    if (!row.step()) return std::nullopt;
    action = {key, row.text(0), {row.digest(1), row.integer(2)}, row.text(3)};
  }
  if (!layers_->has(action.layer.id)) return std::nullopt;
  std::lock_guard lock(uses_mutex_);
  used_actions_.insert(key);
  return action;
}

void Store::record_action(const Action& action) {
  int64_t now = time(nullptr);
  database_
      ->prepare(
          "INSERT OR REPLACE INTO actions(key,kind,layer,time,record,created,used) VALUES(?,?,?,?,?,?,?)")
      .bind(action.key)
      .bind(action.kind)
      .bind(action.layer.id)
      .bind(action.layer.time)
      .bind(action.record)
      .bind(now)
      .bind(now)
      .run();
}

std::vector<Action> Store::actions() {
  std::vector<Action> found;
  Statement row =
      database_->prepare("SELECT key, kind, layer, time, record FROM actions ORDER BY created DESC");
  while (row.step())
    found.push_back({row.digest(0), row.text(1), {row.digest(2), row.integer(3)}, row.text(4)});
  return found;
}

void Store::make_durable() {
  TraceSpan span("sync the store");
  int64_t begun = time(nullptr);
  // Those that are there now: what another build adds while this one syncs is not on disk by that.
  std::vector<Digest> written;
  {
    Statement row = database_->prepare("SELECT id FROM layers WHERE boot=?");
    row.bind(boot_id());
    while (row.step()) written.push_back(row.digest(0));
  }
  UniqueFd fd = open_file(path_, O_RDONLY | O_DIRECTORY);
  if (syncfs(fd.get()) != 0) fail_errno("sync {}", path_);
  database_->transaction([&] {
    for (const Digest& layer : written)
      database_->prepare("UPDATE layers SET boot=NULL WHERE id=?").bind(layer).run();
    set_fact("durable", std::to_string(begun));
  });
}

std::string Store::fact(std::string_view name) {
  Statement row = database_->prepare("SELECT value FROM facts WHERE name=?");
  row.bind(name);
  return row.step() ? row.text(0) : "";
}

void Store::set_fact(std::string_view name, std::string_view value) {
  database_->prepare("INSERT OR REPLACE INTO facts(name,value) VALUES(?,?)").bind(name).bind(value).run();
}

bool Store::is_durable(const Image& image, const std::string& layers) {
  if (!has_blob(image.id)) return false;
  Statement row = database_->prepare("SELECT layers FROM images WHERE id=?");
  row.bind(image.id);
  if (!row.step() || row.text(0) != layers) return false;
  return std::all_of(image.layers.begin(), image.layers.end(), [&](const LayerRef& layer) {
    Statement synced = database_->prepare("SELECT boot IS NULL FROM layers WHERE id=?");
    synced.bind(layer.id);
    return synced.step() && synced.integer(0) == 1;
  });
}

void Store::save_image(const Image& image) {
  Json layer_list = Json::array();
  for (const LayerRef& layer : image.layers)
    layer_list.push_back(Json::object({{"layer", layer.id.hex()}, {"time", layer.time}}));
  const std::string layers = layer_list.dump();
  layers_->need(image.layers);  // an image is whole
  if (!is_durable(image, layers)) {
    write_blob(image.config);
    make_durable();
  }
  int64_t now = time(nullptr);
  database_->durable_transaction([&] {
    database_->prepare("INSERT OR REPLACE INTO images(id,layers,size,created,added) VALUES(?,?,?,'',?)")
        .bind(image.id)
        .bind(layers)
        .bind(static_cast<int64_t>(image.size))
        .bind(now)
        .run();
    for (const std::string& tag : image.tags)
      database_->prepare("INSERT OR REPLACE INTO tags(name,image,added) VALUES(?,?,?)")
          .bind(tag)
          .bind(image.id)
          .bind(now)
          .run();
  });
}

Image Store::read_image_row(Statement& row) {
  Image image;
  image.id = row.digest(0);
  image.layers = parse_layers(row.text(1));
  image.size = static_cast<uint64_t>(row.integer(2));
  image.added = row.integer(3);
  return image;
}

std::optional<Image> Store::image_by_id(const Digest& id) {
  lease_->hold(Held::kBlob, id);
  auto image = read_image(id);
  if (!image) return image;
  std::vector<Digest> layers;
  for (const LayerRef& layer : image->layers) layers.push_back(layer.id);
  lease_->hold(Held::kLayer, layers);
  return image;
}

std::optional<Image> Store::read_image(const Digest& id) {
  Image image;
  {
    Statement row = database_->prepare("SELECT id, layers, size, added FROM images WHERE id=?");
    row.bind(id);
    if (!row.step()) return std::nullopt;
    image = read_image_row(row);
  }
  Statement tag = database_->prepare("SELECT name FROM tags WHERE image=? ORDER BY name");
  tag.bind(id);
  while (tag.step()) image.tags.push_back(tag.text(0));
  image.config = read_blob(id, 64 << 20);
  return image;
}

std::vector<Image> Store::images() {
  std::vector<Digest> ids;
  {
    Statement row = database_->prepare("SELECT id FROM images ORDER BY added DESC, id");
    while (row.step()) ids.push_back(row.digest(0));
  }
  std::vector<Image> found;
  for (const Digest& id : ids) {
    try {
      if (auto image = read_image(id)) found.push_back(std::move(*image));
    } catch (const Error&) {
      Statement row = database_->prepare("SELECT 1 FROM images WHERE id=?");
      row.bind(id);
      if (row.step()) throw;  // else it was taken away this moment
    }
  }
  return found;
}

// In `images` or `indexes`: by tag, id, or the beginning of an id.
std::optional<Digest> Store::find_id(std::string_view table, std::string_view name_or_id) {
  {
    Statement row = database_->prepare(
        fmt::format("SELECT t.image FROM tags t JOIN {} i ON i.id=t.image WHERE t.name=?", table));
    row.bind(name_or_id);
    if (row.step()) return row.digest(0);
  }
  std::string_view hex = name_or_id;
  if (hex.starts_with("sha256:")) hex.remove_prefix(7);
  bool is_hex = hex.size() >= 3 && hex.size() <= 64 && hex.find_first_not_of("0123456789abcdef") == hex.npos;
  if (!is_hex) return std::nullopt;
  std::optional<Digest> match;
  Statement row =
      database_->prepare(fmt::format("SELECT id FROM {} WHERE lower(hex(id)) LIKE ? || '%'", table));
  row.bind(hex);
  while (row.step()) {
    if (match) fail(ErrorCode::kInvalid, "image id {}: more than one image begins so", hex);
    match = row.digest(0);
  }
  return match;
}

std::optional<Image> Store::find_image(std::string_view name_or_id, const oci::Platform& wanted) {
  if (auto id = find_id("images", name_or_id)) return image_by_id(*id);
  auto index = find_index(name_or_id);
  if (!index) return std::nullopt;
  const ImageIndex::Member* member = index->choose(wanted);
  if (!member)
    throw Error(ErrorCode::kNotFound,
                fmt::format("{}: no match for platform {} in the index", name_or_id, wanted.format()))
        .with_hint("it has " + index->platforms());
  return image_by_id(member->image);
}

std::optional<Image> Store::find_image(std::string_view name_or_id) {
  return find_image(name_or_id, oci::host_platform());
}

void Store::tag_image(const Digest& id, const std::string& tag) {
  database_->prepare("INSERT OR REPLACE INTO tags(name,image,added) VALUES(?,?,?)")
      .bind(tag)
      .bind(id)
      .bind(static_cast<int64_t>(time(nullptr)))
      .run();
}

bool Store::untag(const std::string& tag) {
  database_->prepare("DELETE FROM tags WHERE name=?").bind(tag).run();
  return database_->changes() > 0;
}

bool Store::has_tag(std::string_view tag) {
  Statement row = database_->prepare("SELECT 1 FROM tags WHERE name=?");
  row.bind(tag);
  return row.step();
}

void Store::delete_image(const Digest& id) {
  database_->transaction([&] {
    database_->prepare("DELETE FROM tags WHERE image=?").bind(id).run();
    database_->prepare("DELETE FROM images WHERE id=?").bind(id).run();
  });
}

TempDir Store::temporary(const std::string& prefix) {
  return TempDir::make(lease_->temporary(), prefix + "-");
}

std::string Store::lock_path(std::string_view name) const {
  return path_ + "/locks/" + std::string(name);
}

void Store::hold_git(std::string_view remote) {
  lease_->hold(Held::kGit, Digest::of(remote));
}

std::string Store::cache_mount_directory(std::string_view id, std::string_view sharing,
                                         std::string_view owner) {
  lease_->hold(Held::kMount, Digest::of(id));
  std::string hex = Digest::of(id).hex().substr(0, 32);
  std::string directory = path_ + "/mounts/" + hex;
  make_directories_on_host(directory, 0700);
  int64_t now = time(nullptr);
  database_
      ->prepare(
          "INSERT INTO cache_mounts(id,name,created,used,sharing,owner) VALUES(?,?,?,?,?,?) ON CONFLICT(id) "
          "DO "
          "UPDATE SET used=excluded.used, sharing=excluded.sharing, owner=excluded.owner")
      .bind(hex)
      .bind(id)
      .bind(now)
      .bind(now)
      .bind(sharing)
      .bind(owner)
      .run();
  return directory;
}

std::string Store::volume_directory(std::string_view name) {
  std::string directory = path_ + "/volumes/" + std::string(name);
  make_directories_on_host(directory, 0755);
  return directory;
}

}  // namespace corten::store
