#include "store/database.h"

#include <fmt/core.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

namespace corten::store {

// docs/formats, "Index". A new version adds a step to migrate(), never edits an old one.
static constexpr int kVersion = 7;
static constexpr const char* kSchema1 = R"(
CREATE TABLE layers(id BLOB PRIMARY KEY, entries INTEGER, bytes INTEGER, boot TEXT, used INTEGER) WITHOUT ROWID;
CREATE TABLE bodies(layer BLOB, time INTEGER, mapping TEXT, used INTEGER, PRIMARY KEY(layer, time, mapping)) WITHOUT ROWID;
CREATE TABLE diffs(layer BLOB, time INTEGER, diff_id BLOB, tar_bytes INTEGER, PRIMARY KEY(layer, time)) WITHOUT ROWID;
CREATE INDEX diffs_by_id ON diffs(diff_id);
CREATE TABLE blobs(diff_id BLOB, format TEXT, digest BLOB, size INTEGER, PRIMARY KEY(diff_id, format)) WITHOUT ROWID;
CREATE TABLE actions(key BLOB PRIMARY KEY, kind TEXT, layer BLOB, time INTEGER, record TEXT, created INTEGER, used INTEGER) WITHOUT ROWID;
CREATE TABLE images(id BLOB PRIMARY KEY, layers TEXT, size INTEGER, created TEXT, added INTEGER) WITHOUT ROWID;
CREATE TABLE tags(name TEXT PRIMARY KEY, image BLOB, added INTEGER) WITHOUT ROWID;
CREATE TABLE builds(id TEXT PRIMARY KEY, started INTEGER, finished INTEGER, status TEXT, name TEXT, record TEXT) WITHOUT ROWID;
CREATE TABLE cache_mounts(id TEXT PRIMARY KEY, name TEXT, created INTEGER, used INTEGER) WITHOUT ROWID;
)";
static constexpr const char* kSchema2 =
    "CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;";
// `tags.image` is an image's id or an index's.
static constexpr const char* kSchema3 =
    "CREATE TABLE indexes(id BLOB PRIMARY KEY, members TEXT, added INTEGER) WITHOUT ROWID;";
// Which layer a step gave last, and which layer came before a layer (store/succession.cc).
static constexpr const char* kSchema4 = R"(
CREATE TABLE IF NOT EXISTS lineages(family BLOB PRIMARY KEY, layer BLOB, time INTEGER, used INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS predecessors(layer BLOB, time INTEGER, earlier BLOB, earlier_time INTEGER, PRIMARY KEY(layer, time)) WITHOUT ROWID;
)";
// What is noted beside a tar and a blob so that a later version of the layer costs only what changed.
static constexpr const char* kSchema5 =
    "ALTER TABLE diffs ADD COLUMN checkpoints BLOB; ALTER TABLE blobs ADD COLUMN recipe BLOB;";
// Collecting by last use: when blobs were used, and whose cache mounts are.
static constexpr const char* kSchema6 =
    "ALTER TABLE blobs ADD COLUMN used INTEGER;"
    "ALTER TABLE cache_mounts ADD COLUMN sharing TEXT;"
    "ALTER TABLE cache_mounts ADD COLUMN owner TEXT;";
// Layers whose contents may be missing, and where they lie: a row with the place "" for each, and one a
// place.
static constexpr const char* kSchema7 =
    "CREATE TABLE absent(layer BLOB, place TEXT, media_type TEXT, blob BLOB, size INTEGER, "
    "PRIMARY KEY(layer, place)) WITHOUT ROWID;";

struct Database::State {
  sqlite3* handle = nullptr;
  std::recursive_mutex mutex;
  std::string path;

  ~State() { sqlite3_close(handle); }

  [[noreturn]] void failed(int code) {
    std::string text = handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
    ErrorCode kind = ErrorCode::kIo;
    if (code == SQLITE_FULL) kind = ErrorCode::kNoSpace;
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) kind = ErrorCode::kCorrupt;
    if (code == SQLITE_READONLY || code == SQLITE_PERM || code == SQLITE_CANTOPEN)
      kind = ErrorCode::kPermission;
    Error error(kind, fmt::format("store index {}: {}", path, text));
    if (kind == ErrorCode::kPermission)
      error.set_hint("choose a store that can be written to: CORTEN_STORE=DIR");
    if (kind == ErrorCode::kCorrupt)
      error.set_hint("remove the index; images and layers are found again: corten fsck --repair");
    throw error;
  }
};

struct Statement::State {
  Database::State* database;
  std::unique_lock<std::recursive_mutex> lock;
  sqlite3_stmt* handle = nullptr;
  int next = 1;

  ~State() { sqlite3_finalize(handle); }
  void check(int code) {
    if (code != SQLITE_OK) database->failed(code);
  }
};

Statement::Statement(std::unique_ptr<State> state) : state_(std::move(state)) {}
Statement::Statement(Statement&&) noexcept = default;
Statement::~Statement() = default;

Statement& Statement::bind(int64_t value) {
  state_->check(sqlite3_bind_int64(state_->handle, state_->next++, value));
  return *this;
}
Statement& Statement::bind(std::string_view text) {
  state_->check(sqlite3_bind_text64(state_->handle, state_->next++, text.data(), text.size(),
                                    SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}
Statement& Statement::bind(const Digest& digest) {
  state_->check(
      sqlite3_bind_blob(state_->handle, state_->next++, digest.bytes().data(), 32, SQLITE_TRANSIENT));
  return *this;
}
Statement& Statement::bind(std::nullptr_t) {
  state_->check(sqlite3_bind_null(state_->handle, state_->next++));
  return *this;
}

bool Statement::step() {
  int code = sqlite3_step(state_->handle);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) state_->database->failed(code);
  return false;
}

int64_t Statement::integer(int column) {
  return sqlite3_column_int64(state_->handle, column);
}
bool Statement::is_null(int column) {
  return sqlite3_column_type(state_->handle, column) == SQLITE_NULL;
}
std::string Statement::text(int column) {
  const void* data = sqlite3_column_blob(state_->handle, column);
  return {static_cast<const char*>(data),
          data ? static_cast<size_t>(sqlite3_column_bytes(state_->handle, column)) : 0};
}
Digest Statement::digest(int column) {
  std::string bytes = text(column);
  if (bytes.size() != 32)
    throw Error(ErrorCode::kCorrupt, fmt::format("store index: a digest has {} bytes", bytes.size()))
        .with_hint("run 'corten fsck --repair'");
  std::array<uint8_t, 32> array;
  std::copy(bytes.begin(), bytes.end(), array.begin());
  return Digest(array);
}

static void migrate(Database& database) {
  database.transaction([&] {
    Statement version = database.prepare("PRAGMA user_version");
    version.step();
    int64_t found = version.integer(0);
    if (found > kVersion)
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("the store was made by a newer version (format {}, ours is {})", found, kVersion))
          .with_hint("use that version, or another store: CORTEN_STORE=DIR");
    if (found == kVersion) return;
    if (found < 1) database.execute(kSchema1);
    if (found < 2) database.execute(kSchema2);
    if (found < 3) database.execute(kSchema3);
    if (found < 4) database.execute(kSchema4);
    if (found < 5) database.execute(kSchema5);
    if (found < 6) database.execute(kSchema6);
    if (found < 7) database.execute(kSchema7);
    database.execute(fmt::format("PRAGMA user_version={}", kVersion));
  });
}

Database::Database(const std::string& path) : state_(std::make_unique<State>()) {
  state_->path = path;
  int code = sqlite3_open_v2(path.c_str(), &state_->handle,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) state_->failed(code);
  constexpr int kPatienceMs = 60'000;
  sqlite3_busy_timeout(state_->handle, kPatienceMs);
  // Of several that make the index at once each reads it and wants it for itself then. SQLite sees that they
  // would wait for each other, and asks nobody to be patient.
  const int64_t began = monotonic_ns();
  do {
    code = sqlite3_exec(state_->handle, "PRAGMA journal_mode=WAL", nullptr, nullptr, nullptr);
    if (code != SQLITE_BUSY) break;
    usleep(1'000 + static_cast<unsigned>(getpid()) % 4'000);
  } while (monotonic_ns() - began < int64_t{kPatienceMs} * 1'000'000);
  if (code != SQLITE_OK) state_->failed(code);
  execute("PRAGMA synchronous=NORMAL");  // a lost action is a miss; images are synced by Store::make_durable
  migrate(*this);
}

Database::~Database() = default;

Statement Database::prepare(std::string_view sql) {
  auto state = std::make_unique<Statement::State>();
  state->lock = std::unique_lock(state_->mutex);
  state->database = state_.get();
  state->check(
      sqlite3_prepare_v2(state_->handle, sql.data(), static_cast<int>(sql.size()), &state->handle, nullptr));
  return Statement(std::move(state));
}

void Database::execute(std::string_view sql) {
  std::lock_guard lock(state_->mutex);
  int code = sqlite3_exec(state_->handle, std::string(sql).c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) state_->failed(code);
}

void Database::transaction(const std::function<void()>& work) {
  std::lock_guard lock(state_->mutex);
  execute("BEGIN IMMEDIATE");
  try {
    work();
  } catch (...) {
    sqlite3_exec(state_->handle, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
  execute("COMMIT");
}

void Database::durable_transaction(const std::function<void()>& work) {
  std::lock_guard lock(state_->mutex);
  execute("PRAGMA synchronous=FULL");
  struct Back {
    Database& database;
    ~Back() { sqlite3_exec(database.state_->handle, "PRAGMA synchronous=NORMAL", nullptr, nullptr, nullptr); }
  } back{*this};
  transaction(work);
}

int64_t Database::changes() {
  return sqlite3_changes64(state_->handle);
}

}  // namespace corten::store
