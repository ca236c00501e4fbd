// Images of several platforms under one name.
//
// An index of the store holds the ids of its images and nothing of their manifests: those are made, and
// digests over compressed layers with them, when the index leaves the store. Its own id is the digest of that
// list.
#include <time.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "store/store.h"

namespace corten::store {

const ImageIndex::Member* ImageIndex::choose(const oci::Platform& wanted) const {
  const Member* best = nullptr;
  int best_rank = 0;
  for (const Member& member : members) {
    auto rank = oci::platform_rank(wanted, member.platform);
    if (rank && (!best || *rank < best_rank)) {
      best = &member;
      best_rank = *rank;
    }
  }
  return best;
}

std::string ImageIndex::platforms() const {
  std::vector<std::string> names;
  for (const Member& member : members) names.push_back(member.platform.format());
  return join(names, ", ");
}

namespace {

std::string members_text(const std::vector<ImageIndex::Member>& members) {
  Json list = Json::array();
  for (const ImageIndex::Member& member : members)
    list.push_back(Json::object(
        {{"platform", oci::platform_to_json(member.platform)}, {"image", member.image.to_string()}}));
  return list.dump();
}

// The id is the digest of what was written.
std::vector<ImageIndex::Member> parse_members(const std::string& text, const Digest& id) {
  if (Digest::of(text) != id)
    throw Error(ErrorCode::kCorrupt, "store index: an image index is damaged")
        .with_hint("run 'corten fsck --repair'");
  std::vector<ImageIndex::Member> members;
  Json list = Json::parse(text);
  for (const Json& json : list.as_array()) {
    auto image = Digest::try_parse(json.get_string("image"));
    const Json* platform = json.find("platform");
    if (!image || !platform) fail(ErrorCode::kCorrupt, "store index: an image index cannot be read");
    members.push_back({oci::platform_from_json(*platform), *image});
  }
  return members;
}

}  // namespace

ImageIndex Store::save_index(const std::vector<ImageIndex::Member>& members, std::vector<std::string> tags) {
  ImageIndex index;
  std::string text = members_text(members);
  index.id = Digest::of(text);
  index.members = members;
  index.added = time(nullptr);
  index.tags = std::move(tags);
  std::sort(index.tags.begin(), index.tags.end());
  database_->durable_transaction([&] {
    database_->prepare("INSERT OR REPLACE INTO indexes(id,members,added) VALUES(?,?,?)")
        .bind(index.id)
        .bind(text)
        .bind(index.added)
        .run();
    for (const std::string& tag : index.tags) tag_image(index.id, tag);
  });
  return index;
}

std::optional<ImageIndex> Store::index_by_id(const Digest& id) {
  ImageIndex index;
  {
    Statement row = database_->prepare("SELECT members, added FROM indexes WHERE id=?");
    row.bind(id);
    if (!row.step()) return std::nullopt;
    index.id = id;
    index.members = parse_members(row.text(0), id);
    index.added = row.integer(1);
  }
  Statement tag = database_->prepare("SELECT name FROM tags WHERE image=? ORDER BY name");
  tag.bind(id);
  while (tag.step()) index.tags.push_back(tag.text(0));
  return index;
}

std::vector<ImageIndex> Store::indexes() {
  std::vector<Digest> ids;
  {
    Statement row = database_->prepare("SELECT id FROM indexes ORDER BY added DESC, id");
    while (row.step()) ids.push_back(row.digest(0));
  }
  std::vector<ImageIndex> found;
  for (const Digest& id : ids)
    if (auto index = index_by_id(id)) found.push_back(std::move(*index));
  return found;
}

std::optional<ImageIndex> Store::find_index(std::string_view name_or_id) {
  auto id = find_id("indexes", name_or_id);
  return id ? index_by_id(*id) : std::nullopt;
}

void Store::delete_index(const Digest& id) {
  database_->transaction([&] {
    database_->prepare("DELETE FROM tags WHERE image=?").bind(id).run();
    database_->prepare("DELETE FROM indexes WHERE id=?").bind(id).run();
  });
}

}  // namespace corten::store
