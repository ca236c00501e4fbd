#include "source/image_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include <fmt/core.h>

#include "archive/compression.h"
#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "oci/descriptor.h"
#include "source/layer_import.h"

namespace corten::source {

namespace {

constexpr uint64_t kMaxArchiveBytes = uint64_t{1} << 40;
constexpr size_t kMaxImages = 1000;

UniqueFd open_named(int root, const std::string& name) {
  auto fd = open_no_links(root, RootfsPath(name).str(), O_RDONLY | O_NONBLOCK);
  if (!fd) fail(ErrorCode::kInvalid, "archive: {} is named in manifest.json and missing", quote(name));
  struct stat st;
  if (fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode))
    fail(ErrorCode::kInvalid, "archive: {} is not a regular file", quote(name));
  return std::move(*fd);
}

}  // namespace

void unpack_image_archive(archive::ByteSource& from, const std::string& directory, uint64_t max_more_bytes) {
  uint64_t written = 0;
  auto plain = archive::open_decompressor(from);
  archive::LimitedSource limited(*plain, kMaxArchiveBytes, "archive");
  archive::TarReader reader(limited);
  UniqueFd root = open_file(directory, O_RDONLY | O_DIRECTORY);
  // The holes of sparse files and copies of links take no room in an archive.
  auto count = [&](uint64_t bytes) {
    written += bytes;
    if (written > reader.offset() && written - reader.offset() > max_more_bytes)
      throw Error(ErrorCode::kInvalid,
                  fmt::format("archive: it unpacks to {} bytes more than it holds", max_more_bytes))
          .with_hint("CORTEN_MAX_UNPACKED sets the limit: CORTEN_MAX_UNPACKED=200GB");
  };
  while (auto header = reader.next()) {
    RootfsPath path(header->path);
    constexpr size_t kMostParts = 16;  // a layout has three
    if (path.components().size() > kMostParts)
      fail(ErrorCode::kInvalid, "archive: {}...: too deep for an archive of images",
           quote(path.str().substr(0, 60)));
    if (header->type == archive::TarType::kSymlink || header->type == archive::TarType::kHardlink) {
      // Docker's older archives link one layer to another.
      UniqueFd parent = make_directories(root.get(), path.parent().str());
      std::string target = header->type == archive::TarType::kSymlink
                               ? RootfsPath::join(path.parent(), header->link).str()
                               : RootfsPath(header->link).str();
      auto original = open_no_links(root.get(), target, O_RDONLY);
      if (!original)
        fail(ErrorCode::kInvalid, "archive: {} links to {}, which is not before it", header->path,
             header->link);
      UniqueFd copy = open_at(parent.get(), std::string(path.filename()),
                              O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
      struct stat st;
      if (fstat(original->get(), &st) != 0) fail_errno("stat {}", target);
      count(static_cast<uint64_t>(st.st_size));
      copy_contents(original->get(), copy.get(), static_cast<uint64_t>(st.st_size), header->path);
      continue;
    }
    if (header->type != archive::TarType::kFile || path.is_root()) continue;
    UniqueFd parent = make_directories(root.get(), path.parent().str());
    UniqueFd file =
        open_at(parent.get(), std::string(path.filename()), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    archive::FdSink sink(file.get(), header->path);
    std::vector<char> buffer(64 << 10);
    while (size_t bytes = reader.data().read(buffer.data(), buffer.size())) {
      sink.write({buffer.data(), bytes});
      count(bytes);
    }
    file.close_checked(header->path);
  }
}

std::vector<DockerImage> parse_docker_manifest(std::string_view text) {
  std::vector<DockerImage> images;
  Json list = Json::parse(text);
  if (list.as_array().size() > kMaxImages)
    fail(ErrorCode::kInvalid, "archive: manifest.json has more than {} images", kMaxImages);
  for (const Json& item : list.as_array())
    images.push_back({item.get_string("Config"), item.get_strings("Layers"), item.get_strings("RepoTags")});
  return images;
}

LoadedImage load_docker_image(const DockerImage& image, const std::string& directory, store::Store& store) {
  UniqueFd root = open_file(directory, O_RDONLY | O_DIRECTORY);
  UniqueFd config_file = open_named(root.get(), image.config);
  LoadedImage loaded;
  loaded.config = oci::parse_config(read_all(config_file.get(), "config", oci::kMaxConfigBytes)).config;
  const std::vector<DiffId>& diff_ids = loaded.config.diff_ids;
  if (image.layers.size() != diff_ids.size())
    fail(ErrorCode::kInvalid, "archive: {} layers, but {} diff ids", image.layers.size(), diff_ids.size());
  std::vector<oci::Descriptor> blobs;
  std::map<Digest, std::string> names;
  for (const std::string& name : image.layers) {
    const UniqueFd file = open_named(root.get(), name);
    archive::FdSource bytes(file.get(), name);
    archive::HashingSource hashing(bytes);
    oci::Descriptor& blob = blobs.emplace_back();
    blob.size = archive::drain(hashing);
    blob.digest = hashing.digest();
    names.emplace(blob.digest, name);
  }
  const BlobFetch fetch = fetch_from_files(
      [&](const oci::Descriptor& blob) { return open_named(root.get(), names.at(blob.digest)); });
  loaded.layers = import_layers(blobs, diff_ids, 2, fetch, store);
  return loaded;
}

}  // namespace corten::source
