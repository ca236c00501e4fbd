#include "sandbox/test_box.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/unique_fd.h"

namespace corten::sandbox {

namespace {

constexpr const char* kBusybox = "/bin/busybox";

std::string climb(Entered& entered) {
  if (!path_exists(kBusybox)) return "busybox (package busybox-static) is not installed";
  try {
    entered = enter();
    require_namespaces(entered, "boxes");
  } catch (const Error& error) {
    return fmt::format("{} ({})", error.what(), error.hint());
  }
  return {};
}

}  // namespace

namespace {
struct Climbed {
  Entered entered;
  std::string problem = climb(entered);
};
const Climbed& climbed() {
  static const Climbed once;
  return once;
}
}  // namespace

std::string TestBox::problem() {
  return climbed().problem;
}
const Entered& TestBox::entered() {
  return climbed().entered;
}

TestBox::TestBox() {
  if (!problem().empty()) return;
  directory_ = TempDir::for_test();
  chmod(directory_.path().c_str(), 0755);
  for (const char* name : {"lower/bin", "lower/etc", "upper", "work"})
    make_directories_on_host(directory_ / name);
  UniqueFd from = open_file(kBusybox, O_RDONLY);
  struct stat st;
  if (fstat(from.get(), &st) != 0) fail_errno("busybox");
  UniqueFd to = open_file(lower() + "/bin/busybox", O_WRONLY | O_CREAT, 0755);
  copy_contents(from.get(), to.get(), static_cast<uint64_t>(st.st_size), "busybox");
  for (const std::string& applet : split_words(run_subprocess({kBusybox, "--list"}).output))
    if (applet != "busybox" && symlink("busybox", (lower() + "/bin/" + applet).c_str()) != 0 &&
        errno != EEXIST)
      fail_errno("{}", applet);
  write("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
}

void TestBox::write(const std::string& path, const std::string& text, mode_t mode) const {
  UniqueFd fd = open_file(lower() + "/" + path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  write_fully(fd.get(), text, path);
  if (fchmod(fd.get(), mode) != 0) fail_errno("{}", path);
}

Spec TestBox::spec(std::vector<std::string> argv) const {
  Spec spec;
  spec.root.lowers = {{.path = {lower()}, .fd = -1}};
  spec.root.upper = {upper()};
  spec.root.work = {directory_ / "work"};
  spec.one_id = entered().records_owners();
  spec.argv = std::move(argv);
  spec.environment = {"PATH=/bin"};
  return spec;
}

Result TestBox::run(Spec spec) const {
  Pipe pipe = make_pipe();
  spec.stdout_fd = spec.stderr_fd = pipe.write.get();
  // An upper is used once: the kernel refuses a volatile one that was not looked after.
  if (!spec.root.work.value.empty()) remove_tree(spec.root.work.value + "/work");
  Process process = Process::start(spec);
  pipe.write.reset();
  Result result;
  // A box that is not as tight as it should be would hang here; the test's hang limit ends it.
  result.exit = process.wait();
  result.output = read_all(pipe.read.get(), "output", 1 << 20);
  result.stubs = process.stubs();
  return result;
}

bool wait_readable(int fd, int timeout_ms) {
  pollfd poll_fd{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&poll_fd, 1, timeout_ms) == 1;
}

}  // namespace corten::sandbox
