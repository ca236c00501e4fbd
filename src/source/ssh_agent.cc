#include "source/ssh_agent.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <list>
#include <map>

#include <fmt/core.h>

#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "source/ssh_key.h"

namespace corten::source {

namespace {

constexpr size_t kMaxMessageBytes = 256 << 10;  // as OpenSSH's agent
constexpr size_t kMostPeers = 64;
constexpr int kPatienceMs = 30'000;  // for the user's agent, which may ask the user

enum Message : char {
  kFailure = 5,
  kListKeys = 11,
  kKeys = 12,
  kSign = 13,
  kSignature = 14,
};

// An address for a name in a directory whose path may be too long for one.
sockaddr_un address_of(const UniqueFd& directory, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = fmt::format("/proc/self/fd/{}/{}", directory.get(), name);
  if (path.size() >= sizeof address.sun_path)
    fail(ErrorCode::kInvalid, "socket {}: its name is too long", name);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Waits until the descriptor can be used; false after the patience.
bool wait_for(int fd, short events) {
  pollfd wanted{fd, events, 0};
  int ready = 0;
  while ((ready = poll(&wanted, 1, kPatienceMs)) < 0 && errno == EINTR) {
  }
  return ready > 0;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    if (!wait_for(fd, POLLOUT)) return false;
    ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

class Forwarded : public SshAgent {
 public:
  explicit Forwarded(std::string socket) : socket_(std::move(socket)) {}

  std::string answer(std::string_view message) override {
    UniqueFd directory = open_file(HostPath{socket_}.parent(), O_PATH | O_DIRECTORY);
    sockaddr_un address = address_of(directory, HostPath{socket_}.filename());
    UniqueFd agent(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(agent.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      fail_errno("ssh agent {}", socket_);
    if (!send_all(agent.get(), ssh_string(message)))
      fail(ErrorCode::kIo, "ssh agent {}: it hung up", socket_);
    std::string head = receive(agent.get(), 4);
    return receive(agent.get(), SshReader(head).number());
  }

 private:
  std::string receive(int fd, size_t size) {
    if (size > kMaxMessageBytes) fail(ErrorCode::kIo, "ssh agent {}: an answer of {} bytes", socket_, size);
    std::string bytes(size, '\0');
    for (size_t got = 0; got < size;) {
      if (!wait_for(fd, POLLIN)) fail(ErrorCode::kIo, "ssh agent {}: it does not answer", socket_);
      ssize_t n = recv(fd, bytes.data() + got, size - got, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail(ErrorCode::kIo, "ssh agent {}: it hung up", socket_);
      got += static_cast<size_t>(n);
    }
    return bytes;
  }
  std::string socket_;
};

class WithKeys : public SshAgent {
 public:
  explicit WithKeys(std::vector<SshKey> keys) : keys_(std::move(keys)) {}

  std::string answer(std::string_view message) override {
    SshReader in(message);
    if (in.byte() == kListKeys) {
      std::string list = std::string(1, kKeys) + ssh_number(static_cast<uint32_t>(keys_.size()));
      for (const SshKey& key : keys_) list += ssh_string(key.public_blob()) + ssh_string(key.comment());
      return list;
    }
    std::string_view wanted = in.string(), data = in.string();
    uint32_t flags = in.number();
    for (const SshKey& key : keys_)
      if (key.public_blob() == wanted) return std::string(1, kSignature) + ssh_string(key.sign(data, flags));
    return std::string(1, kFailure);
  }

 private:
  std::vector<SshKey> keys_;
};

// What came from one peer so far.
struct Peer {
  UniqueFd fd;
  std::string received;
};

// Answers what is whole; false when the peer is to be let go.
bool converse(SshAgent& agent, Peer& peer) {
  char buffer[16 << 10];
  ssize_t n = recv(peer.fd.get(), buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (n <= 0) return false;
  peer.received.append(buffer, static_cast<size_t>(n));
  while (peer.received.size() >= 4) {
    size_t size = SshReader(peer.received).number();
    if (size == 0 || size > kMaxMessageBytes) return false;
    if (peer.received.size() < 4 + size) return true;
    std::string message = peer.received.substr(4, size);
    peer.received.erase(0, 4 + size);
    std::string reply(1, kFailure);
    try {
      if (message[0] == kListKeys || message[0] == kSign) reply = agent.answer(message);
    } catch (const Error&) {
      // What a failure is to the peer; why it failed is not its business.
    }
    if (!send_all(peer.fd.get(), ssh_string(reply))) return false;
  }
  return true;
}

}  // namespace

std::shared_ptr<SshAgent> SshAgent::forwarded(const std::string& socket) {
  return std::make_shared<Forwarded>(socket);
}

std::shared_ptr<SshAgent> SshAgent::with_keys(const std::vector<std::string>& files) {
  constexpr size_t kMaxKeyBytes = 100 << 10;
  std::vector<SshKey> keys;
  for (const std::string& file : files) keys.push_back(SshKey::parse(read_file(file, kMaxKeyBytes), file));
  return std::make_shared<WithKeys>(std::move(keys));
}

SshAgentSocket::SshAgentSocket(std::shared_ptr<SshAgent> agent, const std::string& directory,
                               const std::string& name, const Options& options)
    : agent_(std::move(agent)), path_(directory + "/" + name), end_(make_pipe()) {
  UniqueFd place = open_file(directory, O_PATH | O_DIRECTORY);
  sockaddr_un address = address_of(place, name);
  listener_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_.get(), 16) != 0)
    fail_errno("ssh agent socket {}", path_);
  if ((options.uid || options.gid) && chown(path_.c_str(), options.uid, options.gid) != 0)
    fail_errno("set owner of the ssh agent socket to {}:{}", options.uid, options.gid);
  if (chmod(path_.c_str(), options.mode & 0777) != 0) fail_errno("set mode of {}", path_);
  thread_ = std::thread([this] { serve(); });
}

SshAgentSocket::~SshAgentSocket() {
  end_.write.reset();
  thread_.join();
  unlink(path_.c_str());
}

void SshAgentSocket::serve() {
  std::list<Peer> peers;
  while (true) {
    std::vector<pollfd> wanted = {{end_.read.get(), POLLIN, 0},
                                  {peers.size() < kMostPeers ? listener_.get() : -1, POLLIN, 0}};
    for (const Peer& peer : peers) wanted.push_back({peer.fd.get(), POLLIN, 0});
    if (poll(wanted.data(), wanted.size(), -1) < 0 && errno != EINTR) return;
    if (wanted[0].revents) return;
    size_t index = 2;
    for (auto peer = peers.begin(); peer != peers.end(); index++)
      peer = wanted[index].revents && !converse(*agent_, *peer) ? peers.erase(peer) : std::next(peer);
    if (wanted[1].revents)
      if (UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); fd)
        peers.push_back({std::move(fd), ""});
  }
}

}  // namespace corten::source
