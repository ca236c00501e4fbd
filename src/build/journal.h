// The record of a build, step by step: written while it runs, read by `why`, by `builds`, and by the next
// build that has something to explain.
//
// One JSON object a line in builds/ID/steps, appended when a step ends, so a build that is killed has said
// what it did. docs/formats, "Build journal".
#pragma once
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/unique_fd.h"
#include "build/why.h"

namespace corten::build {

struct JournalStep {
  int id = 0;
  std::string name;   // "[build 2/5] RUN make"
  int line = 0;       // of the Dockerfile
  std::string state;  // done, cached, failed, cancelled
  std::string key;    // hex; "" when it was not made
  Json record;        // the key's, with what lies beside it; null without a key
  std::optional<Miss> miss;
  std::string error;
  int64_t started_ns = 0;  // wall clock
  int64_t duration_ns = 0;
  uint64_t peak_bytes = 0;  // memory of a RUN: of its control group, else of its largest process
  int64_t processor_ns = 0;

  // The name's parts: "build " and 2 and "RUN make". Of another name all is the text.
  struct Place {
    std::string stage;
    int number = 0;
    std::string text;
  };
  Place place() const;
  Json to_json() const;
  static JournalStep from_json(const Json& json);
};

// Thread-safe.
class Journal {
 public:
  explicit Journal(const std::string& file);
  void add(const JournalStep& step);

 private:
  std::string file_;
  std::mutex mutex_;
  UniqueFd fd_;
};

// In the order in which the steps ended. Lines that cannot be read are left out; no file: none.
std::vector<JournalStep> read_journal(const std::string& file);

}  // namespace corten::build
