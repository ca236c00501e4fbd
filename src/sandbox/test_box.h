// A root file system of busybox for tests, and a way to run things in it.
#pragma once
#include <string>
#include <vector>

#include "base/temp_dir.h"
#include "sandbox/privilege.h"
#include "sandbox/process.h"

namespace corten::sandbox {

struct Result {
  Exit exit;
  std::string output;  // standard output and error
  std::vector<Stub> stubs;
};

class TestBox {
 public:
  TestBox();
  // Why no box can be made here; "" when one can. The first call climbs (enter()).
  static std::string problem();
  // On which rung the climb ended.
  static const Entered& entered();

  Spec spec(std::vector<std::string> argv) const;
  Result run(Spec spec) const;
  Result shell(const std::string& script) const { return run(spec({"/bin/sh", "-c", script})); }

  void write(const std::string& path, const std::string& text, mode_t mode = 0644) const;  // in the lower
  std::string lower() const { return directory_ / "lower"; }
  std::string upper() const { return directory_ / "upper"; }
  std::string operator/(std::string_view name) const { return directory_ / name; }

 private:
  TempDir directory_;
};

bool wait_readable(int fd, int timeout_ms = 10000);

}  // namespace corten::sandbox
