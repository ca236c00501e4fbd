#include "cli/transfer_progress.h"

#include <stdio.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/strings.h"

namespace corten::cli {

TransferProgress::TransferProgress(std::string verb, bool is_quiet)
    : verb_(std::move(verb)), is_quiet_(is_quiet), is_terminal_(isatty(2) == 1), began_ns_(monotonic_ns()) {}

void TransferProgress::moved(const oci::Descriptor& blob, uint64_t at, bool is_placed) {
  if (is_quiet_) return;
  constexpr int64_t kRedrawNs = 100'000'000;
  std::lock_guard lock(mutex_);
  blobs_[blob.digest] = {at, blob.size};
  if (!is_terminal_) {
    if ((is_placed || at == blob.size) && told_.insert(blob.digest).second)
      fprintf(stderr, "%s %s %s\n", verb_.c_str(), blob.digest.to_string().c_str(),
              human_size(blob.size).c_str());
    return;
  }
  if (monotonic_ns() - drawn_ns_ < kRedrawNs) return;
  drawn_ns_ = monotonic_ns();
  draw();
}

void TransferProgress::draw() {
  uint64_t at = 0, size = 0;
  for (const auto& [digest, blob] : blobs_) at += blob.at, size += blob.size;
  const double seconds = static_cast<double>(monotonic_ns() - began_ns_) / 1e9;
  const double rate = seconds > 0 ? static_cast<double>(at) / seconds : 0;
  std::string line = fmt::format("{} {} of {}, {}/s", verb_, human_size(at), human_size(size),
                                 human_size(static_cast<uint64_t>(rate)));
  if (rate > 0 && size > at) line += fmt::format(", {:.0f} s left", static_cast<double>(size - at) / rate);
  fprintf(stderr, "\r\033[K%s", line.c_str());
  is_drawn_ = true;
}

void TransferProgress::clear() {
  if (is_drawn_) fputs("\r\033[K", stderr);
  is_drawn_ = false;
}

void TransferProgress::say(const std::string& line) {
  std::lock_guard lock(mutex_);
  clear();
  fprintf(stderr, "%s\n", printable(line).c_str());
}

void TransferProgress::finish() {
  std::lock_guard lock(mutex_);
  clear();
}

}  // namespace corten::cli
