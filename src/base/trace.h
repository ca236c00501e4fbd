// Where the time of a command goes: named spans, added up by name.
//
// Off until start_tracing(); a span then costs two readings of two clocks. A span inside another of the same
// thread takes its time away from it, so that the parts add up to what the threads were busy with.
#pragma once
#include <cstdint>
#include <string>

namespace corten {

// Before threads are made.
void start_tracing();

// The time from construction to destruction, under a name that must outlive the program ("hash a layer's
// tar").
class TraceSpan {
 public:
  explicit TraceSpan(const char* name);
  ~TraceSpan();
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  const char* name_;  // null while tracing is off
  TraceSpan* outer_ = nullptr;
  int64_t began_ns_ = 0, cpu_began_ns_ = 0;
  int64_t inner_ns_ = 0, inner_cpu_ns_ = 0;
};

// A table for people: each name with its count, the time that its spans took by the clock and on a processor,
// without those inside them, the longest first. Then the whole since start_tracing(). Thread-safe.
std::string trace_report();

}  // namespace corten
