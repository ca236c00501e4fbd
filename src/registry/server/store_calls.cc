// Images of the store that are asked for by a tag: they come in once, and again when the tag names another.
//
// Their blobs are taken from a layout that the provider writes beside ours, by renaming; the provider copies
// them out of the store by reflink where the file system can. They are not hard links to the store's own
// files: a link shares its times, which both collectors read as marks of use, and its fate, should one of the
// two be damaged.
#include <fmt/core.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "oci/index.h"
#include "oci/layout.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "registry/server/manifest_facts.h"
#include "registry/server/service.h"
#include "registry/server/stored_manifest.h"

namespace corten::registry::serving {

namespace {

std::string layout_path(const std::string& directory, const ContentDigest& digest) {
  return fmt::format("{}/blobs/{}/{}", directory, algorithm_name(digest.algorithm()), digest.hex());
}

ContentDigest hash_file(const std::string& path, Algorithm algorithm) {
  const UniqueFd file = open_file(path, O_RDONLY | O_NOFOLLOW);
  ContentHasher hasher(algorithm);
  std::string buffer(256 << 10, '\0');
  while (const size_t n = read_fully(file.get(), buffer.data(), buffer.size(), path))
    hasher.update(std::string_view(buffer).substr(0, n));
  return hasher.finish();
}

}  // namespace

bool Service::may_be_in_store(const std::string& repository, const std::string& tag) const {
  // What was pushed under the tag counts, until it is deleted.
  return options_.images && oci::is_valid_tag(tag) &&
         (!tree_.exists(Tree::tag_path(repository, tag)) || tree_.exists(Tree::origin_path(repository, tag)));
}

void Service::bring_image(const std::string& host, const std::string& repository, const std::string& tag) {
  const std::string state = options_.images->find(host, repository, tag);
  if (state.empty()) return;
  const std::string origin = Tree::origin_path(repository, tag);
  const std::optional<ContentDigest> old = read_tag(tree_, repository, tag);
  if (old && tree_.read(origin, 4096) == state && tree_.exists(Tree::manifest_path(repository, *old))) return;
  TempDir place = TempDir::make(tree_.path() + "/temporary", "image-");
  const std::string layout = place / "layout";
  options_.images->write_layout(host, repository, tag, layout);
  const oci::Index index = oci::parse_index(read_file(layout + "/index.json", oci::kMaxManifestBytes));
  if (index.manifests.empty()) fail(ErrorCode::kInvalid, "{}:{}: the store gave no image", repository, tag);
  const std::optional<ContentDigest> root = ContentDigest::parse(index.manifests.front().digest.to_string());
  std::vector<Change> manifests, links;
  take_manifest(layout, repository, *root, links, manifests);
  // The contents lie at their places; this makes them durable before anything names them.
  if (syncfs(tree_.root()) != 0) fail_errno("sync {}", tree_.path());
  manifests.push_back(Change::put(Tree::tag_path(repository, tag), root->to_string()));
  manifests.push_back(Change::put(origin, state));
  links.insert(links.end(), std::make_move_iterator(manifests.begin()),
               std::make_move_iterator(manifests.end()));
  journal_.commit_now(std::move(links));
  // Nobody can ask for the earlier one by its name any more: each build would leave one.
  if (!old || *old == *root) return;
  for (const std::string& other : tree_.names(Tree::repository_path(repository, "_tags")))
    if (read_tag(tree_, repository, other) == old) return;
  remove_manifest(repository, *old);
}

// Children first. Blobs go to their places, what names them into `links` and `manifests`.
void Service::take_manifest(const std::string& layout, const std::string& repository,
                            const ContentDigest& digest, std::vector<Change>& links,
                            std::vector<Change>& manifests) {
  const std::string bytes = read_file(layout_path(layout, digest), kMaxManifest);
  if (ContentDigest::of(digest.algorithm(), bytes) != digest)
    fail(ErrorCode::kCorrupt, "{}: its bytes have another digest", digest.to_string());
  const ManifestFacts facts = read_manifest_facts(bytes, oci::detect_manifest_type(bytes));
  for (const ContentDigest& child : facts.manifests)
    take_manifest(layout, repository, child, links, manifests);
  for (const ContentDigest& blob : facts.blobs) {
    const std::string content = Tree::content_path(blob), from = layout_path(layout, blob);
    if (path_exists(from) && !tree_.use(content)) {
      if (hash_file(from, blob.algorithm()) != blob)
        fail(ErrorCode::kCorrupt, "{}: its bytes have another digest", blob.to_string());
      tree_.adopt(from, content);
      if (const std::optional<OpenedFile> file = tree_.open(content)) usage_.count(file->size);
    }
    links.push_back(Change::put(Tree::link_path(repository, blob), ""));
  }
  manifests.push_back(
      Change::put(Tree::manifest_path(repository, digest), encode_manifest(facts.media_type, bytes)));
  manifests.back().taken = std::make_shared<Taken>(usage_, manifests.back().data.size(), 0);
}

}  // namespace corten::registry::serving
