// Time as a thing that is handed in, so that tests own it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace corten {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t now_ns() const = 0;  // wall clock, nanoseconds since 1970
  int64_t now_s() const { return now_ns() / 1'000'000'000; }
};

class SystemClock : public Clock {
 public:
  int64_t now_ns() const override;
};

class FakeClock : public Clock {
 public:
  explicit FakeClock(int64_t ns) : ns_(ns) {}
  int64_t now_ns() const override { return ns_; }
  void advance_ns(int64_t ns) { ns_ += ns; }

 private:
  int64_t ns_;
};

int64_t monotonic_ns();

// Nanoseconds since 1970 of a time in seconds and a fraction of 0..999,999,999 ns: what lies outside the
// years 1678 to 2261, which 64 bits hold, becomes the nearest that they do. File systems and archives have
// such times.
int64_t clamped_ns(int64_t seconds, int64_t fraction_ns = 0);

// RFC 3339 in UTC: "2026-11-21T10:00:00Z"; nanoseconds are written only when there are some.
std::string format_rfc3339(int64_t seconds, int64_t nanoseconds = 0);
std::optional<int64_t> parse_rfc3339(std::string_view text);  // seconds; the fraction is dropped

// Go's durations ("1m30s", "500ms"), in nanoseconds.
std::optional<int64_t> parse_duration(std::string_view text);
std::string format_duration(int64_t ns);  // Go's form: "1m30s", "0s"
// As Docker tells people: "About a minute", "3 weeks".
std::string human_duration(int64_t seconds);

}  // namespace corten
