// The program: its descriptors, its directory, where PATH has it, and what is said when it cannot be started.
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "sandbox/plan.h"

namespace corten::sandbox {

namespace {

constexpr int kFirstSafeFd = 10;  // beyond 0, 1, 2 and whatever else dup2 will overwrite

int change_directory(Child&, const Operation& op) {
  return chdir(op.text.c_str()) == 0 ? 0 : -errno;
}

int place_descriptor(Child&, const Operation& op) {
  return dup2(op.fd, static_cast<int>(op.number)) >= 0 ? 0 : -errno;
}

int close_others(Child&, const Operation&) {
  if (syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) != 0) return -errno;
  return 0;
}

// The machine's, or the program's own where we run in a root without a /dev.
int open_null(const Plan& plan) {
  int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  return fd < 0 && errno == ENOENT && plan.dev >= 0
             ? openat(plan.dev, "null", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
             : fd;
}

void plan_descriptors(const Spec& spec, Plan& plan) {
  auto place = [&](int fd, int number) {
    UniqueFd copy(fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, kFirstSafeFd) : open_null(plan));
    if (copy && copy.get() < kFirstSafeFd) copy = UniqueFd(fcntl(copy.get(), F_DUPFD_CLOEXEC, kFirstSafeFd));
    if (!copy) fail_errno("descriptor {} for the program's {}", fd, number);
    Operation op{.apply = place_descriptor,
                 .what = fmt::format("give the program its descriptor {}", number)};
    op.number = static_cast<uint64_t>(number);
    op.fd = plan.keep(std::move(copy));
    plan.add(std::move(op));
  };
  place(spec.stdin_fd, 0);
  place(spec.stdout_fd, 1);
  place(spec.stderr_fd, 2);
  plan.add({.apply = close_others, .what = "close all other descriptors"});
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (const std::string& string : strings) {
    if (string.find('\0') != std::string::npos)
      fail(ErrorCode::kInvalid, "argument {}: holds a zero byte", quote(string));
    list.push_back(const_cast<char*>(string.c_str()));
  }
  list.push_back(nullptr);
  return list;
}

std::vector<std::string> candidates_of(const Spec& spec) {
  const std::string& program = spec.argv.front();
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> list;
  std::string path;
  for (const std::string& variable : spec.environment)
    if (variable.starts_with("PATH=")) path = variable.substr(5);
  if (program.empty() || path.empty()) return list;
  for (const std::string& directory : split(path, ':'))
    if (directory.starts_with('/'))
      list.push_back(directory + "/" + program);  // Go refuses relative ones too
  return list;
}

}  // namespace

void plan_program(const Spec& spec, Plan& plan) {
  if (spec.argv.empty()) fail(ErrorCode::kInvalid, "no command specified");
  plan.candidates = candidates_of(spec);
  plan.argv = pointers(spec.argv);
  plan.envp = pointers(spec.environment);
  plan.add({.apply = change_directory,
            .what = fmt::format("change to the directory {}", spec.directory.absolute()),
            .text = spec.directory.absolute()});
  plan_descriptors(spec, plan);
}

void execute_program(const Plan& plan, Report& report) {
  const bool by_path = plan.argv[0][0] == 0 || strchr(plan.argv[0], '/') == nullptr;
  for (size_t i = 0; i < plan.candidates.size(); i++) {
    const char* file = plan.candidates[i].c_str();
    struct stat st;
    ExecFailure why = ExecFailure::kNone;
    if (stat(file, &st) != 0)
      why = ExecFailure::kStat;
    else if (S_ISDIR(st.st_mode))
      why = ExecFailure::kIsDirectory;
    else if (access(file, X_OK) != 0)
      why = ExecFailure::kNotExecutable;
    if (why == ExecFailure::kNone) {
      execve(file, plan.argv.data(), plan.envp.data());
      why = ExecFailure::kExecve;
    } else if (by_path) {
      continue;
    }
    report.error = errno;
    report.exec = why;
    report.exec_candidate = i;
    return;
  }
  report.exec = ExecFailure::kNotInPath;
}

}  // namespace corten::sandbox
