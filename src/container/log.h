// The log of a detached container: {"log":"text\n","stream":"stdout","time":"..."} a line (Docker's json-file
// driver).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/path.h"
#include "base/unique_fd.h"

namespace corten::container {

// Cuts what comes into lines. A line past 16 KiB is written in parts, as Docker does. A full disk loses
// lines, never the container. Not thread-safe.
class LogWriter {
 public:
  static constexpr size_t kMaxLineBytes = 16 << 10;

  LogWriter(const HostPath& path, const Clock& clock);
  void write(int stream, std::string_view bytes);  // 1 or 2
  void finish();                                   // writes what has no line end

 private:
  void write_line(int stream, std::string_view line);

  UniqueFd file_;
  const Clock& clock_;
  std::string pending_[2];
};

struct LogOptions {
  std::optional<uint64_t> tail;  // last lines only
  std::optional<int64_t> since_ns, until_ns;
  bool timestamps = false;
  bool follow = false;
  std::function<bool()> is_over;  // for follow: nobody will write any more
};
// Hands each entry to its stream (1 or 2). Lines that are no entries are passed over.
void read_log(const HostPath& path, const LogOptions& options,
              const std::function<void(int stream, std::string_view text)>& output);

// Invalid bytes become U+FFFD, as Go's encoder writes them.
std::string to_valid_utf8(std::string_view text);

}  // namespace corten::container
