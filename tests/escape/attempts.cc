// Attempts to get out of a RUN, or to reach what is not the step's. Each prints "held NAME: why" or "ESCAPED
// NAME: how"; the exit code is the number of escapes. docs/threat-model.md names them.
//
// An attempt is held only when it was refused for the expected reason or reached nothing but our own root: a
// call that cannot be tried (a missing file) says so, and is held, since what is not there leads nowhere.
#include <dirent.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

namespace {

int escapes = 0;

void held(const std::string& name, const std::string& why) {
  printf("held %s: %s\n", name.c_str(), why.c_str());
}
void escaped(const std::string& name, const std::string& how) {
  printf("ESCAPED %s: %s\n", name.c_str(), how.c_str());
  escapes++;
}

// A call that must fail.
void must_fail(const std::string& name, long result) {
  if (result < 0)
    held(name, strerror(errno));
  else
    escaped(name, "the call succeeded");
}

struct Place {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const Place&) const = default;
};
Place place_of(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return {};
  return {st.st_dev, st.st_ino};
}
bool exists(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  if (DIR* stream = opendir(directory.c_str())) {
    while (dirent* item = readdir(stream))
      if (item->d_name[0] != '.') names.emplace_back(item->d_name);
    closedir(stream);
  }
  return names;
}

std::string read_some(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return "";
  std::string bytes(64 << 10, '\0');
  ssize_t n = read(fd, bytes.data(), bytes.size());
  close(fd);
  bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return bytes;
}

void must_not_write(const std::string& name, const std::string& path, const std::string& text) {
  if (!exists(path)) return held(name, path + " is not there");
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return held(name, strerror(errno));
  ssize_t n = write(fd, text.data(), text.size());
  int error = errno;
  close(fd);
  if (n < 0) return held(name, strerror(error));
  escaped(name, "wrote to " + path);
}

// Runs in a child, which may change its root or its namespaces.
void in_child(const std::function<void()>& attempt) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    escapes = 0;
    attempt();
    fflush(stdout);
    _exit(escapes);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status)) escapes += WEXITSTATUS(status);
}

void mounts() {
  must_fail("mount-tmpfs", mount("none", "/tmp", "tmpfs", 0, nullptr));
  must_fail("mount-bind", mount("/proc", "/tmp", nullptr, MS_BIND | MS_REC, nullptr));
  must_fail("mount-proc", mount("proc", "/tmp", "proc", 0, nullptr));
  must_fail("remount-proc-sys", mount("none", "/proc/sys", nullptr, MS_REMOUNT | MS_BIND, nullptr));
  must_fail("unmount-proc-sys", umount2("/proc/sys", MNT_DETACH));
  must_fail("unmount-dev", umount2("/dev", MNT_DETACH));
  must_fail("pivot-root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
  must_fail("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  must_fail("open-tree-clone", syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
  must_fail("move-mount", syscall(SYS_move_mount, AT_FDCWD, "/proc", AT_FDCWD, "/tmp", 0));
  in_child([] { must_fail("unshare-mount", unshare(CLONE_NEWNS)); });
  in_child([] { must_fail("unshare-user", unshare(CLONE_NEWUSER)); });
  in_child([] {
    int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return held("setns", strerror(errno));
    must_fail("setns", setns(fd, 0));
  });
}

void kernel_settings() {
  must_not_write("core-pattern", "/proc/sys/kernel/core_pattern", "|/bin/busybox touch /escaped\n");
  must_not_write("modprobe-path", "/proc/sys/kernel/modprobe", "/bin/busybox\n");
  must_not_write("hotplug-path", "/proc/sys/kernel/hotplug", "/bin/busybox\n");
  must_not_write("panic-setting", "/proc/sys/kernel/panic", "0\n");
  must_not_write("swappiness", "/proc/sys/vm/swappiness", "60\n");
  must_not_write("drop-caches", "/proc/sys/vm/drop_caches", "1\n");
  must_not_write("binfmt-register", "/proc/sys/fs/binfmt_misc/register",
                 ":escape:M::escape::/bin/busybox:\n");
  must_not_write("sysrq", "/proc/sysrq-trigger", "h");
  must_not_write("irq-affinity", "/proc/irq/default_smp_affinity", "1\n");
  must_not_write("uevent-helper", "/sys/kernel/uevent_helper", "/bin/busybox\n");
  must_not_write("sys-power", "/sys/power/state", "");
  must_not_write("cgroup-procs", "/sys/fs/cgroup/cgroup.procs", "0\n");
  for (const char* path :
       {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats"})
    if (read_some(path).empty())
      held(std::string("masked ") + path, "nothing to read");
    else
      escaped(std::string("masked ") + path, "it can be read");
  for (const char* path : {"/sys/firmware", "/proc/scsi", "/proc/acpi"})
    if (names_in(path).empty())
      held(std::string("masked ") + path, "empty");
    else
      escaped(std::string("masked ") + path, "it can be listed");
}

// Every process that can be seen has our root, and no descriptor of it leads elsewhere.
void other_processes() {
  const Place own = place_of("/");
  size_t seen = 0;
  for (const std::string& name : names_in("/proc")) {
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    seen++;
    for (const char* way : {"/root", "/cwd"}) {
      std::string path = "/proc/" + name + way;
      Place other = place_of(path);
      if (other == Place{}) continue;
      // From there up: the end of it is a root.
      std::string up = path;
      for (int i = 0; i < 64; i++) up += "/..";
      if (place_of(up) != own) escaped("process-root", path + " leads to another root");
    }
    for (const std::string& fd : names_in("/proc/" + name + "/fd")) {
      struct stat st {};
      std::string path = "/proc/" + name + "/fd/" + fd;
      if (stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) continue;
      std::string up = path;
      for (int i = 0; i < 64; i++) up += "/..";
      if (place_of(up) != own && place_of(up) != Place{})
        escaped("process-descriptor", path + " is a directory of another root");
    }
  }
  held("process-roots", std::to_string(seen) + " processes looked at");
  if (!exists("/proc/1/mem")) return held("init-memory", "no process 1");
  if (getpid() == 1) return held("init-memory", "we are it");
  char program[512] = {};
  if (readlink("/proc/1/exe", program, sizeof program - 1) > 0 &&
      place_of(program) == place_of("/proc/1/exe"))
    return held("init-memory", "process 1 is a program of the step");
  must_fail("ptrace-init", ptrace(PTRACE_ATTACH, 1, nullptr, nullptr));
  char buffer[16];
  iovec local{buffer, sizeof buffer}, remote{reinterpret_cast<void*>(0x400000), sizeof buffer};
  must_fail("read-init-memory", process_vm_readv(1, &local, 1, &remote, 1, 0));
  must_fail("open-init-memory", open("/proc/1/mem", O_RDWR | O_CLOEXEC));
}

void descriptors() {
  bool is_clean = true;
  for (const std::string& name : names_in("/proc/self/fd")) {
    int fd = atoi(name.c_str());
    char target[512] = {};
    if (readlink(("/proc/self/fd/" + name).c_str(), target, sizeof target - 1) < 0) continue;
    if (fd <= 2 || std::string(target).find("/proc/") == 0) continue;
    escaped("inherited-descriptor", name + " -> " + target);
    is_clean = false;
  }
  if (is_clean) held("inherited-descriptors", "none");
}

void refused_calls() {
  must_fail("add-key", syscall(SYS_add_key, "user", "escape", "x", 1, KEY_SPEC_SESSION_KEYRING));
  must_fail("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0));
  must_fail("request-key", syscall(SYS_request_key, "user", "escape", nullptr, KEY_SPEC_SESSION_KEYRING));
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = attributes.value_size = 4;
  attributes.max_entries = 1;
  must_fail("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
  must_fail("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC));
  io_uring_params ring{};
  must_fail("io-uring", syscall(SYS_io_uring_setup, 8, &ring));
  perf_event_attr event{};
  event.size = sizeof event;
  event.type = PERF_TYPE_SOFTWARE;
  must_fail("perf-event", syscall(SYS_perf_event_open, &event, -1, 0, -1, 0));
  must_fail("init-module", syscall(SYS_init_module, "", 0, ""));
  must_fail("finit-module", syscall(SYS_finit_module, 0, "", 0));
  must_fail("kexec", syscall(SYS_kexec_load, 0, 0, nullptr, 0));
  must_fail("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, nullptr));
  must_fail("swapon", syscall(SYS_swapon, "/bin/busybox", 0));
  must_fail("acct", syscall(SYS_acct, "/tmp/acct"));
  timespec when{1, 0};
  must_fail("set-clock", clock_settime(CLOCK_REALTIME, &when));
  file_handle* handle = static_cast<file_handle*>(calloc(1, sizeof(file_handle) + 128));
  handle->handle_bytes = 8;
  handle->handle_type = 1;
  handle->f_handle[0] = 2;  // the root of most file systems
  must_fail("open-by-handle", open_by_handle_at(AT_FDCWD, handle, O_RDONLY));
  free(handle);
  must_fail("iopl", syscall(SYS_iopl, 3));
  char log[64];
  must_fail("kernel-log", syscall(SYS_syslog, 3, log, sizeof log));
}

void devices() {
  for (auto [name, kind, major, minor] :
       {std::tuple("block-device", S_IFBLK, 8, 0), std::tuple("virtio-disk", S_IFBLK, 253, 0),
        std::tuple("memory-device", S_IFCHR, 1, 1), std::tuple("kernel-log-device", S_IFCHR, 1, 11),
        std::tuple("fuse-device", S_IFCHR, 10, 229), std::tuple("tun-device", S_IFCHR, 10, 200)}) {
    std::string path = std::string("/tmp/") + name;
    if (mknod(path.c_str(), static_cast<mode_t>(kind) | 0600, makedev(major, minor)) != 0) {
      held(name, strerror(errno));
      continue;
    }
    int fd = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    // ENXIO would mean that only the driver is missing.
    if (fd >= 0 || errno == ENXIO || errno == ENODEV)
      escaped(name, "a node that was made can be opened");
    else
      held(name, strerror(errno));
    if (fd >= 0) close(fd);
    unlink(path.c_str());
  }
}

void terminals() {
  char byte = 'x';
  for (int fd = 0; fd <= 2; fd++) must_fail("tiocsti-" + std::to_string(fd), ioctl(fd, TIOCSTI, &byte));
  int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
  if (fd < 0) return held("controlling-terminal", strerror(errno));
  must_fail("tiocsti-tty", ioctl(fd, TIOCSTI, &byte));
  close(fd);
}

// The classic way out of a chroot.
void chroot_breakout() {
  const Place own = place_of("/");
  in_child([&] {
    mkdir("/tmp/jail", 0755);
    int before = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (chroot("/tmp/jail") != 0) return held("chroot-breakout", strerror(errno));
    if (fchdir(before) != 0) return held("chroot-breakout", strerror(errno));
    for (int i = 0; i < 64; i++)
      if (chdir("..") != 0) break;
    if (place_of(".") == own)
      held("chroot-breakout", "up is our own root");
    else
      escaped("chroot-breakout", "up is another root");
  });
  rmdir("/tmp/jail");
}

// kill(-1) and every number: whoever is outside must live (the script looks). Our own kin are spared: only
// numbers that are no process here are tried, and the ones that the script gives.
void signals(const char* outside) {
  if (!outside) return;
  pid_t pid = static_cast<pid_t>(atoi(outside));
  if (exists("/proc/" + std::string(outside))) return held("signal-outside", "that number is one of us");
  must_fail("signal-outside", kill(pid, SIGKILL));
  must_fail("pidfd-outside", syscall(SYS_pidfd_open, pid, 0));
}

void abstract_socket(const char* name) {
  if (!name) return;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + 1, name, strlen(name));
  must_fail("abstract-socket",
            connect(fd, reinterpret_cast<sockaddr*>(&address),
                    static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + strlen(name))));
  close(fd);
}

// Where only one id exists, owners are recorded in an attribute that no step can see or set.
void owner_attribute(const char* file) {
  constexpr const char* kName = "user.corten.owner";
  const int fd = open(file, O_RDWR);
  must_fail("set-owner", setxattr(file, kName, "7:7", 3, 0));
  must_fail("set-link-owner", lsetxattr(file, kName, "7:7", 3, 0));
  must_fail("set-descriptor-owner", fsetxattr(fd, kName, "7:7", 3, 0));
  char text[4096];
  must_fail("get-owner", static_cast<int>(getxattr(file, kName, text, sizeof text)));
  must_fail("get-descriptor-owner", static_cast<int>(fgetxattr(fd, kName, text, sizeof text)));
  must_fail("remove-owner", removexattr(file, kName));
  // Others are there as ever.
  const bool is_set = setxattr(file, "user.mine", "x", 1, 0) == 0;
  const ssize_t sizes[] = {listxattr(file, text, sizeof text), llistxattr(file, text, sizeof text),
                           flistxattr(fd, text, sizeof text), listxattr(file, nullptr, 0)};
  bool is_right = is_set;
  for (const ssize_t size : sizes) is_right = is_right && size == static_cast<ssize_t>(sizeof "user.mine");
  printf("%s list-owner\n", is_right && strcmp(text, "user.mine") == 0 ? "held" : "ESCAPED");
  const bool is_short = listxattr(file, text, 3) < 0 && errno == ERANGE;
  printf("%s list-owner-short\n", is_short ? "held" : "ESCAPED");
  close(fd);
}

void network() {
  must_fail("packet-socket", socket(AF_PACKET, SOCK_DGRAM, 0));
  must_fail("raw-socket", socket(AF_INET, SOCK_RAW, IPPROTO_TCP));
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return;
  must_fail("network-setup", ioctl(fd, 0x8914 /* SIOCSIFFLAGS */, nullptr));
  close(fd);
}

}  // namespace

// attempts [PID-OUTSIDE [ABSTRACT-SOCKET]]
int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc == 3 && strcmp(argv[1], "owner") == 0) {
    owner_attribute(argv[2]);
    return 0;
  }
  descriptors();
  mounts();
  kernel_settings();
  other_processes();
  refused_calls();
  devices();
  terminals();
  chroot_breakout();
  signals(argc > 1 ? argv[1] : nullptr);
  abstract_socket(argc > 2 ? argv[2] : nullptr);
  network();
  printf("%d escapes\n", escapes);
  return escapes;
}
