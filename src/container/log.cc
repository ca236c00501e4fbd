#include "container/log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "oci/config.h"

namespace corten::container {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
// An entry of 16 KiB, every byte written as \u00XX, and its frame.
constexpr size_t kMaxEntryBytes = 8 * LogWriter::kMaxLineBytes;

// The start of a UTF-8 sequence that the next bytes may complete.
size_t incomplete_tail(std::string_view bytes) {
  for (size_t back = 1; back <= 3 && back <= bytes.size(); back++) {
    unsigned char c = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((c & 0xC0) == 0x80) continue;
    size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

struct LogEntry {
  std::string text, time;
  int stream = 1;
};

std::optional<LogEntry> parse_entry(std::string_view line) {
  try {
    Json json = Json::parse(line, kMaxEntryBytes);
    return LogEntry{json.get_string("log"), json.get_string("time"),
                    json.get_string("stream") == "stderr" ? 2 : 1};
  } catch (const Error&) {
    return std::nullopt;  // torn by a crash of the machine
  }
}

bool is_wanted(const LogEntry& entry, const LogOptions& options) {
  if (!options.since_ns && !options.until_ns) return true;
  auto time = oci::parse_time(entry.time);
  if (!time) return false;
  int64_t ns = time->seconds * kSecond + time->ns;
  return (!options.since_ns || ns >= *options.since_ns) && (!options.until_ns || ns <= *options.until_ns);
}

// Where the last `count` lines begin.
off_t tail_offset(int fd, uint64_t count) {
  off_t end = lseek(fd, 0, SEEK_END), at = end;
  if (count == 0) return end;
  char buffer[64 << 10];
  uint64_t seen = 0;
  while (at > 0) {
    size_t size = static_cast<size_t>(std::min<off_t>(at, sizeof buffer));
    at -= static_cast<off_t>(size);
    ssize_t n = pread(fd, buffer, size, at);
    if (n <= 0) return at;
    for (ssize_t i = n; i > 0; i--)
      if (buffer[i - 1] == '\n' && at + i != end && ++seen >= count) return at + i;
  }
  return 0;
}

// Gives whole lines as the file grows.
class LineReader {
 public:
  explicit LineReader(int fd, off_t from) : fd_(fd), at_(from) {}

  void read_more(const std::function<void(std::string_view)>& line) {
    char buffer[64 << 10];
    while (true) {
      ssize_t n = pread(fd_, buffer, sizeof buffer, at_);
      if (n <= 0) return;
      at_ += n;
      pending_.append(buffer, static_cast<size_t>(n));
      size_t start = 0;
      for (size_t end; (end = pending_.find('\n', start)) != pending_.npos; start = end + 1)
        line(std::string_view(pending_).substr(start, end - start));
      pending_.erase(0, start);
      if (pending_.size() > kMaxEntryBytes) pending_.clear();  // no line of ours
    }
  }

 private:
  int fd_;
  off_t at_;
  std::string pending_;
};

}  // namespace

std::string to_valid_utf8(std::string_view text) {
  if (is_valid_utf8(text)) return std::string(text);
  std::string out;
  while (!text.empty()) {
    size_t length = 1;
    while (length < 4 && length < text.size() && !is_valid_utf8(text.substr(0, length))) length++;
    if (is_valid_utf8(text.substr(0, length)))
      out += text.substr(0, length);
    else
      length = 1, out += "\xEF\xBF\xBD";
    text.remove_prefix(length);
  }
  return out;
}

LogWriter::LogWriter(const HostPath& path, const Clock& clock)
    : file_(open_file(path.value, O_WRONLY | O_CREAT | O_APPEND, 0600)), clock_(clock) {}

void LogWriter::write(int stream, std::string_view bytes) {
  std::string& pending = pending_[stream == 2];
  while (!bytes.empty()) {
    size_t end = bytes.find('\n');
    size_t take = std::min(end == bytes.npos ? bytes.size() : end + 1, kMaxLineBytes - pending.size());
    pending += bytes.substr(0, take);
    bytes.remove_prefix(take);
    bool is_whole = pending.back() == '\n';
    if (!is_whole && pending.size() < kMaxLineBytes) continue;
    size_t keep = is_whole ? 0 : incomplete_tail(pending);
    write_line(stream, std::string_view(pending).substr(0, pending.size() - keep));
    pending.erase(0, pending.size() - keep);
  }
}

void LogWriter::finish() {
  for (int i : {0, 1})
    if (!pending_[i].empty()) write_line(i + 1, std::exchange(pending_[i], {}));
}

void LogWriter::write_line(int stream, std::string_view line) {
  int64_t now = clock_.now_ns();
  Json entry = Json::object({{"log", to_valid_utf8(line)},
                             {"stream", stream == 2 ? "stderr" : "stdout"},
                             {"time", format_rfc3339(now / kSecond, now % kSecond)}});
  std::string text = entry.dump() + "\n";
  struct stat before;
  if (fstat(file_.get(), &before) != 0) return;
  ssize_t n = ::write(file_.get(), text.data(), text.size());
  // A full disk: what was written of the line goes again, so that the next one begins a line.
  if (n >= 0 && static_cast<size_t>(n) < text.size() && ftruncate(file_.get(), before.st_size) != 0) return;
}

void read_log(const HostPath& path, const LogOptions& options,
              const std::function<void(int stream, std::string_view text)>& output) {
  UniqueFd file = open_file(path.value, O_RDONLY);
  LineReader reader(file.get(), options.tail ? tail_offset(file.get(), *options.tail) : 0);
  auto show = [&](std::string_view line) {
    auto entry = parse_entry(line);
    if (entry && is_wanted(*entry, options))
      output(entry->stream, options.timestamps ? entry->time + " " + entry->text : entry->text);
  };
  if (!options.follow) {
    reader.read_more(show);
    return;
  }
  UniqueFd changes(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (changes) inotify_add_watch(changes.get(), path.c_str(), IN_MODIFY);
  while (true) {
    bool over = options.is_over && options.is_over();
    reader.read_more(show);
    if (over) return;
    pollfd waiting{.fd = changes.get(), .events = POLLIN, .revents = 0};
    poll(&waiting, 1, 250);  // the end is no change of the log, so we look from time to time
    char events[4096];
    while (changes && read(changes.get(), events, sizeof events) > 0) {
    }
  }
}

}  // namespace corten::container
