// What a build tells while it runs. Displays, logs and the history listen; nothing here knows a terminal.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::build {

// One vertex of the progress: a step, or a named piece of work around it ("exporting to image").
struct VertexInfo {
  int id = 0;        // unique in a build, in the order of planning
  std::string name;  // "[build 2/5] RUN make"
  std::vector<int> inputs;
  SourceSpan span;
};

// A remark on the Dockerfile that stops no build.
struct Warning {
  std::string message;      // "RuleName: what is the matter"
  std::string detail, url;  // why it matters, and where that is told at length; both may be empty
  SourceSpan where;
};

// Something of a step that is counted in bytes: a download, an export.
struct Amount {
  std::string what;  // "https://host/file"; the same text each time
  uint64_t current = 0;
  uint64_t total = 0;  // 0 when nobody knows
  bool is_complete = false;
};

enum class Outcome { kDone, kCached, kFailed, kCancelled };

// Implementations are called from several threads and must guard themselves.
class Events {
 public:
  virtual ~Events() = default;
  virtual void planned(const VertexInfo&) {}
  virtual void started(int) {}
  // stream: 1 standard output, 2 standard error. Bytes as they came, not cut at lines.
  virtual void output(int, int /*stream*/, std::string_view) {}
  // A named wait or a state: "waiting for another build that runs this step"; "" when it is over.
  virtual void note(int, std::string_view) {}
  // A sentence about the step that stays: why it is no hit, why it runs here after all.
  virtual void remark(int, std::string_view) {}
  // As often as it suits the one who counts; displays say it less often.
  virtual void progressed(int, const Amount&) {}
  virtual void finished(int, Outcome, std::string_view /*error*/) {}
  virtual void warning(const Warning&) {}
};

}  // namespace corten::build
