#include "container/test_image.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <thread>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "oci/config.h"
#include "oci/reference.h"

namespace corten::container {

namespace {

constexpr const char* kBusybox = "/bin/busybox";

struct Climbed {
  sandbox::Entered entered;
  std::string problem;
};

const Climbed& climbed() {
  static const Climbed result = [] {
    Climbed climb;
    if (!path_exists(kBusybox))
      climb.problem = "busybox (package busybox-static) is not installed";
    else
      try {
        climb.entered = sandbox::enter();
      } catch (const Error& error) {
        climb.problem = fmt::format("{} ({})", error.what(), error.hint());
      }
    return climb;
  }();
  return result;
}

store::Entry entry(const std::string& path, store::EntryType type, uint32_t mode) {
  store::Entry made;
  made.path = RootfsPath(path);
  made.type = type;
  made.mode = mode;
  return made;
}

store::Entry text_file(const std::string& path, const std::string& text, store::Contents& contents) {
  store::Entry made = entry(path, store::EntryType::kFile, 0644);
  made.content = contents.add_bytes(text);
  made.size = text.size();
  return made;
}

store::Manifest busybox_layer(store::Contents& contents) {
  std::vector<store::Entry> entries;
  entries.push_back(entry("tmp", store::EntryType::kDirectory, 01777));
  for (const char* directory : {"bin", "etc", "data", "data/sub", "home"})
    entries.push_back(entry(directory, store::EntryType::kDirectory, 0755));
  entries.push_back(entry("home/app", store::EntryType::kDirectory, 0755));
  entries.back().uid = entries.back().gid = 1000;
  UniqueFd from = open_file(kBusybox, O_RDONLY);
  auto added = contents.add_file(from.get(), "busybox");
  entries.push_back(entry("bin/busybox", store::EntryType::kFile, 0755));
  entries.back().content = added.digest;
  entries.back().size = added.size;
  for (const std::string& applet : split_words(run_subprocess({kBusybox, "--list"}).output)) {
    if (applet == "busybox") continue;
    entries.push_back(entry("bin/" + applet, store::EntryType::kSymlink, 0));
    entries.back().link = "busybox";
  }
  entries.push_back(
      text_file("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n", contents));
  entries.push_back(text_file("etc/group", "root:x:0:\napp:x:1000:\n", contents));
  entries.push_back(text_file("data/sub/seed", "from the image\n", contents));
  entries.back().uid = 1000;
  return store::Manifest(std::move(entries));
}

}  // namespace

std::string TestStore::problem() {
  return climbed().problem;
}

TestStore::TestStore() {
  if (!problem().empty()) return;
  directory_ = TempDir::for_test();
  store_ = std::make_unique<store::Store>(directory_ / "store");
  save_image("box", R"({"Env":["PATH=/bin"],"Cmd":["sh"]})");
}

TestStore::~TestStore() {
  if (!store_) return;
  try {
    std::vector<std::string> ids;
    for (const Container& container : Container::list(*store_)) ids.push_back(container.spec().id);
    if (!ids.empty())
      call([&](Context& context) { return rm_command({.containers = ids, .force = true}, context); });
  } catch (const Error& error) {
    std::cerr << "containers of a test stay: " << error.what() << "\n";
  }
}

void TestStore::save_image(const std::string& name, const std::string& config) {
  store::Image image;
  image.layers = {{store_->layers().save(busybox_layer(store_->contents())), 946684800}};
  image.config = R"({"architecture":"amd64","os":"linux","config":)" + config +
                 R"(,"rootfs":{"type":"layers","diff_ids":["sha256:)" + std::string(64, 'a') + R"("]}})";
  image.id = Digest::of(image.config);
  image.tags = {oci::Reference::parse(name).with_default_tag().to_string()};
  store_->save_image(image);
}

Output TestStore::call(const std::function<int(Context&)>& command) {
  Output output;
  Context context{*store_, clock_, [&](std::string_view text) { output.out += text, output.both += text; },
                  [&](std::string_view text) { output.err += text, output.both += text; },
                  [] { return climbed().entered; }};
  output.code = command(context);
  return output;
}

Output TestStore::in_child(const std::function<int(Context&)>& command) {
  Pipe out = make_pipe(), err = make_pipe();
  pid_t child = fork();
  if (child == 0) {
    dup2(out.write.get(), 1);
    dup2(err.write.get(), 2);
    auto say = [](int fd) { return [fd](std::string_view text) { write_fully(fd, text, "output"); }; };
    Context context{*store_, clock_, say(1), say(2), [] { return climbed().entered; }};
    try {
      _exit(command(context));
    } catch (const Error& error) {
      context.err(fmt::format("{} | {}\n", error.what(), error.hint()));
      _exit(125);
    }
  }
  out.write.reset();
  err.write.reset();
  Output output;
  std::thread reader([&] { output.err = read_all(err.read.get(), "errors", 1 << 20); });
  output.out = read_all(out.read.get(), "output", 1 << 20);
  reader.join();
  int status = 0;
  waitpid(child, &status, 0);
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  return output;
}

Output TestStore::run(RunOptions options) {
  if (options.image.empty()) options.image = "box";
  return in_child([&](Context& context) { return run_command(options, context); });
}

Output TestStore::exec(ExecOptions options) {
  return in_child([&](Context& context) { return exec_command(options, context); });
}

std::string TestStore::start(const std::string& name, const std::string& script, RunOptions options) {
  options.detach = true;
  options.name = name;
  options.command = {"sh", "-c", script};
  Output output = run(options);
  EXPECT_EQ(output.code, 0) << output.err;
  return std::string(trim(output.out));
}

bool soon(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000; i++) {
    if (condition()) return true;
    usleep(10'000);
  }
  return false;
}

static UniqueFd loopback(uint16_t port, bool listens, uint16_t* chosen) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  int result = listens ? bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size)
                       : connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size);
  if (result != 0) return UniqueFd();
  if (chosen && getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0)
    *chosen = ntohs(address.sin_port);
  return fd;
}

uint16_t free_port() {
  uint16_t port = 0;
  loopback(0, true, &port);
  return port;
}

std::string fetch(uint16_t port, const std::string& path) {
  UniqueFd fd = loopback(port, false, nullptr);
  if (!fd) return "";
  std::string request = "GET " + path + " HTTP/1.0\r\n\r\n", answer;
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  shutdown(fd.get(), SHUT_WR);
  char buffer[4096];
  for (ssize_t n; (n = recv(fd.get(), buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(n));
  return answer;
}

}  // namespace corten::container
