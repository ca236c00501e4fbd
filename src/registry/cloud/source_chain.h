// A chain of places in which a cloud's credentials are looked for. The first that has some ends the search; a
// source that is not set up gives nothing and says why; one that is set up and broken ends the search too,
// since what a later one gave would be somebody else.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace corten::registry::cloud {

// Why a source gave nothing.
struct NoCredentials {
  std::string why;
  bool is_final = false;
  std::string run = {};  // the command that mends it, where one is known
};
inline NoCredentials nothing(std::string why) {
  return {std::move(why), false};
}
inline NoCredentials broken(std::string why, std::string run = {}) {
  return {std::move(why), true, std::move(run)};
}

template <class Found>
struct SourceAnswer {
  SourceAnswer(Found credentials) : found(std::move(credentials)) {}  // NOLINT: what a source returns
  SourceAnswer(NoCredentials none) : reason(std::move(none)) {}       // NOLINT: the same
  std::optional<Found> found;
  NoCredentials reason;
};

struct TriedSource {
  std::string name, why;
};

template <class Found>
struct SourceSearch {
  std::optional<Found> found;
  std::vector<TriedSource> tried;  // that gave nothing
  std::string run;                 // what mends the one that ended the search

  // True when the search is over.
  bool take(const char* name, SourceAnswer<Found> answer) {
    if (answer.found)
      found = std::move(answer.found);
    else
      tried.push_back({name, answer.reason.why});
    if (!answer.reason.run.empty()) run = answer.reason.run;
    return found || answer.reason.is_final;
  }
  // What was tried, a line each.
  std::string told(std::string text) const {
    for (const TriedSource& source : tried) text += "\n  " + source.name + ": " + source.why;
    return text;
  }
};

}  // namespace corten::registry::cloud
