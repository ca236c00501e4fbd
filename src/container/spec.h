// What a container is to be: everything that was decided before it started. A value; container.json on disk.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "container/port.h"
#include "container/volume.h"
#include "oci/config.h"
#include "store/manifest.h"

namespace corten::container {

// What the command line says about a container; the rest is the image's.
struct RunOptions {
  std::string image;
  std::vector<std::string> command;
  std::optional<std::string> entrypoint;  // "" takes the image's away
  std::vector<std::string> environment;   // NAME=value; NAME alone takes ours
  std::vector<std::string> environment_files;
  std::string user, directory, name, hostname;
  std::string network;   // "" (chosen), "host", "none", "bridge"
  std::string platform;  // of the image; "": this machine's
  std::vector<std::string> ports, volumes, tmpfs, extra_hosts, ulimits, labels;
  bool detach = false, remove = false, read_only = false, interactive = false, terminal = false;
  bool publish_all = false;  // -P: every exposed port on one that the system chooses
  std::string stop_signal;
  std::optional<int64_t> stop_timeout_s;
  std::string shm_size;
  bool no_healthcheck = false;
  std::string health_command, health_interval, health_timeout, health_start_period, health_start_interval;
  std::optional<int64_t> health_retries;
  std::string id_file;  // --cidfile
};

struct ContainerSpec {
  std::string id;  // 64 hex digits
  std::string name;
  std::string image_name;  // as it was asked for
  Digest image;
  store::Rootfs layers;
  int64_t created_ns = 0;

  std::vector<std::string> entrypoint, command;
  std::vector<std::string> environment;
  std::string user, directory, hostname;
  std::string network;  // "host", "none", "bridge" (a namespace of its own)
  std::vector<Port> ports;
  std::vector<Volume> volumes;
  std::vector<std::string> extra_hosts;  // NAME:ADDRESS
  std::vector<std::string> ulimits;
  std::map<std::string, std::string> labels;
  std::vector<std::string> exposed_ports;
  std::vector<std::string> shell;  // of CMD-SHELL
  std::optional<oci::Healthcheck> health;
  bool detached = false, remove = false, read_only = false, interactive = false;
  bool terminal = false;  // in the foreground: the program has our terminal
  int stop_signal = 15;
  int64_t stop_timeout_s = 10;
  uint64_t shm_bytes = 64 << 20;

  std::vector<std::string> argv() const;
  std::string short_id() const { return id.substr(0, 12); }
};

// Joins the command line with the image's config, by Docker's rules. The id, the name when none is given, and
// the network when none is named stay empty. Error(kUsage), Error(kInvalid) `no command specified`.
ContainerSpec make_spec(const RunOptions& options, const oci::RunConfig& image);

Json to_json(const ContainerSpec& spec);
// Error(kCorrupt).
ContainerSpec spec_from_json(const Json& json);

}  // namespace corten::container
