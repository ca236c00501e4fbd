#include "cli/hand_over.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <thread>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"

namespace corten::cli {

namespace {

constexpr size_t kMostWords = 64 << 10;
constexpr int kEnds = 2;  // its standard input, its output

// What the process that waits is: nothing but this. Without a call it ends.
[[noreturn]] void become(int call, const std::string& program, const std::vector<std::string>& argv,
                         pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(0);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(kEnds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  ssize_t n = 0;
  while ((n = recvmsg(call, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  const cmsghdr* header = n == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) _exit(0);
  int ends[kEnds];
  memcpy(ends, CMSG_DATA(header), sizeof ends);
  dup2(ends[0], 0);
  dup2(ends[1], 1);
  dup2(ends[1], 2);
  signal(SIGPIPE, SIG_DFL);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execv(program.c_str(), words.data());
  dprintf(2, "%s: %s\n", program.c_str(), strerror(errno));
  _exit(127);
}

void send_ends(int call, int input, int output) {
  char byte = 'x';
  iovec data{&byte, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(kEnds * sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(kEnds * sizeof(int));
  const int ends[kEnds] = {input, output};
  memcpy(CMSG_DATA(header), ends, sizeof ends);
  while (sendmsg(call, &message, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) fail_errno("start the program that takes the image");
}

// All that comes, of which the last words are kept.
std::string last_words(int fd) {
  std::string words;
  char buffer[4096];
  while (true) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return words;
    words.append(buffer, static_cast<size_t>(n));
    if (words.size() > 2 * kMostWords) words.erase(0, words.size() - kMostWords);
  }
}

struct Loader {
  std::vector<std::string> argv;
  std::string hint;  // when it fails
};

Loader loader_of(const std::string& to) {
  if (to == "docker") return {{"docker", "load"}, "is the daemon running? DOCKER_HOST says where"};
  if (to == "podman") return {{"podman", "load"}, "'podman info' says whether its storage works"};
  const std::string kind = to.substr(0, to.find(':'));
  if (kind == "containerd") {
    Loader loader{{"ctr"}, "is containerd running? CONTAINERD_ADDRESS says where"};
    if (kind != to) loader.argv.insert(loader.argv.end(), {"-n", to.substr(kind.size() + 1)});
    loader.argv.insert(loader.argv.end(), {"images", "import", "-"});
    if (to != kind + ":") return loader;
  }
  throw Error(ErrorCode::kUsage, fmt::format("--load={}: nothing of this name is known", quote(to)))
      .with_hint("it is one of store (the default), docker, podman, containerd and containerd:NAMESPACE");
}

}  // namespace

HandOver::HandOver(const std::string& to) {
  Loader loader = loader_of(to);
  argv_ = std::move(loader.argv);
  hint_ = std::move(loader.hint);
  const std::string program = find_program(argv_[0]);
  if (program.empty())
    throw Error(ErrorCode::kNotFound, fmt::format("--load={}: there is no program {}", to, argv_[0]))
        .with_hint(fmt::format("install it, or build without: 'corten save IMAGE' writes an archive for '{}'",
                               command()));
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) fail_errno("socketpair");
  call_ = UniqueFd(ends[0]);
  const UniqueFd theirs(ends[1]);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) fail_errno("fork");
  if (pid_ == 0) {
    call_.reset();
    become(theirs.get(), program, argv_, parent);
  }
}

HandOver::~HandOver() {
  call_.reset();
  if (pid_ < 0) return;
  kill(pid_, SIGTERM);  // others may have the socket open
  wait();
}

std::string HandOver::command() const {
  return join(argv_, " ");
}

int HandOver::wait() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string HandOver::load(const std::function<void(archive::ByteSink&)>& write) {
  Pipe input = make_pipe(), output = make_pipe();
  send_ends(call_.get(), input.read.get(), output.write.get());
  input.read.reset();
  output.write.reset();
  std::string words;
  std::thread listener([&] { words = last_words(output.read.get()); });
  std::optional<Error> failure;
  try {
    archive::FdSink sink(input.write.get(), command());
    write(sink);
  } catch (const Error& error) {
    failure = error;
  }
  input.write.reset();
  listener.join();
  const int status = wait();
  // One that ends before it has read everything says why itself.
  if (status != 0)
    throw Error(ErrorCode::kFailed,
                fmt::format("{} ended with {}{}", command(), status,
                            words.empty() ? "" : ": " + printable(std::string(trim(words)))))
        .with_hint(hint_ + "; the image is in corten's own store");
  if (failure && failure->system_errno() != EPIPE) throw Error(*failure);
  return std::string(trim(words));
}

}  // namespace corten::cli
