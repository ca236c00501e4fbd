// Runs fuzz targets: as plain tests in every build, and under libFuzzer in the one that the preset `fuzz`
// makes.
//
//   fuzz_ROOM                        every target: its seeds, its kept inputs (tests/fuzz/corpus/TARGET), and
//                                    some thousand changed ones, the same each time
//   fuzz_ROOM TARGET FILE...         these inputs
//   fuzz_ROOM --targets              their names
//   fuzz_ROOM --seeds TARGET DIR     writes the seeds to files
//   CORTEN_FUZZ_TARGET=TARGET fuzz_ROOM FLAGS... DIR...    libFuzzer's own flags (tests/fuzz/run knows which)
//
// The input that runs plainly lies in a shared mapping of a file, so that it is there whatever ends the
// program: a sanitizer, a signal, the alarm that stands for a hang, memory beyond the limit.
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>

#include <fmt/core.h>

#include "base/strings.h"
#include "base/unique_fd.h"
#include "fuzz/fuzz.h"

namespace {

constexpr size_t kMostInputBytes = 64 << 10;
constexpr size_t kUsualInputBytes = 4 << 10;
constexpr unsigned kHangSeconds = 60;
constexpr int kPlainChanges = 2000, kSlowPlainChanges = 150;

}  // namespace

// What sanitizers are told at their start.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=1:max_allocation_size_mb=1024:hard_rss_limit_mb=3000";
}
extern "C" const char* __ubsan_default_options() {
  return "halt_on_error=1:print_stacktrace=1";
}

namespace corten::fuzz {

namespace {

std::vector<Target>& targets() {
  static std::vector<Target> list;
  return list;
}

// The input that runs, in a file.
class Witness {
 public:
  explicit Witness(const std::string& target) : path_(fmt::format("fuzz-{}-{}.input", target, getpid())) {
    fd_ = open_file(path_, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (ftruncate(fd_.get(), kMostInputBytes) != 0) fail_errno("truncate {}", path_);
    void* memory = mmap(nullptr, kMostInputBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (memory == MAP_FAILED) fail_errno("map {}", path_);
    bytes_ = static_cast<char*>(memory);
  }
  ~Witness() {
    munmap(bytes_, kMostInputBytes);
    unlink(path_.c_str());
  }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;

  void show(std::string_view input) {
    memcpy(bytes_, input.data(), input.size());
    if (ftruncate(fd_.get(), static_cast<off_t>(input.size())) != 0) abort();
  }
  // The mapping reaches beyond a shorter file's end: grown again before the next is written.
  void prepare() {
    if (ftruncate(fd_.get(), kMostInputBytes) != 0) abort();
  }

 private:
  std::string path_;
  UniqueFd fd_;
  char* bytes_ = nullptr;
};

void run_one(const Target& target, std::string_view input, Witness& witness) {
  input = input.substr(0, kMostInputBytes);
  witness.prepare();
  witness.show(input);
  alarm(kHangSeconds);
  // A copy of its own size, so that a sanitizer sees a read beyond its end.
  std::vector<char> copy(input.begin(), input.end());
  target.read({copy.data(), copy.size()});
  alarm(0);
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  size_t below(size_t limit) { return limit ? random_() % limit : 0; }

  std::string change(std::string text, const std::vector<std::string>& others) {
    for (size_t n = 1 + below(6); n > 0; n--) step(text, others);
    if (text.size() > kUsualInputBytes && below(50) != 0) text.resize(kUsualInputBytes);
    if (text.size() > kMostInputBytes) text.resize(kMostInputBytes);
    return text;
  }

 private:
  void step(std::string& text, const std::vector<std::string>& others) {
    static constexpr char kLetters[] = "\0\n\r\t\x1b\x7f\x9b\xff\xc2 \"'\\$#%&*+,-./:;<=>?@[]^`{|}~";
    static constexpr std::string_view kBytes(kLetters, sizeof kLetters - 1);
    static const std::vector<std::string> kWords = {"-",
                                                    "--",
                                                    "..",
                                                    "../",
                                                    "://",
                                                    "\r\n",
                                                    "%00",
                                                    "%0a",
                                                    "%2F",
                                                    "@",
                                                    "\x1b[31m",
                                                    "\xc2\x9b"
                                                    "2J",
                                                    "\xe2\x80\xa8",
                                                    "18446744073709551616",
                                                    "-1",
                                                    "0x7fffffff",
                                                    "\\n",
                                                    "${a",
                                                    "<<EOF\n",
                                                    "=",
                                                    "\xf0\x9f\x98\x80",
                                                    "\xed\xa0\x80",
                                                    "[",
                                                    "]"};
    size_t at = below(text.size() + 1);
    switch (below(10)) {
      case 0:
        if (!text.empty()) text[below(text.size())] ^= static_cast<char>(1 << below(8));
        break;
      case 1:
        if (!text.empty()) text[below(text.size())] = static_cast<char>(random_());
        break;
      case 2:
        text.insert(at, 1, kBytes[below(kBytes.size())]);
        break;
      case 3:
        text.erase(at, 1 + below(below(4) ? 4 : text.size()));
        break;
      case 4: {
        std::string piece = text.substr(at, 1 + below(32));
        text.insert(below(text.size() + 1), piece);
        break;
      }
      case 5: {
        const std::string& other = others[below(others.size())];
        size_t from = below(other.size() + 1);
        text = text.substr(0, at) + other.substr(from);
        break;
      }
      case 6: {
        const std::string& other = others[below(others.size())];
        size_t from = below(other.size() + 1);
        text.insert(at, other.substr(from, 1 + below(24)));
        break;
      }
      case 7:
        text.insert(at, kWords[below(kWords.size())]);
        break;
      case 8: {  // four bytes as a length has them
        uint32_t value = below(2) ? static_cast<uint32_t>(below(300)) : static_cast<uint32_t>(random_());
        for (size_t i = 0; i < 4 && at + i < text.size(); i++)
          text[at + i] = static_cast<char>(value >> (24 - 8 * i));
        break;
      }
      default: {
        std::string piece = text.substr(at, 1 + below(8)), many;
        for (size_t n = below(below(8) ? 20 : 2000); n > 0; n--) many += piece;
        text.insert(at, many);
      }
    }
  }

  std::mt19937_64 random_;
};

std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> found;
  DIR* stream = opendir(directory.c_str());
  if (!stream) return found;
  while (dirent* item = readdir(stream))
    if (item->d_name[0] != '.') found.push_back(directory + "/" + item->d_name);
  closedir(stream);
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> first_inputs(const Target& target) {
  std::vector<std::string> inputs = target.seeds;
  inputs.emplace_back();
  for (const std::string& file : files_in("tests/fuzz/corpus/" + target.name))
    inputs.push_back(read_file(file, kMostInputBytes));
  return inputs;
}

void run_plainly(const Target& target) {
  Witness witness(target.name);
  std::vector<std::string> inputs = first_inputs(target);
  for (const std::string& input : inputs) run_one(target, input, witness);
  Mutator mutator(1);
  const int changes = target.is_slow ? kSlowPlainChanges : kPlainChanges;
  for (int i = 0; i < changes; i++)
    run_one(target, mutator.change(inputs[mutator.below(inputs.size())], inputs), witness);
  fmt::print("{}: {} inputs hold, and {} changed ones\n", target.name, inputs.size(), changes);
}

int usage() {
  fmt::print(stderr, "usage: fuzz_ROOM [TARGET FILE... | --targets | --seeds TARGET DIRECTORY]\n");
  return 2;
}

const Target* find_target(std::string_view name) {
  auto target =
      std::find_if(targets().begin(), targets().end(), [&](const Target& t) { return t.name == name; });
  if (target != targets().end()) return &*target;
  fmt::print(stderr, "no target {}\n", printable(name));
  return nullptr;
}

int write_seeds(const Target& target, const std::string& directory) {
  for (size_t i = 0; i < target.seeds.size(); i++)
    write_file_atomic(fmt::format("{}/seed_{}", directory, i), target.seeds[i], 0644);
  return 0;
}

int run(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    for (const Target& target : targets()) run_plainly(target);
    return 0;
  }
  if (arguments[0] == "--targets") {
    for (const Target& target : targets()) fmt::print("{}\n", target.name);
    return 0;
  }
  bool seeds = arguments[0] == "--seeds";
  if (arguments.size() < 2 || (seeds && arguments.size() != 3)) return usage();
  const Target* target = find_target(arguments[seeds ? 1 : 0]);
  if (!target) return usage();
  if (seeds) return write_seeds(*target, arguments[2]);
  Witness witness(target->name);
  for (size_t i = 1; i < arguments.size(); i++)
    run_one(*target, read_file(arguments[i], kMostInputBytes), witness);
  return 0;
}

}  // namespace

Registration::Registration(std::string name, Reader read, std::vector<std::string> seeds, bool is_slow) {
  targets().push_back({std::move(name), read, std::move(seeds), is_slow});
}

void broken(const char* condition, const char* file, int line) {
  fmt::print(stderr, "broken: {} ({}:{}); the input lies in fuzz-TARGET-{}.input\n", printable(condition),
             file, line, getpid());
  abort();
}

bool is_terminal_text(std::string_view text, bool with_colors) {
  if (!is_valid_utf8(text)) return false;
  for (size_t i = 0; i < text.size(); i++) {
    auto c = static_cast<uint8_t>(text[i]);
    if (c == 0xC2 && static_cast<uint8_t>(text[i + 1]) < 0xA0) return false;
    if (c == 0x1B && with_colors && text.substr(i).starts_with("\x1b[")) {
      i = text.find_first_not_of("0123456789;", i + 2);
      if (i == std::string_view::npos || text[i] != 'm') return false;
      continue;
    }
    if (c == 0x7F || (c < 0x20 && c != '\n' && c != '\t')) return false;
  }
  return true;
}

}  // namespace corten::fuzz

static int run_program(int count, char** arguments) {
  try {
    return corten::fuzz::run({arguments + 1, arguments + count});
  } catch (const std::exception& error) {
    fmt::print(stderr, "not an expected error: {}\n", corten::printable(error.what()));
    abort();
  }
}

#ifdef CORTEN_LIBFUZZER
// libFuzzer has main() and calls these two.
static const corten::fuzz::Target* wanted = nullptr;

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  const char* name = getenv("CORTEN_FUZZ_TARGET");
  if (!name) exit(run_program(*count, *arguments));
  wanted = corten::fuzz::find_target(name);
  if (!wanted) exit(2);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  wanted->read({reinterpret_cast<const char*>(data), size});
  return 0;
}
#else
int main(int count, char** arguments) {
  return run_program(count, arguments);
}
#endif
