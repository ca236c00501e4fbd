// binfmt_misc, per user namespace: see emulation.h.
//
// The kernel asks the handlers of the nearest user namespace above a process that has its own instance of
// binfmt_misc; mounting the file system in a user namespace makes one (Linux 6.7). The mount need not be
// attached anywhere: a detached one keeps the instance enabled as long as its descriptor is open. A new
// instance hides that of the machine, so all emulators are registered at once. Flags: F opens the emulator
// now, in our root, so that it is found from inside any image; O hands the program over as a descriptor; P
// keeps argv[0], where Debian's wrappers by that name (".../aarch64-binfmt-P") are there to understand it.
#include "sandbox/emulation.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <span>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "sandbox/kernel.h"
#include "sandbox/process.h"

namespace corten::sandbox {

namespace {

struct Processor {
  std::string_view name;  // Go's
  std::string_view qemu;  // qemu's
  uint16_t machine;       // ELF's e_machine
  bool is_64;
  bool is_big_endian;
  uint32_t elf_flags;
  std::string_view code;  // exit(7)
};

using namespace std::string_view_literals;
constexpr std::array kProcessors = {
    // mov x0, #7; mov x8, #93; svc #0
    Processor{"arm64", "aarch64", 183, true, false, 0, "\xe0\x00\x80\xd2\xa8\x0b\x80\xd2\x01\x00\x00\xd4"sv},
    // mov r0, #7; mov r7, #1; svc 0
    Processor{"arm", "arm", 40, false, false, 0x05000000,
              "\x07\x00\xa0\xe3\x01\x70\xa0\xe3\x00\x00\x00\xef"sv},
    // mov edi, 7; mov eax, 60; syscall
    Processor{"amd64", "x86_64", 62, true, false, 0, "\xbf\x07\x00\x00\x00\xb8\x3c\x00\x00\x00\x0f\x05"sv},
    // mov ebx, 7; mov eax, 1; int 0x80
    Processor{"386", "i386", 3, false, false, 0, "\xbb\x07\x00\x00\x00\xb8\x01\x00\x00\x00\xcd\x80"sv},
    // li a0, 7; li a7, 93; ecall
    Processor{"riscv64", "riscv64", 243, true, false, 0,
              "\x13\x05\x70\x00\x93\x08\xd0\x05\x73\x00\x00\x00"sv},
    // li r0, 1; li r3, 7; sc
    Processor{"ppc64le", "ppc64le", 21, true, false, 2, "\x01\x00\x00\x38\x07\x00\x60\x38\x02\x00\x00\x44"sv},
    // lghi %r2, 7; svc 1
    Processor{"s390x", "s390x", 22, true, true, 0, "\xa7\x29\x00\x07\x0a\x01"sv},
    // addi.w $a0, $zero, 7; ori $a7, $zero, 93; syscall 0
    Processor{"loong64", "loongarch64", 258, true, false, 0,
              "\x04\x1c\x80\x02\x0b\x74\x81\x03\x00\x00\x2b\x00"sv},
};

const Processor* find_processor(std::string_view name) {
  for (const Processor& processor : kProcessors)
    if (processor.name == name) return &processor;
  return nullptr;
}

bool is_native(const Processor& processor) {
#if defined(__x86_64__)
  return processor.name == "amd64" || processor.name == "386";
#elif defined(__aarch64__)
  return processor.name == "arm64";
#else
  return false;
#endif
}

class ElfBytes {
 public:
  explicit ElfBytes(bool is_big_endian) : is_big_endian_(is_big_endian) {}
  void put(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++)
      text_ += static_cast<char>(value >> 8 * (is_big_endian_ ? bytes - 1 - i : i) & 0xff);
  }
  void put(std::string_view bytes) { text_ += bytes; }
  std::string take() { return std::move(text_); }

 private:
  bool is_big_endian_;
  std::string text_;
};

// What the kernel compares the beginning of a program with: all of ELF's header up to e_machine, but for the
// OS ABI and the version, as an executable or a position-independent one.
std::string magic_of(const Processor& processor) {
  ElfBytes bytes(processor.is_big_endian);
  bytes.put(
      "\x7f"
      "ELF"sv);
  bytes.put(processor.is_64 ? 2 : 1, 1);
  bytes.put(processor.is_big_endian ? 2 : 1, 1);
  bytes.put(1, 1);
  bytes.put(std::string(9, '\0'));
  bytes.put(2, 2);
  bytes.put(processor.machine, 2);
  return bytes.take();
}

std::string escaped(std::string_view bytes) {
  std::string text;
  for (char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

// The line that binfmt_misc's `register` takes; "" when the machine has no emulator for it.
std::string registration(const Processor& processor) {
  std::string program = fmt::format("/usr/libexec/qemu-binfmt/{}-binfmt-P", processor.qemu), flags = "POF";
  if (!path_exists(program)) {
    program = find_program(fmt::format("qemu-{}-static", processor.qemu));
    flags = "OF";
  }
  if (program.empty()) return "";
  std::string mask("\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff"sv);
  mask += processor.is_big_endian ? "\xff\xfe\xff\xff"sv : "\xfe\xff\xff\xff"sv;
  return fmt::format(":corten-{}:M::{}:{}:{}:{}", processor.qemu, escaped(magic_of(processor)), escaped(mask),
                     program, flags);
}

}  // namespace

std::string probe_program(std::string_view architecture) {
  const Processor* processor = find_processor(architecture);
  if (!processor) return "";
  const bool is_64 = processor->is_64;
  const int word = is_64 ? 8 : 4;
  const uint64_t header = is_64 ? 64 : 52, segment = is_64 ? 56 : 32;
  const uint64_t base = 0x400000, entry = base + header + segment,
                 size = header + segment + processor->code.size();
  ElfBytes elf(processor->is_big_endian);
  elf.put(magic_of(*processor));
  elf.put(1, 4);
  elf.put(entry, word);
  elf.put(header, word);
  elf.put(0, word);
  elf.put(processor->elf_flags, 4);
  elf.put(header, 2);
  elf.put(segment, 2);
  elf.put(1, 2);
  elf.put(is_64 ? 64 : 40, 2);
  elf.put(0, 2);
  elf.put(0, 2);
  constexpr uint64_t kLoad = 1, kReadAndExecute = 5, kPage = 0x10000;
  elf.put(kLoad, 4);
  if (is_64) elf.put(kReadAndExecute, 4);
  elf.put(0, word);
  elf.put(base, word);
  elf.put(base, word);
  elf.put(size, word);
  elf.put(size, word);
  if (!is_64) elf.put(kReadAndExecute, 4);
  elf.put(kPage, word);
  elf.put(processor->code);
  return elf.take();
}

bool runs_programs_of(std::string_view architecture, const Entered& entered) {
  const std::string program = probe_program(architecture);
  if (program.empty() || is_forbidden(Feature::kEmulation)) return false;
  // /tmp may be mounted so that nothing in it can be executed: a tmpfs of our own is not.
  TempDir place = TempDir::make("/tmp", "corten-probe-");
  mount_memory({place.path()});
  bool works = false;
  try {
    UniqueFd file = open_file(place / "probe", O_WRONLY | O_CREAT | O_EXCL, 0755);
    write_fully(file.get(), program, "probe");
    file.close_checked("probe");
    Spec spec;
    Source source;
    source.path = {place.path()};
    spec.root.lowers.push_back(source);
    spec.argv = {"/probe"};
    spec.one_id = entered.records_owners();
    UniqueFd nowhere = open_file("/dev/null", O_WRONLY);
    spec.stdout_fd = spec.stderr_fd = nowhere.get();
    Process process = Process::start(spec);
    const Exit exit = process.wait();
    works = exit.exec_error.empty() && exit.code == kProbeExitCode;
  } catch (const Error&) {
    works = false;  // whatever keeps a box from running will be told by the first box that matters
  }
  unmount({place.path()});
  return works;
}

static bool register_emulators(std::string& why) {
  static UniqueFd instance;  // keeps it enabled until we end
  if (instance) return true;
  std::vector<std::string> lines;
  for (const Processor& processor : kProcessors) {
    // What runs already (our own processor, its 32-bit form) must not be handed over: the emulator is such a
    // program itself. What the machine's handlers run is registered anew, as they are hidden now.
    if (is_native(processor)) continue;
    if (std::string line = registration(processor); !line.empty()) lines.push_back(std::move(line));
  }
  if (lines.empty()) {
    why = "qemu-user-static is not installed";
    return false;
  }
  why = "the kernel has no binfmt_misc of its own for a user namespace (Linux 6.7)";
  if (is_forbidden(Feature::kEmulation)) return false;
  UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "binfmt_misc", FSOPEN_CLOEXEC)));
  if (!context || syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return false;
  UniqueFd mount(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!mount) return false;
  for (const std::string& line : lines) {
    UniqueFd file(openat(mount.get(), "register", O_WRONLY | O_CLOEXEC));
    if (!file) return false;
    if (write(file.get(), line.data(), line.size()) < 0 && errno != EEXIST) {
      why = fmt::format("binfmt_misc: {}", errno_text(errno));
      return false;
    }
  }
  instance = std::move(mount);
  return true;
}

std::string why_not_emulated(std::string_view architecture, const Entered& entered) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  if (probe_program(architecture).empty())
    return fmt::format("programs of {} are not known here", architecture);
  if (!entered.has_namespaces()) return "namespaces are not to be had here";
  if (runs_programs_of(architecture, entered)) return "";
  if (!entered.in_own_user_namespace)
    return fmt::format(
        "binfmt_misc has no handler for programs of {}, and we are in no user namespace of our own that "
        "could "
        "have one (as root, name the platform with --platform)",
        architecture);
  std::string why;
  if (!register_emulators(why)) return why;
  if (runs_programs_of(architecture, entered)) return "";
  return fmt::format("no emulator here runs programs of {}", architecture);
}

static bool all_run(const std::vector<std::string>& architectures, const EnterOptions& options) {
  const pid_t pid = fork();
  if (pid < 0) return false;
  if (pid == 0) {
    int code = 0;
    try {
      const Entered entered = enter(options);
      for (const std::string& architecture : architectures)
        if (!why_not_emulated(architecture, entered).empty()) code = 1;
    } catch (const std::exception&) {
      code = 1;
    }
    _exit(code);
  }
  int status = 1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Entered enter_for(const std::vector<std::string>& architectures, const EnterOptions& options) {
  EnterOptions own = options;
  own.all_ids = true;
  const bool may_need_own = geteuid() == 0 && !options.user_namespace && !architectures.empty();
  if (may_need_own && !all_run(architectures, options) && all_run(architectures, own)) return enter(own);
  return enter(options);
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const Processor& processor : kProcessors) names.emplace_back(processor.name);
  return names;
}

}  // namespace corten::sandbox
