// What a command that works on the store needs: the configuration, the store, and the privileges to use it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "oci/reference.h"
#include "sandbox/privilege.h"
#include "store/store.h"

namespace corten::cli {

// Opened first thing in a command, before there are threads: a user namespace is entered by a process that
// has one.
class Session {
 public:
  struct Options {
    bool needs_bodies =
        true;  // enter the user namespace (or the mount namespace, as root); false: only read the index
    bool user_namespace = false;  // as root too
  };
  static Session open();
  static Session open(const Options& options);

  store::Store& store() { return *store_; }
  const sandbox::Entered& entered() const { return entered_; }
  const Clock& clock() const { return clock_; }
  // An image by name or id. Error(kNotFound) with near names.
  store::Image image(std::string_view name_or_id);

 private:
  sandbox::Entered entered_;
  std::unique_ptr<store::Store> store_;
  SystemClock clock_;
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
