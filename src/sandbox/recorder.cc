#include "sandbox/recorder.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "sandbox/kernel.h"
#include "sandbox/owner_records.h"
#include "sandbox/process_view.h"
#include "sandbox/recorder_filter.h"

namespace corten::sandbox {

namespace {

constexpr uint32_t kKeep = UINT32_MAX;  // chown's "leave it"

struct Answer {
  bool by_kernel = true;  // the call goes on as if nobody had been asked
  int error = 0;
  int64_t value = 0;
};
constexpr Answer kByKernel{};
Answer answer(int negative_errno) {
  return {.by_kernel = false, .error = negative_errno};
}
Answer answer_value(size_t value) {
  return {.by_kernel = false, .error = 0, .value = static_cast<int64_t>(value)};
}

// One waiting call: who asked, and with what.
struct Question {
  pid_t tid;
  uint64_t id;
  RecordedCall call;
  const uint64_t* args;
};

uint32_t id_of(uint64_t argument, bool is_short) {
  const auto value = static_cast<uint32_t>(argument);
  if (!is_short) return value;
  return (value & 0xffff) == 0xffff ? kKeep : value & 0xffff;
}

}  // namespace

class Recorder::Impl {
 public:
  explicit Impl(Options options) : options_(std::move(options)) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
      fail_errno("make a pair of sockets");
    ours_ = UniqueFd(ends[0]);
    childs_ = UniqueFd(ends[1]);
  }

  ~Impl() {
    childs_.reset();
    if (ours_) shutdown(ours_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }

  void begin(int root_mount) {
    root_ = UniqueFd(fcntl(root_mount, F_DUPFD_CLOEXEC, 0));
    if (!root_) fail_errno("keep the root's mount");
    for (const Special& special : options_.specials)
      if (UniqueFd file = open_special(special.path)) record_here(file.get(), special.owner);
    thread_ = std::thread([this] { run(); });
  }

  int child_socket() const { return childs_.get(); }
  void child_has_started() { childs_.reset(); }

  void record_here(int fd, const RecordedOwner& owner) {
    if (int error = records_.record(fd, fmt::format("/proc/thread-self/fd/{}", fd).c_str(), owner);
        error != 0)
      throw errno_error(error, "record an owner");
  }

  std::optional<RecordedOwner> owner_of_special(const RootfsPath& path) const {
    UniqueFd file = open_special(path);
    if (!file) return std::nullopt;
    return records_.find(file.get(), fmt::format("/proc/thread-self/fd/{}", file.get()).c_str());
  }

 private:
  UniqueFd open_special(const RootfsPath& path) const {
    return UniqueFd(
        open_beneath_root(root_.get(), path.str().c_str(), O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS));
  }

  UniqueFd receive_listener() {
    char byte;
    iovec data{.iov_base = &byte, .iov_len = 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t n;
    while ((n = recvmsg(ours_.get(), &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
    }
    const cmsghdr* header = n == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
    if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return {};
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return UniqueFd(fd);
  }

  // A thread that fails lets go of the listener: every waiting call then ends with ENOSYS, so the step fails
  // and does not hang.
  void run() {
    try {
      UniqueFd listener = receive_listener();
      if (!listener) return;  // the child failed before
      view_ = std::make_unique<ProcessView>();
      serve(listener.get());
    } catch (const std::exception&) {
      return;
    }
  }

  void serve(int listener) {
    seccomp_notif_sizes sizes{};
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) fail_errno("ask for sizes");
    std::vector<uint64_t> asked((std::max<size_t>(sizes.seccomp_notif, sizeof(seccomp_notif)) + 7) / 8),
        said((std::max<size_t>(sizes.seccomp_notif_resp, sizeof(seccomp_notif_resp)) + 7) / 8);
    auto* question = reinterpret_cast<seccomp_notif*>(asked.data());
    auto* response = reinterpret_cast<seccomp_notif_resp*>(said.data());
    while (true) {
      pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
      if (poll(&waiting, 1, -1) < 0 && errno != EINTR) return;
      if ((waiting.revents & POLLIN) == 0) {
        if ((waiting.revents & (POLLHUP | POLLERR)) != 0) return;  // nobody is left who could ask
        continue;
      }
      std::fill(asked.begin(), asked.end(), 0);
      if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, question) != 0) continue;  // it was killed meanwhile
      const Answer result = ask(listener, *question);
      std::fill(said.begin(), said.end(), 0);
      response->id = question->id;
      response->error = result.error;
      response->val = result.value;
      if (result.by_kernel) response->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
      ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response);  // ENOENT: killed meanwhile
    }
  }

  Answer ask(int listener, const seccomp_notif& notice) {
    const auto call = find_recorded_call(notice.data.arch, static_cast<uint32_t>(notice.data.nr));
    if (!call) return kByKernel;
    Question question{.tid = static_cast<pid_t>(notice.pid),
                      .id = notice.id,
                      .call = *call,
                      .args = reinterpret_cast<const uint64_t*>(notice.data.args)};
    listener_ = listener;
    const auto* a = question.args;
    const int first = static_cast<int>(a[0]);
    switch (*call) {
      case RecordedCall::kChown:
      case RecordedCall::kChown16:
        return change_owner(question, AT_FDCWD, a[0], 0, a[1], a[2]);
      case RecordedCall::kLchown:
      case RecordedCall::kLchown16:
        return change_owner(question, AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW, a[1], a[2]);
      case RecordedCall::kFchown:
      case RecordedCall::kFchown16:
        return change_owner(question, first, 0, AT_EMPTY_PATH, a[1], a[2]);
      case RecordedCall::kFchownat:
        return change_owner(question, first, a[1], static_cast<int>(a[4]), a[2], a[3]);
      case RecordedCall::kMknod:
        return make_node(question, AT_FDCWD, a[0], a[1], a[2]);
      case RecordedCall::kMknodat:
        return make_node(question, first, a[1], a[2], a[3]);
      case RecordedCall::kStat:
        return stat_file(question, AT_FDCWD, a[0], 0, a[1]);
      case RecordedCall::kLstat:
        return stat_file(question, AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW, a[1]);
      case RecordedCall::kFstat:
        return stat_file(question, first, 0, AT_EMPTY_PATH, a[1]);
      case RecordedCall::kFstatat:
        return stat_file(question, first, a[1], static_cast<int>(a[3]), a[2]);
      case RecordedCall::kStatx:
        return statx_file(question, first, a[1], static_cast<int>(a[2]), static_cast<uint32_t>(a[3]), a[4]);
      case RecordedCall::kSetAttribute:
        return name_attribute(question, a[1], -EPERM);
      case RecordedCall::kGetAttribute:
      case RecordedCall::kRemoveAttribute:
        return name_attribute(question, a[1], -ENODATA);
      case RecordedCall::kListAttributes:
        return list_attributes(question, AT_FDCWD, a[0], 0, a[1], a[2]);
      case RecordedCall::kListLinkAttributes:
        return list_attributes(question, AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW, a[1], a[2]);
      case RecordedCall::kListDescriptorAttributes:
        return list_attributes(question, first, 0, AT_EMPTY_PATH, a[1], a[2]);
      case RecordedCall::kNewerAttributeCall:
        return answer(-ENOSYS);  // programs take the older ones then
    }
    return kByKernel;
  }

  // The attribute in which owners are recorded is not there for the step. (A thread of it may change the name
  // after we have read it: then the step has given a file of its own another owner, as by chown.)
  Answer name_attribute(const Question& question, uint64_t name_address, int error) {
    std::string name;
    if (view_->read_path(question.tid, name_address, name) != 0) return kByKernel;
    return name == kOwnerAttribute ? answer(error) : kByKernel;
  }

  Answer list_attributes(const Question& question, int dirfd, uint64_t path, int flags, uint64_t buffer,
                         uint64_t size) {
    UniqueFd file;
    struct stat st;
    if (open_meant(question, dirfd, path, flags, file) != 0 ||
        fstatat(file.get(), "", &st, AT_EMPTY_PATH) != 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
      return kByKernel;
    std::vector<char> names(XATTR_LIST_MAX);
    const ssize_t n = listxattr(ProcessView::name_of(file.get()).c_str(), names.data(), names.size());
    if (n <= 0) return kByKernel;
    std::string shown;
    for (const char* at = names.data(); at < names.data() + n; at += strlen(at) + 1)
      if (strcmp(at, kOwnerAttribute) != 0) shown.append(at, strlen(at) + 1);
    if (shown.size() == static_cast<size_t>(n)) return kByKernel;
    if (size == 0) return answer_value(shown.size());
    if (size < shown.size()) return answer(-ERANGE);
    if (const int result = view_->write(question.tid, buffer, shown.data(), shown.size()); result != 0)
      return answer(result);
    return answer_value(shown.size());
  }

  // The file that a call means, as openat(2) and its kin name one.
  int open_meant(const Question& question, int dirfd, uint64_t path_address, int flags, UniqueFd& file) {
    std::string path;
    if (path_address != 0)
      if (int result = view_->read_path(question.tid, path_address, path); result != 0) return result;
    int result;
    if (path.empty())
      result = (flags & AT_EMPTY_PATH) != 0 ? view_->open_descriptor(question.tid, dirfd, file) : -ENOENT;
    else
      result = view_->open_path(question.tid, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, file);
    if (!is_still_asked(question)) return -ESRCH;  // the number may be another process's by now
    return result;
  }

  bool is_still_asked(const Question& question) const {
    uint64_t id = question.id;
    return ioctl(listener_, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
  }

  // Files that belong to somebody outside (of /proc, say) are none of ours. The group may be a foreign one of
  // the store's directory, inherited.
  static bool is_ours(const struct stat& st) { return st.st_uid == 0; }

  RecordedOwner maker() const { return {.uid = options_.uid, .gid = options_.gid}; }

  Answer change_owner(const Question& question, int dirfd, uint64_t path, int flags, uint64_t uid_argument,
                      uint64_t gid_argument) {
    if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) != 0) return kByKernel;
    const bool is_short = question.call >= RecordedCall::kChown16;
    const uint32_t uid = id_of(uid_argument, is_short), gid = id_of(gid_argument, is_short);
    UniqueFd file;
    if (int result = open_meant(question, dirfd, path, flags, file); result != 0) return answer(result);
    struct stat st;
    if (fstatat(file.get(), "", &st, AT_EMPTY_PATH) != 0) return answer(-errno);
    if (!is_ours(st)) return kByKernel;
    const std::string name = ProcessView::name_of(file.get());
    RecordedOwner owner = records_.find(file.get(), name.c_str()).value_or(maker());
    if (options_.uid != 0 && (owner.uid != options_.uid || (uid != kKeep && uid != owner.uid) ||
                              (gid != kKeep && gid != owner.gid && gid != options_.gid)))
      return answer(-EPERM);
    if (fchownat(file.get(), "", uid == kKeep ? kKeep : 0, gid == kKeep ? kKeep : 0, AT_EMPTY_PATH) != 0)
      return answer(-errno);
    if (uid != kKeep) owner.uid = uid;
    if (gid != kKeep) owner.gid = gid;
    return answer(-records_.record(file.get(), name.c_str(), owner));
  }

  Answer make_node(const Question& question, int dirfd, uint64_t path_address, uint64_t mode_argument,
                   uint64_t device_argument) {
    const auto mode = static_cast<mode_t>(mode_argument);
    if ((!S_ISCHR(mode) && !S_ISBLK(mode)) || options_.uid != 0) return kByKernel;
    std::string path;
    if (int result = view_->read_path(question.tid, path_address, path); result != 0) return answer(result);
    const auto [above, name] = split_new_name(path);
    if (name.empty() || name == "." || name == "..") return kByKernel;  // EEXIST and such
    RecordedOwner owner = maker();
    const auto device = static_cast<uint32_t>(device_argument);  // the kernel's own packing
    owner.device_type = mode & S_IFMT;
    owner.device_major = device >> 8 & 0xfff;
    owner.device_minor = (device & 0xff) | (device >> 12 & 0xfff00);
    if (S_ISCHR(mode) && device == 0) return kByKernel;  // a whiteout is not for steps to make
    UniqueFd directory;
    mode_t mask = 0;
    int result = view_->open_path(question.tid, dirfd, above, true, directory);
    if (result == 0) result = view_->file_mode_mask(question.tid, mask);
    if (!is_still_asked(question)) return answer(-ESRCH);
    if (result != 0) return answer(result);
    UniqueFd file(
        openat(directory.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return answer(-errno);
    if (fchmod(file.get(), mode & 07777 & ~mask) != 0) return answer(-errno);
    return answer(-records_.record(file.get(), ProcessView::name_of(file.get()).c_str(), owner));
  }

  // The record, if a call must say something else than the kernel would. What is not found, or no file at
  // all, is the kernel's to answer.
  std::optional<RecordedOwner> different_owner(const Question& question, int dirfd, uint64_t path, int flags,
                                               UniqueFd& file, struct stat& st) {
    if (open_meant(question, dirfd, path, flags, file) != 0) return std::nullopt;
    if (fstatat(file.get(), "", &st, AT_EMPTY_PATH) != 0 || !is_ours(st)) return std::nullopt;
    const RecordedOwner owner =
        records_.find(file.get(), ProcessView::name_of(file.get()).c_str()).value_or(maker());
    return owner != maker() || st.st_gid != 0 ? std::optional(owner) : std::nullopt;
  }

  static bool is_device(const RecordedOwner& owner, const struct stat& st) {
    return owner.device_type != 0 && S_ISREG(st.st_mode) && st.st_size == 0;
  }

  Answer stat_file(const Question& question, int dirfd, uint64_t path, int flags, uint64_t buffer) {
    UniqueFd file;
    struct stat st;
    const auto owner = different_owner(question, dirfd, path, flags, file, st);
    if (!owner) return kByKernel;
    st.st_uid = owner->uid;
    st.st_gid = owner->gid;
    if (is_device(*owner, st)) {
      st.st_mode = (st.st_mode & 07777) | owner->device_type;
      st.st_rdev = makedev(owner->device_major, owner->device_minor);
    }
    return answer(view_->write(question.tid, buffer, &st, sizeof st));
  }

  Answer statx_file(const Question& question, int dirfd, uint64_t path, int flags, uint32_t mask,
                    uint64_t buffer) {
    UniqueFd file;
    struct stat st;
    const auto owner = different_owner(question, dirfd, path, flags, file, st);
    if (!owner) return kByKernel;
    struct statx stx;
    const int kept = flags & (AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC);
    if (statx(file.get(), "", kept | AT_EMPTY_PATH, mask, &stx) != 0) return kByKernel;
    stx.stx_uid = owner->uid;
    stx.stx_gid = owner->gid;
    if (is_device(*owner, st)) {
      stx.stx_mode = static_cast<uint16_t>((stx.stx_mode & 07777) | owner->device_type);
      stx.stx_rdev_major = owner->device_major;
      stx.stx_rdev_minor = owner->device_minor;
    }
    return answer(view_->write(question.tid, buffer, &stx, sizeof stx));
  }

  const Options options_;
  UniqueFd ours_, childs_, root_;
  OwnerRecords records_;
  std::thread thread_;
  // The thread's own.
  std::unique_ptr<ProcessView> view_;
  int listener_ = -1;
};

Recorder::Recorder(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Recorder::~Recorder() = default;
std::optional<RecordedOwner> Recorder::owner_of_special(const RootfsPath& path) const {
  return impl_->owner_of_special(path);
}
void Recorder::record(int fd, const RecordedOwner& owner) {
  impl_->record_here(fd, owner);
}
void Recorder::begin(int root_mount) {
  impl_->begin(root_mount);
}
int Recorder::child_socket() const {
  return impl_->child_socket();
}
void Recorder::child_has_started() {
  impl_->child_has_started();
}

}  // namespace corten::sandbox
