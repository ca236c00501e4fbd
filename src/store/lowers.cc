// Layers as overlay lowers: one directory each, or a delta on the directory of an earlier version.
//
// A delta body is dirs/ab/NAME.delta/, renamed into place whole: `tree/`, the directory, and `on`, the name
// of the body it stands on and the paths that no layer beneath may have. It stands on a directory or on
// another delta; after kMaxDepth of them the layer gets a directory of its own, which keeps look-ups short
// and lets old versions go.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/trace.h"
#include "store/delta.h"
#include "store/directory_body.h"
#include "store/layers.h"

namespace corten::store {

namespace {

constexpr size_t kMaxDepth = 8;
constexpr size_t kMaxOnBytes = 16 << 20;
constexpr std::string_view kMagic = "corten-delta-1\n";
constexpr const char* kDeltaSuffix = ".delta";

struct Standing {
  std::string on;                  // the name of a body
  std::vector<RootfsPath> absent;  // beneath it
};

// The magic line, the body's name and a line feed; then each path with a zero byte behind it.
std::string standing_text(const Standing& standing) {
  std::string text = std::string(kMagic) + standing.on + "\n";
  for (const RootfsPath& path : standing.absent) text += path.str() + '\0';
  return text;
}

std::optional<Standing> read_standing(const std::string& file) {
  if (!path_exists(file)) return std::nullopt;
  std::string text = read_file(file, kMaxOnBytes);
  if (!text.starts_with(kMagic)) return std::nullopt;
  size_t end = text.find('\n', kMagic.size());
  if (end == text.npos) return std::nullopt;
  Standing standing;
  standing.on = text.substr(kMagic.size(), end - kMagic.size());
  if (standing.on.size() < 64 || standing.on.find('/') != text.npos) return std::nullopt;
  for (size_t at = end + 1; at < text.size();) {
    size_t zero = text.find('\0', at);
    if (zero == text.npos) return std::nullopt;
    standing.absent.emplace_back(std::string_view(text).substr(at, zero - at));
    at = zero + 1;
  }
  return standing;
}

}  // namespace

// `body` is the path of the layer's directory, which need not be there. Nothing when there is neither that
// nor a delta that is whole and right for what lies beneath.
std::optional<std::vector<HostPath>> Layers::known_lowers(
    const std::string& body, size_t depth, const std::function<bool(const RootfsPath&)>& is_below) const {
  // Whatever a stack of directories stands on is in use with it.
  if (auto id = Digest::try_parse("sha256:" + HostPath{body}.filename().substr(0, 64)))
    lease_.hold(Held::kLayer, *id);
  if (path_exists(body)) return std::vector<HostPath>{{body}};
  if (depth == kMaxDepth) return std::nullopt;
  auto standing = read_standing(body + kDeltaSuffix + "/on");
  if (!standing || std::any_of(standing->absent.begin(), standing->absent.end(), is_below))
    return std::nullopt;
  auto beneath =
      known_lowers(root_ + "/dirs/" + standing->on.substr(0, 2) + "/" + standing->on, depth + 1, is_below);
  if (!beneath) return std::nullopt;
  std::vector<HostPath> lowers{{body + kDeltaSuffix + "/tree"}};
  lowers.insert(lowers.end(), beneath->begin(), beneath->end());
  return lowers;
}

std::vector<HostPath> Layers::lowers(const LayerRef& layer, const Owners& owners,
                                     const std::function<bool(const RootfsPath&)>& is_below) {
  std::string body = directory_path(layer, owners.mapping);
  auto used = [&](const LayerRef& one) {
    std::lock_guard lock(mutex_);
    used_bodies_.emplace(one.id, one.time, owners.mapping);
  };
  used(layer);
  if (auto known = known_lowers(body, 0, is_below)) {
    // What a delta stands on is used with it, or it would be the first to be collected.
    std::optional<LayerRef> earlier = layer;
    for (size_t depth = 1; depth < known->size() && (earlier = predecessor(*earlier)); depth++)
      used(*earlier);
    return *known;
  }
  if (make_delta_body(layer, owners))
    if (auto known = known_lowers(body, 0, is_below)) return *known;
  return {directory(layer, owners)};
}

bool Layers::make_delta_body(const LayerRef& layer, const Owners& owners) {
  auto earlier = predecessor(layer);
  // Entries without a time of their own have the layer's, so only a version with the same time shows them
  // alike.
  if (!earlier || earlier->time != layer.time || !has(earlier->id)) return false;
  std::string base = directory_path(*earlier, owners.mapping);
  if (!path_exists(base) && !path_exists(base + kDeltaSuffix)) return false;
  TraceSpan span("make a delta of a layer's directory");
  auto later = load(layer.id);
  constexpr size_t kWorthAtLeast = 32;  // entries; below, a directory is as cheap
  if (later->entries().size() < kWorthAtLeast) return false;
  auto delta = make_delta(*load(earlier->id), *later, later->entries().size() / 4);
  if (!delta) return false;
  TempDir place = TempDir::make(lease_.temporary(), "delta-");
  std::string made = place / "delta";
  if (mkdir(made.c_str(), 0755) != 0) fail_errno("make directory {}", made);
  std::vector<const Entry*> linked = make_directory_body(
      delta->entries, layer.time, contents_, made + "/tree", {.may_link = true, .owners = owners});
  write_file_atomic(made + "/on", standing_text({HostPath{base}.filename(), std::move(delta->absent)}));
  std::string path = directory_path(layer, owners.mapping) + kDeltaSuffix;
  make_directories_on_host(HostPath{path}.parent(), 0700);
  if (rename_if_free(made, path)) {
    note_body(layer, owners);
    for (const Entry* e : linked) contents_.set_home(e->content, path + "/tree/" + e->path.str());
  }
  return true;  // or another process was faster
}

}  // namespace corten::store
