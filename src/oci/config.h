// An image's config: how to run it, what it is made of (image-spec v1.1, config.md; Docker image spec v1.3
// for the extension fields).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "oci/platform.h"

namespace corten::oci {

inline constexpr size_t kMaxConfigBytes = 8 << 20;

// Docker's HEALTHCHECK. Durations in nanoseconds, 0 = inherit.
struct Healthcheck {
  std::vector<std::string> test;  // {"NONE"}, {"CMD", ...}, {"CMD-SHELL", text}; empty = inherit
  int64_t interval_ns = 0, timeout_ns = 0, start_period_ns = 0, start_interval_ns = 0;
  int64_t retries = 0;
  bool operator==(const Healthcheck&) const = default;
};

// The `config` member: what `docker inspect` shows under Config.
struct RunConfig {
  std::string user;
  std::set<std::string> exposed_ports;  // "80/tcp"
  std::vector<std::string> env;         // "NAME=value", in order
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::set<std::string> volumes;
  std::string working_dir;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  bool args_escaped = false;
  std::optional<Healthcheck> healthcheck;
  std::vector<std::string> on_build;
  std::optional<int64_t> stop_timeout_s;
  std::vector<std::string> shell;
  Json::Object other;  // members we do not know, kept in order; BuildKit's builds lose them

  // The value of NAME=, the last one when there are several.
  std::optional<std::string> env_value(std::string_view name) const;
  // Replaces in place or appends.
  void set_env(std::string_view name, std::string_view value);
  bool operator==(const RunConfig&) const = default;
};

struct History {
  std::string created;  // RFC 3339 as the document has it; "" when absent
  std::string created_by, author, comment;
  bool empty_layer = false;
  bool operator==(const History&) const = default;
};

struct ImageConfig {
  std::string created;  // RFC 3339 as the document has it; "" when absent
  std::string author;
  Platform platform;
  RunConfig config;
  std::vector<DiffId> diff_ids;
  std::vector<History> history;
  Json::Object other;  // top-level members we do not know (docker_version, container_config, ...)
  std::string raw;     // the bytes it was parsed from; "" when made by us. The image id is over these

  // Equal in meaning: raw bytes do not count.
  bool same_meaning(const ImageConfig& other_config) const;
};

struct ParsedConfig {
  ImageConfig config;
  std::vector<std::string> warnings;  // "history has 3 layers, rootfs.diff_ids 4"
};

// Error(kInvalid) for what cannot be used (no JSON, wrong types, bad diff ids, more than 8 MiB or 10,000
// layers); what is merely odd is a warning.
ParsedConfig parse_config(std::string_view bytes);

// Compact, as Go writes BuildKit's map: top-level keys sorted, members inside in the order of its structs, <
// > & escaped.
std::string emit_config(const ImageConfig& config);

// RFC 3339 in UTC: "2024-01-02T03:04:05Z", with a fraction when `ns` is not zero, its zeros at the end cut
// off (Go).
std::string format_time(int64_t seconds, uint32_t ns = 0);
struct Timestamp {
  int64_t seconds = 0;
  uint32_t ns = 0;
  auto operator<=>(const Timestamp&) const = default;
};
// Any RFC 3339 time with an offset; nothing when it is malformed.
std::optional<Timestamp> parse_time(std::string_view text);

// The chain id of the first `count` layers (config.md, "Layer ChainID").
Digest chain_id(const std::vector<DiffId>& diff_ids, size_t count);

}  // namespace corten::oci
