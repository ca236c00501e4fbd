// The store's index: one SQLite file in WAL mode. Everything in it can be lost without losing an image's
// bytes; what it says is checked against the files before it is believed.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace corten::store {

class Database;

// A prepared statement, bound and stepped: `db.prepare("SELECT a FROM t WHERE b=?").bind(7)`. Holds the
// connection's lock while it lives, so keep it short.
class Statement {
 public:
  Statement(Statement&&) noexcept;
  ~Statement();
  Statement& bind(int64_t value);
  Statement& bind(std::string_view text);
  Statement& bind(const Digest& digest);
  Statement& bind(std::nullptr_t);
  bool step();  // true: a row is there
  void run() {
    while (step()) {
    }
  }
  int64_t integer(int column);
  std::string text(int column);
  Digest digest(int column);
  bool is_null(int column);

 private:
  friend class Database;
  struct State;
  explicit Statement(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Thread-safe; one connection a process. Waits up to a minute for another process that writes.
class Database {
 public:
  // Error(kCorrupt) when the file is no database of ours, Error(kUnsupported) when a newer Corten made it.
  explicit Database(const std::string& path);
  ~Database();
  Statement prepare(std::string_view sql);
  void execute(std::string_view sql);
  // BEGIN IMMEDIATE ... COMMIT; rolls back when `work` throws.
  void transaction(const std::function<void()>& work);
  // The same, and on disk when it returns.
  void durable_transaction(const std::function<void()>& work);
  int64_t changes();

 private:
  friend class Statement;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace corten::store
