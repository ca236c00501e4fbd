// What an instruction sees of those before it: variables, and the image's config as it stands.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/expand.h"
#include "oci/config.h"

namespace corten::build {

inline constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// HTTP_PROXY and its like, in any case of letters: known without ARG, in no key and no history.
bool is_predefined_proxy(std::string_view name);

// ENV and ARG of a stage. ENV goes to the image, ARG only to the build; of one name the later line wins in
// the build.
class StageEnvironment : public dockerfile::Environment {
 public:
  std::optional<std::string> get(std::string_view name) const override;
  void set(const std::string& name, const std::string& value);
  void declare_arg(const std::string& name, const std::optional<std::string>& value);
  bool is_declared(std::string_view name) const;

  // "NAME=value" in the order in which names came up.
  std::vector<std::string> list() const;
  // The places of that list in the order in which values were set last, as BuildKit has variables.
  std::vector<size_t> order() const;
  // As if it was set again to what it is.
  void touch(std::string_view name);
  // History's prefix of a RUN: {"A=1", "UNSET="}.
  std::vector<std::string> args() const;

 private:
  std::vector<std::pair<std::string, std::string>> values_;
  std::map<std::string, size_t, std::less<>> places_;  // in values_
  std::vector<size_t> turns_;                          // of values_: when each was set
  size_t next_turn_ = 0;
  std::vector<std::string> args_;
  std::set<std::string, std::less<>> declared_;
};

}  // namespace corten::build
