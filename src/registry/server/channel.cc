#include "registry/server/channel.h"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <cerrno>

namespace corten::registry::serving {

namespace {

Moved moved(ssize_t n, Moved::State when_busy) {
  if (n > 0) return {Moved::State::kSome, static_cast<size_t>(n)};
  if (n == 0) return {Moved::State::kEnd, 0};
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {when_busy, 0};
  return {Moved::State::kBroken, 0};
}

class PlainChannel : public Channel {
 public:
  explicit PlainChannel(int socket) : socket_(socket) {}
  Moved read(void* data, size_t size) override {
    return moved(recv(socket_, data, size, MSG_DONTWAIT), Moved::State::kWantRead);
  }
  Moved write(std::string_view bytes, bool more) override {
    return moved(
        send(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0)),
        Moved::State::kWantWrite);
  }
  Moved send_file(int file, uint64_t offset, size_t size) override {
    auto at = static_cast<off_t>(offset);
    const ssize_t n = sendfile(socket_, file, &at, size);
    if (n == 0) return {Moved::State::kBroken, 0};  // the file is shorter than it was
    return moved(n, Moved::State::kWantWrite);
  }
  void end_writing() override { shutdown(socket_, SHUT_WR); }

 private:
  const int socket_;
};

}  // namespace

std::unique_ptr<Channel> plain_channel(int socket) {
  return std::make_unique<PlainChannel>(socket);
}

}  // namespace corten::registry::serving
