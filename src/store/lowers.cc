// Layers as overlay lowers: one directory each, or a delta on the directory of an earlier version.
//
// A delta body is dirs/ab/NAME.delta/, renamed into place whole: `tree/`, the directory, and `on`, the name
// of the body it stands on and the paths that no layer beneath may have. It stands on a directory or on
// another delta; after kMaxDepth of them, which keeps look-ups short, the next one stands on the directory at
// the bottom again, with all that changed since. When that is much, the layer gets a directory of its own.
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

// dirs/ab/HEX-TIME[-MAPPING][.delta/tree]
std::optional<LayerRef> layer_of_body(std::string_view path) {
  constexpr size_t kHexDigits = 64;
  if (path.ends_with("/tree")) path = path.substr(0, path.rfind('/'));
  std::string_view name = path.substr(path.rfind('/') + 1);
  if (name.size() < kHexDigits + 2) return std::nullopt;
  auto id = Digest::try_parse("sha256:" + std::string(name.substr(0, kHexDigits)));
  std::string_view rest = name.substr(kHexDigits + 1);
  auto time = parse_int(rest.substr(0, rest.find_first_of("-.", 1)));
  if (!id || !time) return std::nullopt;
  return LayerRef{*id, *time};
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
    for (const HostPath& lower : *known)
      if (auto one = layer_of_body(lower.value)) used(*one);
    return *known;
  }
  need({layer.id});
  if (make_delta_body(layer, owners))
    if (auto known = known_lowers(body, 0, is_below)) return *known;
  return {directory(layer, owners)};
}

// Of directories beneath a body's own; nothing when it cannot be stood upon.
std::optional<size_t> Layers::depth_of_body(const std::string& body) const {
  std::string name = HostPath{body}.filename();
  for (size_t depth = 0; depth <= kMaxDepth; depth++) {
    std::string path = root_ + "/dirs/" + name.substr(0, 2) + "/" + name;
    if (path_exists(path)) return depth;
    auto standing = read_standing(path + kDeltaSuffix + "/on");
    if (!standing) break;
    name = standing->on;
  }
  return std::nullopt;
}

// The earlier version on which a delta can stand.
std::optional<LayerRef> Layers::base_of_delta(const LayerRef& layer, const Owners& owners) {
  constexpr int kMostVersions = 256;  // looked back upon for a directory
  auto earlier = predecessor(layer);
  for (int i = 0; earlier && i < kMostVersions; i++, earlier = predecessor(*earlier)) {
    // Entries without a time of their own have the layer's, so only a version with the same time shows them
    // alike.
    if (earlier->time != layer.time) return std::nullopt;
    auto depth = depth_of_body(directory_path(*earlier, owners.mapping));
    if (!depth && i == 0) return std::nullopt;
    if (depth && (*depth == 0 || (i == 0 && *depth < kMaxDepth)))
      return has(earlier->id) ? earlier : std::nullopt;
  }
  return std::nullopt;
}

bool Layers::make_delta_body(const LayerRef& layer, const Owners& owners) {
  TraceSpan span("make a delta of a layer's directory");
  auto earlier = base_of_delta(layer, owners);
  if (!earlier) return false;
  std::string base = directory_path(*earlier, owners.mapping);
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
