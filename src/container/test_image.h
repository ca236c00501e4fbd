// A store with an image of busybox, and containers of it, for tests.
#pragma once
#include <string>
#include <vector>

#include "base/temp_dir.h"
#include "container/commands.h"

namespace corten::container {

struct Output {
  int code = 0;
  std::string out, err, both;
};

class TestStore {
 public:
  // Why no container can be run here; "" when one can. The first call climbs.
  static std::string problem();

  TestStore();
  ~TestStore();  // removes all containers

  store::Store& store() { return *store_; }
  // `config` is the config member of the image's JSON.
  void save_image(const std::string& name, const std::string& config);

  Output run(RunOptions options);    // in a process of its own: a foreground container changes the caller
  Output exec(ExecOptions options);  // the same
  Output call(const std::function<int(Context&)>& command);  // here

  // A detached container's id; the test fails when it does not start.
  std::string start(const std::string& name, const std::string& script, RunOptions options = {});
  Container find(const std::string& name) { return Container::find(name, *store_); }
  std::string operator/(std::string_view name) const { return directory_ / name; }

 private:
  Output in_child(const std::function<int(Context&)>& command);

  TempDir directory_;
  std::unique_ptr<store::Store> store_;
  SystemClock clock_;
};

// Asks again until it is so, at most ten seconds.
bool soon(const std::function<bool()>& condition);

uint16_t free_port();
// What a server on that port of 127.0.0.1 says to an HTTP request for the path; "" when it cannot be reached.
std::string fetch(uint16_t port, const std::string& path);

}  // namespace corten::container
