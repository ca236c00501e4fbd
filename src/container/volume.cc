#include "container/volume.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "store/directory_body.h"

namespace corten::container {

namespace {

bool is_volume_name(std::string_view text) {
  if (text.size() < 2 || text.size() > 128 || !isalnum(static_cast<unsigned char>(text[0]))) return false;
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return isalnum(c) || c == '_' || c == '.' || c == '-'; });
}

std::string absolute(std::string_view path) {
  if (path.starts_with('/')) return clean_path(path);
  char* here = get_current_dir_name();
  if (!here) fail_errno("our working directory");
  std::string whole = std::string(here) + "/" + std::string(path);
  free(here);
  return clean_path(whole);
}

void read_options(std::string_view options, std::string_view whole, Volume& volume) {
  for (const std::string& option : split(options, ',')) {
    if (option == "ro")
      volume.read_only = true;
    else if (option == "nocopy")
      volume.copy = false;
    else if (option != "rw" && option != "z" && option != "Z" && !option.empty())
      throw Error(ErrorCode::kUsage, fmt::format("volume {}: unknown option {}", quote(whole), quote(option)))
          .with_hint("ro, rw and nocopy are known");
  }
}

RootfsPath parse_target(std::string_view text, std::string_view whole) {
  if (!text.starts_with('/'))
    fail(ErrorCode::kUsage, "volume {}: the container path {} is not absolute", quote(whole), quote(text));
  RootfsPath target(text);
  if (target.is_root()) fail(ErrorCode::kUsage, "volume {}: the container path cannot be /", quote(whole));
  return target;
}

bool is_empty_directory(const std::string& path) {
  DIR* stream = opendir(path.c_str());
  if (!stream) fail_errno("read {}", path);
  bool empty = true;
  while (dirent* item = readdir(stream))
    if (std::string_view name = item->d_name; name != "." && name != "..") empty = false;
  closedir(stream);
  return empty;
}

// What the image has at that place, as a directory of its own.
store::Manifest subtree(const store::Tree& image, const RootfsPath& at) {
  std::vector<store::Entry> entries;
  auto add = [&](const store::Entry& there, const RootfsPath& path) {
    store::Entry entry = there;
    entry.path = path;
    entry.hard_link = RootfsPath();  // its first name may lie elsewhere
    entry.opaque = false;
    entries.push_back(std::move(entry));
  };
  const store::Entry* root = image.find(at);
  if (!root || !root->is_directory()) return store::Manifest();
  add(*root, RootfsPath());
  store::walk(image, at, [&](const store::Entry& entry) {
    add(entry, RootfsPath(entry.path.str().substr(at.str().size())));
  });
  return store::Manifest(std::move(entries));
}

// Made beside and renamed, so that a volume is never half filled.
void fill(const std::string& directory, const Volume& volume, const store::Tree& image,
          const store::Owners& owners, store::Store& store) {
  store::Manifest manifest = subtree(image, store::resolve_links(image, volume.target));
  if (manifest.empty()) return;
  TempDir place = store.temporary("volume");
  store::make_directory_body(manifest, time(nullptr), store.contents(), place / "volume",
                             {.may_link = false, .owners = owners});
  if (rename((place / "volume").c_str(), directory.c_str()) != 0) fail_errno("fill volume {}", directory);
}

}  // namespace

Volume parse_volume(std::string_view text) {
  std::vector<std::string> parts = split(text, ':');
  Volume volume;
  if (parts.size() > 3 || text.empty())
    fail(ErrorCode::kUsage, "volume {}: expected SOURCE:TARGET[:OPTIONS]", quote(text));
  if (parts.size() == 1) {
    volume.kind = Volume::Kind::kAnonymous;
    volume.target = parse_target(parts[0], text);
    return volume;
  }
  volume.target = parse_target(parts[1], text);
  if (parts.size() == 3) read_options(parts[2], text, volume);
  if (parts[0].starts_with('/') || parts[0].starts_with('.')) {
    volume.source = absolute(parts[0]);
  } else if (is_volume_name(parts[0])) {
    volume.kind = Volume::Kind::kNamed;
    volume.source = parts[0];
  } else {
    throw Error(ErrorCode::kUsage,
                fmt::format("volume {}: {} is no name of a volume", quote(text), quote(parts[0])))
        .with_hint(
            "names have letters, digits, '_', '.', '-'; a directory is written with a slash or './' in "
            "front");
  }
  return volume;
}

Volume parse_tmpfs(std::string_view text) {
  size_t colon = text.find(':');
  Volume volume;
  volume.kind = Volume::Kind::kTmpfs;
  volume.target = parse_target(text.substr(0, colon), text);
  if (colon == text.npos) return volume;
  for (const std::string& option : split(text.substr(colon + 1), ',')) {
    if (option == "ro")
      volume.read_only = true;
    else if (option.starts_with("size=")) {
      auto size = parse_size(option.substr(5));
      if (!size || *size == 0)
        fail(ErrorCode::kUsage, "tmpfs {}: invalid size {}", quote(text), quote(option.substr(5)));
      volume.size_bytes = *size;
    } else if (option != "rw" && !option.empty()) {
      throw Error(ErrorCode::kUsage, fmt::format("tmpfs {}: unknown option {}", quote(text), quote(option)))
          .with_hint("ro, rw and size= are known");
    }
  }
  return volume;
}

static constexpr const char* kKinds[] = {"bind", "volume", "anonymous", "tmpfs"};

Json to_json(const Volume& volume) {
  return Json::object({{"Type", kKinds[static_cast<int>(volume.kind)]},
                       {"Source", volume.source},
                       {"Destination", volume.target.absolute()},
                       {"ReadOnly", volume.read_only},
                       {"Copy", volume.copy},
                       {"Size", volume.size_bytes}});
}

Volume volume_from_json(const Json& json) {
  Volume volume;
  std::string kind = json.get_string("Type");
  for (int i = 0; i < 4; i++)
    if (kind == kKinds[i]) volume.kind = static_cast<Volume::Kind>(i);
  volume.source = json.get_string("Source");
  volume.target = RootfsPath(json.get_string("Destination"));
  volume.read_only = json.get_bool("ReadOnly");
  volume.copy = json.get_bool("Copy", true);
  volume.size_bytes = static_cast<uint64_t>(json.get_int("Size"));
  return volume;
}

HostPath prepare_volume(const Volume& volume, const HostPath& own, const store::Tree& image,
                        const store::Owners& owners, store::Store& store) {
  if (volume.kind == Volume::Kind::kBind) {
    if (!path_exists(volume.source)) make_directories_on_host(volume.source);
    return {volume.source};
  }
  std::string directory;
  if (volume.kind == Volume::Kind::kNamed) {
    directory = store.volume_directory(volume.source);
  } else {
    directory = (own / "volumes" / volume.source).value;
    make_directories_on_host(directory);
  }
  FileLock lock =
      FileLock::exclusive(store.lock_path("volumes"));  // two containers that start with one new volume
  if (volume.copy && is_empty_directory(directory)) fill(directory, volume, image, owners, store);
  return {directory};
}

}  // namespace corten::container
