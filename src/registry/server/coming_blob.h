// A blob on its way from another registry: what has come lies in a file that grows, and clients are sent it
// from there while the rest still comes.
//
// Nobody gets a whole wrong answer: of each answer the last byte is held back until the whole blob is
// verified and kept. When it is not, all its connections are cut, and the clients see that bytes are missing.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "registry/server/message.h"

namespace corten::registry::serving {

// Thread-safe. One thread fetches, the connections of many clients read.
class ComingBlob {
 public:
  // --- By who fetches ---
  // Its size is told, and its first byte may be here.
  void begin(std::shared_ptr<const UniqueFd> file, uint64_t size);
  void grow(uint64_t came);
  void keep();               // verified, and at its place
  void lose(Answer answer);  // for those that have not begun to answer; the others are cut

  // --- By who serves ---
  // Calls `known` once it has begun or has ended; at once if so already. On any thread.
  void when_known(std::function<void()> known);
  struct Begun {
    std::shared_ptr<const UniqueFd> file;
    uint64_t size = 0;
  };
  std::optional<Begun> begun() const;
  std::optional<Answer> loss() const;
  // How many bytes from `at` on may be sent of an answer that ends before `end`; nothing when it is lost.
  std::optional<uint64_t> ready(uint64_t at, uint64_t end) const;
  // Calls `wake` once when ready() gives something else than 0; at once if so already. On any thread.
  void when_ready(uint64_t at, uint64_t end, std::function<void()> wake);

 private:
  enum class State { kAsked, kComing, kKept, kLost };
  struct Waiting {
    uint64_t at, end;
    std::function<void()> wake;
  };
  std::optional<uint64_t> ready_now(uint64_t at, uint64_t end) const;
  void change(const std::function<void()>& f);

  mutable std::mutex mutex_;
  State state_ = State::kAsked;
  Begun begun_;
  uint64_t came_ = 0;
  Answer loss_;
  std::vector<std::function<void()>> curious_;
  std::vector<Waiting> waiting_;
};

}  // namespace corten::registry::serving
