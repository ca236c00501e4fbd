// Words: quotes, escapes and variables, as a Dockerfile has them.
//
// One scan does all three. Single quotes are literal; double quotes expand `$` and let the escape character
// protect
// `"`, `$` and itself; outside quotes it protects any character. ${name} takes the modifiers - + ? (and with
// a colon: empty counts as unset), # ## % %% (globs, see glob.h), / and // (replace). The word of a modifier
// is expanded in turn.
//
// Source: Dockerfile reference "Environment replacement"; BuildKit frontend/dockerfile/shell/lex.go as
// measured.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace corten::dockerfile {

// Where values of variables come from. Implementations need not be thread-safe; expand() calls from its own
// thread.
class Environment {
 public:
  virtual ~Environment() = default;
  virtual std::optional<std::string> get(std::string_view name) const = 0;  // absent: unset
};

// Values in a map. `ignore_case` is how Windows images compare names.
class MapEnvironment : public Environment {
 public:
  using Values = std::map<std::string, std::string, std::less<>>;
  MapEnvironment() = default;
  explicit MapEnvironment(Values values, bool ignore_case = false)
      : values_(std::move(values)), ignore_case_(ignore_case) {}
  void set(std::string name, std::string value) { values_[std::move(name)] = std::move(value); }
  std::optional<std::string> get(std::string_view name) const override;

 private:
  Values values_;
  bool ignore_case_ = false;
};

struct ExpandOptions {
  char escape = '\\';
  bool keep_quotes = false;   // quotes stay in the result
  bool keep_escapes = false;  // so does the escape character
  bool plain_quotes = false;  // quotes are ordinary characters (heredoc bodies)
  bool keep_unset = false;    // $x stays as it is when x is unset
};

struct Expansion {
  std::string text;                 // the word as one
  std::vector<std::string> words;   // split at blanks after expansion; quoted blanks do not split
  std::set<std::string> matched;    // names that were looked up and found
  std::set<std::string> unmatched;  // names that were looked up and are unset, also when a default stood in
};

// Throws Error(kInvalid) `failed to process "<word>": ...`. Substitutions nest at most 200 deep.
Expansion expand(std::string_view word, const Environment& environment, const ExpandOptions& options = {});

std::string process_word(std::string_view word, const Environment& environment,
                         const ExpandOptions& options = {});
std::vector<std::string> process_words(std::string_view word, const Environment& environment,
                                       const ExpandOptions& options = {});

// A heredoc's body for COPY and ADD: variables are expanded, quotes stay, the escape character is the
// backslash.
std::string expand_heredoc(std::string_view body, const Environment& environment);

}  // namespace corten::dockerfile
