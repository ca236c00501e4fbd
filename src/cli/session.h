// What a command that works on the store needs: the configuration, the store, and the privileges to use it.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "cli/config_file.h"
#include "oci/reference.h"
#include "sandbox/privilege.h"
#include "sandbox/uppers.h"
#include "store/store.h"

namespace corten::cli {

// Opened first thing in a command, before there are threads: a user namespace is entered by a process that
// has one.
class Session {
 public:
  struct Options {
    bool needs_bodies =
        true;  // enter the user namespace (or the mount namespace, as root); false: only read the index
    bool user_namespace = false;                  // as root too
    std::vector<std::string> architectures = {};  // whose programs are to run here, if they can
  };
  static Session open();
  static Session open(const Options& options);

  store::Store& store() { return *store_; }
  const sandbox::Entered& entered() const { return entered_; }
  // Where the writes of a step can go here: tried when it is first asked, which costs some milliseconds.
  // Thread-safe.
  const sandbox::FoundUppers& uppers();
  const Clock& clock() const { return clock_; }
  const ConfigFile& config() const { return config_; }
  // An image by name or id; of an index the one for `platform` (default: this machine's). Error(kNotFound)
  // with near names, or with the platforms that there are.
  store::Image image(std::string_view name_or_id, const std::string& platform = "");
  std::optional<store::ImageIndex> index(std::string_view name_or_id);
  // The name as the store knows it: a full reference for a tag that is there, else as it was given.
  std::string stored_name(std::string_view name_or_id);

 private:
  sandbox::Entered entered_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<std::mutex> uppers_mutex_ = std::make_unique<std::mutex>();
  std::optional<sandbox::FoundUppers> uppers_;
  SystemClock clock_;
  ConfigFile config_;
};

// "name" to docker.io/library/name:latest.
std::string full_name(std::string_view name);
// As people write it.
std::string short_name(std::string_view full);

// "ERROR: ..." in red on a terminal, the hint on a line of its own.
void print_error(const Error& error);
void print_warning(std::string_view message);
bool colors_wanted(int fd);

}  // namespace corten::cli
