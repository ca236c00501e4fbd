#include "build/step_key.h"

#include <fmt/core.h>

#include "base/strings.h"

namespace corten::build {

namespace {

void add_common(KeyRecord& record, const Request& request) {
  record.add("timestamps", request.timestamps == Timestamps::kLayer ? "layer" : "source");
}

Json files_json(const std::vector<CopyStep::File>& files) {
  Json list = Json::array();
  for (const CopyStep::File& file : files)
    list.push_back(Json::object({{"name", file.name}, {"content", Digest::of(file.content).hex()}}));
  return list;
}

std::string_view sharing_name(dockerfile::CacheSharing sharing) {
  switch (sharing) {
    case dockerfile::CacheSharing::kPrivate:
      return "private";
    case dockerfile::CacheSharing::kLocked:
      return "locked";
    default:
      return "shared";
  }
}

Json mount_json(const MountUse& use, const std::optional<Digest>& source) {
  const dockerfile::Mount& m = use.mount;
  Json json = Json::object({{"type", std::string(dockerfile::mount_type_name(m.type))},
                            {"target", m.target},
                            {"read_only", m.read_only}});
  if (source) json.set("content", source->hex());
  if (!use.cache_id.empty()) json.set("cache", use.cache_id);
  if (m.type == dockerfile::MountType::kCache)
    json.set("sharing", sharing_name(m.sharing)), json.set("source", m.source);
  if (m.type == dockerfile::MountType::kSecret || m.type == dockerfile::MountType::kSsh)
    json.set("id", m.id.empty() ? m.source : m.id);
  if (m.mode) json.set("mode", static_cast<int64_t>(*m.mode));
  if (m.uid) json.set("uid", static_cast<int64_t>(*m.uid));
  if (m.gid) json.set("gid", static_cast<int64_t>(*m.gid));
  if (m.size_bytes) json.set("size", static_cast<int64_t>(m.size_bytes));
  if (m.env) json.set("env", *m.env);
  if (m.required) json.set("required", true);
  return json;
}

}  // namespace

KeyRecord copy_key(const CopyStep& step, const StageRootfs& below, const Digest& content,
                   const Request& request) {
  KeyRecord record(step.is_add ? "add" : "copy");
  add_common(record, request);
  // The time of the layer is what lies beneath plus one, so what lies beneath counts for a link too; its
  // files do not.
  if (step.link)
    record.add("newest_below", below.newest);
  else
    record.add("below", rootfs_digest(below.refs()).hex()), record.add("newest_below", below.newest);
  // Of what comes from an address the content counts, not the address.
  std::vector<std::string> sources = step.sources;
  Json addresses = Json::array();
  for (const auto& [position, remote] : step.remotes) {
    addresses.push_back(step.sources[position]);
    sources[position] = remote.is_git ? "git" : "http";
  }
  if (addresses.size()) record.note("addresses", std::move(addresses));
  record.add("sources", Json(sources));
  record.add("content", content.hex());
  if (!step.files.empty()) record.add("files", files_json(step.files));
  record.add("destination", step.destination);
  if (step.owner) record.add("owner", *step.owner);
  if (step.has_mode) record.add("mode", step.mode.text());
  if (!step.excludes.empty()) record.add("exclude", Json(step.excludes));
  if (step.parents) record.add("parents", true);
  if (step.link) record.add("link", true);
  if (step.unpack) record.add("unpack", *step.unpack);
  return record;
}

KeyRecord run_key(const RunStep& step, const StageRootfs& below,
                  const std::vector<std::optional<Digest>>& sources, const Request& request) {
  KeyRecord record("run");
  add_common(record, request);
  record.add("platform", step.platform.format());
  record.add("below", rootfs_digest(below.refs()).hex());
  record.add("newest_below", below.newest);
  record.add("command", Json(step.argv));
  if (!step.scripts.empty()) record.add("scripts", files_json(step.scripts));
  record.add("environment", Json(step.key_environment));
  record.add("user", step.user);
  record.add("directory", step.directory.absolute());
  Json mounts = Json::array();
  for (size_t i = 0; i < step.mounts.size(); i++) mounts.push_back(mount_json(step.mounts[i], sources[i]));
  if (mounts.size()) record.add("mounts", std::move(mounts));
  record.add("network", step.network);
  record.add("hostname", step.hostname);
  Json hosts = Json::array();
  for (const auto& [name, address] : request.extra_hosts) hosts.push_back(name + "=" + address);
  if (hosts.size()) record.add("hosts", std::move(hosts));
  if (!request.ulimits.empty()) record.add("ulimits", Json(request.ulimits));
  record.add("shm", static_cast<int64_t>(request.shm_bytes));
  if (step.insecure) record.add("insecure", true);
  return record;
}

KeyRecord workdir_key(const WorkdirStep& step, const StageRootfs& below, const Request& request) {
  KeyRecord record("workdir");
  add_common(record, request);
  record.add("below", rootfs_digest(below.refs()).hex());
  record.add("newest_below", below.newest);
  record.add("path", step.path.absolute());
  record.add("user", step.user);
  return record;
}

}  // namespace corten::build
