// A directory that is gone, with all in it, when its owner is.
#pragma once
#include <string>
#include <string_view>
#include <utility>

namespace corten {

class TempDir {
 public:
  TempDir() = default;
  // Makes `<parent>/<prefix>XXXXXX`, mode 0700.
  static TempDir make(const std::string& parent, const std::string& prefix = "tmp-");
  static TempDir for_test();  // below $TMPDIR or /tmp
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept;
  ~TempDir();
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string release() { return std::exchange(path_, {}); }

 private:
  std::string path_;
};

}  // namespace corten
