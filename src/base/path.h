// Paths of two worlds that must never be mixed up: the host's, and those inside an image.
#pragma once
#include <compare>
#include <string>
#include <string_view>
#include <vector>

namespace corten {

// A path on this machine, as the system calls take it.
struct HostPath {
  std::string value;
  HostPath operator/(std::string_view name) const;
  std::string parent() const;    // "." for a bare name
  std::string filename() const;  // the last component
  const char* c_str() const { return value.c_str(); }
  auto operator<=>(const HostPath&) const = default;
};

// A path inside a root file system: clean, relative to the root, no leading slash, no "." or ".."; "" is the
// root.
// ".." at the root stays at the root. Ordering is by components, so a directory stands right before what is
// in it.
class RootfsPath {
 public:
  RootfsPath() = default;
  explicit RootfsPath(std::string_view any);    // "/a//b/../c" gives a/c
  static bool is_clean(std::string_view path);  // cleaning would change nothing
  static RootfsPath join(const RootfsPath& base, std::string_view relative_or_absolute);

  const std::string& str() const { return value_; }  // "a/c"
  std::string absolute() const { return "/" + value_; }
  bool is_root() const { return value_.empty(); }
  RootfsPath parent() const;
  std::string_view filename() const;
  RootfsPath child(std::string_view name) const;      // one component, taken as it is
  bool is_within(const RootfsPath& directory) const;  // itself included
  std::vector<std::string> components() const;

  bool operator==(const RootfsPath&) const = default;
  std::strong_ordering operator<=>(const RootfsPath& other) const { return compare(value_, other.value_); }
  // The order of layers: '/' sorts before every other byte.
  static std::strong_ordering compare(std::string_view a, std::string_view b);

 private:
  std::string value_;
};

// Lexical cleaning as Go's path.Clean does it: "" gives ".".
std::string clean_path(std::string_view path);

// Shell-like matching of Go's path.Match: * ? [a-z] [^a] and backslash; no component separator is crossed.
// Throws Error(kInvalid) "syntax error in pattern".
bool match_glob(std::string_view pattern, std::string_view name);
bool has_glob(std::string_view pattern);

}  // namespace corten
