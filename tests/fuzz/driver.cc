// Runs fuzz targets: as plain tests in every build, and for as long as one likes in a build that tells which
// code an input reached.
//
//   fuzz_ROOM                              every target: its seeds, its kept inputs
//   (tests/fuzz/corpus/TARGET),
//                                          and some thousand changed ones, the same each time
//   fuzz_ROOM TARGET --seconds N [--seed S]  inputs that reach something new are changed further
//   fuzz_ROOM TARGET FILE...               these inputs
//
// An own driver instead of libFuzzer, since the tree is built by g++, which has none: -fsanitize-coverage=
// trace-pc (the preset `fuzz`) calls __sanitizer_cov_trace_pc() at every edge, and a table of counters by
// edge is all that guidance needs. The input that runs lies in a shared mapping of a file, so that it is
// there whatever ends the program: a sanitizer, a signal, the alarm that stands for a hang, memory beyond the
// limit.
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

#include "base/clock.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "fuzz/fuzz.h"

namespace {

constexpr size_t kMostInputBytes = 64 << 10;
constexpr size_t kUsualInputBytes = 4 << 10;
constexpr unsigned kHangSeconds = 60;
constexpr int kPlainChanges = 2000;

// Plain, since even an operator would be counted, for ever.
constexpr size_t kCounters = 1 << 16;
uint8_t counters[kCounters];
bool is_counting = false;

}  // namespace

// What sanitizers are told at their start.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=1:max_allocation_size_mb=1024:hard_rss_limit_mb=3000";
}
extern "C" const char* __ubsan_default_options() {
  return "halt_on_error=1:print_stacktrace=1";
}

extern "C" __attribute__((no_sanitize_coverage, no_sanitize("address", "undefined"))) void
__sanitizer_cov_trace_pc() {
  if (!is_counting) return;
  static thread_local uintptr_t before = 0;
  auto here = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  uint8_t& counter = counters[(here ^ before << 1 ^ here >> 16) & (kCounters - 1)];
  if (counter < 255) counter++;
  before = here;
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
  for (int i = 0; i < kPlainChanges; i++)
    run_one(target, mutator.change(inputs[mutator.below(inputs.size())], inputs), witness);
  fmt::print("{}: {} inputs hold, and {} changed ones\n", target.name, inputs.size(), kPlainChanges);
}

// Whether the last run reached an edge, or an order of magnitude of passes over one, for the first time.
bool is_news() {
  static uint8_t known[kCounters];
  bool news = false;
  for (size_t i = 0; i < kCounters; i++) {
    uint64_t eight = 0;  // most of the table is zero
    if (i % sizeof eight == 0) {
      memcpy(&eight, counters + i, sizeof eight);
      if (!eight) {
        i += sizeof eight - 1;
        continue;
      }
    }
    if (!counters[i]) continue;
    int magnitude = 0;
    for (unsigned n = counters[i]; n > 1; n >>= 1) magnitude++;
    auto bit = static_cast<uint8_t>(1 << magnitude);
    news |= !(known[i] & bit);
    known[i] |= bit;
  }
  return news;
}

void run_for(const Target& target, int64_t seconds, uint64_t seed) {
  Witness witness(target.name);
  std::vector<std::string> inputs = first_inputs(target);
  Mutator mutator(seed);
  auto counted = [&](std::string_view input) {
    memset(counters, 0, sizeof counters);
    is_counting = true;
    run_one(target, input, witness);
    is_counting = false;
    return is_news();
  };
  for (const std::string& input : inputs) counted(input);
  size_t runs = 0;
  for (int64_t end = monotonic_ns() + seconds * 1'000'000'000; monotonic_ns() < end; runs++) {
    // The newest lead on more often than the first.
    size_t which = mutator.below(2) ? mutator.below(inputs.size())
                                    : inputs.size() - 1 - mutator.below(std::min<size_t>(inputs.size(), 16));
    std::string input = mutator.change(inputs[which], inputs);
    if (counted(input)) inputs.push_back(std::move(input));
  }
  fmt::print("{}: {} runs, {} inputs that reach something of their own\n", target.name, runs, inputs.size());
}

int usage() {
  fmt::print(stderr, "usage: fuzz_ROOM [TARGET (FILE... | --seconds N [--seed S])]\ntargets:");
  for (const Target& target : targets()) fmt::print(stderr, " {}", target.name);
  fmt::print(stderr, "\n");
  return 2;
}

int run(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    for (const Target& target : targets()) run_plainly(target);
    return 0;
  }
  auto target = std::find_if(targets().begin(), targets().end(),
                             [&](const Target& t) { return t.name == arguments[0]; });
  if (target == targets().end() || arguments.size() < 2) return usage();
  if (arguments[1] != "--seconds") {
    Witness witness(target->name);
    for (size_t i = 1; i < arguments.size(); i++)
      run_one(*target, read_file(arguments[i], kMostInputBytes), witness);
    return 0;
  }
  if (arguments.size() != 3 && !(arguments.size() == 5 && arguments[3] == "--seed")) return usage();
  auto seconds = parse_int(arguments[2]), seed = parse_int(arguments.size() == 5 ? arguments[4] : "1");
  if (!seconds || !seed) return usage();
  run_for(*target, *seconds, static_cast<uint64_t>(*seed));
  return 0;
}

}  // namespace

Registration::Registration(std::string name, Reader read, std::vector<std::string> seeds) {
  targets().push_back({std::move(name), read, std::move(seeds)});
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

int main(int count, char** arguments) {
  try {
    return corten::fuzz::run({arguments + 1, arguments + count});
  } catch (const std::exception& error) {
    fmt::print(stderr, "not an expected error: {}\n", corten::printable(error.what()));
    abort();
  }
}
