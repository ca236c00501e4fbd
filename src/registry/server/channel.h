// A client's byte stream, plain or in TLS, on a descriptor that never blocks.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace corten::registry::serving {

struct Moved {
  enum class State {
    kSome,       // `bytes` went through
    kWantRead,   // nothing until the descriptor can be read
    kWantWrite,  // nothing until it can be written
    kEnd,        // the client has closed its side
    kBroken      // nothing more will go through
  };
  State state = State::kBroken;
  size_t bytes = 0;
};

// Does not own the descriptor. Not thread-safe. SIGPIPE is to be blocked by the thread.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual Moved read(void* data, size_t size) = 0;
  // `more`: the caller will send more at once.
  virtual Moved write(std::string_view bytes, bool more) = 0;
  // Sends a part of a file; by sendfile(2) where that can be.
  virtual Moved send_file(int file, uint64_t offset, size_t size) = 0;
  virtual void end_writing() = 0;
  // Whether read() has bytes that the descriptor does not show any more.
  virtual bool has_read_ahead() const { return false; }
};

std::unique_ptr<Channel> plain_channel(int socket);

// The server's side of TLS. Files are PEM; Error(kInvalid) when they do not fit.
class TlsContext {
 public:
  TlsContext(const std::string& certificate, const std::string& key);
  ~TlsContext();
  std::unique_ptr<Channel> channel(int socket) const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace corten::registry::serving
