// `build --load=docker|podman|containerd`: the image into the store of another program.
//
// A build enters namespaces of its own. In there such a program would find itself somebody else: a root who
// is none, other mounts, another home. So its process is made before that, waits, and becomes the program
// when there is an image; it is given the archive on its standard input.
#pragma once
#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "base/unique_fd.h"

namespace corten::cli {

class HandOver {
 public:
  // `to`: "docker", "podman", "containerd" or "containerd:NAMESPACE". To be made before there are threads and
  // namespaces. Error(kUsage) for another, Error(kNotFound) when its program is not there.
  explicit HandOver(const std::string& to);
  HandOver(const HandOver&) = delete;
  HandOver& operator=(const HandOver&) = delete;
  ~HandOver();

  // Once. Gives what the program printed. Error(kFailed) with its own words when it ends with a failure.
  std::string load(const std::function<void(archive::ByteSink&)>& write);
  // "podman load".
  std::string command() const;

 private:
  int wait();

  std::vector<std::string> argv_;
  std::string hint_;
  UniqueFd call_;
  pid_t pid_ = -1;
};

}  // namespace corten::cli
