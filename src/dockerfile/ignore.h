// Ignore files (.dockerignore) and the patterns of COPY --exclude.
//
// A list of patterns, the last match wins; `!` takes back. A pattern that matches a directory matches all
// below it, so a walk carries each directory's results along to its children (`Match::state`).
// `*` `?` stay within a component, `**` crosses components, [a-z] and backslash as in Go's filepath.Match.
//
// Source: Docker docs ".dockerignore files"; moby/patternmatcher (with its ignorefile) as measured.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace corten::dockerfile {

// The patterns of an ignore file's text: comments (a # in column 1) and blanks gone, paths cleaned, no
// leading slash.
std::vector<std::string> parse_ignore_file(std::string_view text);

// Immutable; thread-safe.
class IgnoreMatcher {
 public:
  // Throws Error(kInvalid): `illegal exclusion pattern: "!"`, `syntax error in pattern`.
  explicit IgnoreMatcher(const std::vector<std::string>& patterns);
  IgnoreMatcher();  // matches nothing
  ~IgnoreMatcher();
  IgnoreMatcher(IgnoreMatcher&&) noexcept;
  IgnoreMatcher& operator=(IgnoreMatcher&&) noexcept;

  // Which patterns matched a directory; opaque. An empty one means: nothing known about the parent.
  using State = std::vector<bool>;
  struct Match {
    bool is_ignored = false;
    State state;  // for the children
  };

  // `path` is relative, clean, with slashes. Give the parent directory's state (the root's is empty) when
  // walking.
  Match match(std::string_view path, const State& parent) const;

  // The same without a walk: looks at the parents too.
  bool is_ignored(std::string_view path) const;

  // An ignored directory can be passed over: no `!` pattern may match anything below it.
  bool can_prune(std::string_view directory) const;

  bool empty() const;
  bool has_negations() const;
  // "*", "**" or "**/*" stands in the list: what the lint rule CopyIgnoredFile asks for `COPY .`.
  bool has_match_all() const;

 private:
  struct Pattern;
  std::vector<Pattern> patterns_;
  bool has_negations_ = false;
};

}  // namespace corten::dockerfile
