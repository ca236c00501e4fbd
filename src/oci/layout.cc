#include "oci/layout.h"

#include "base/error.h"
#include "base/strings.h"

namespace corten::oci {

std::string emit_layout_file() {
  return R"({"imageLayoutVersion":"1.0.0"})";
}

void check_layout_file(std::string_view bytes) {
  Json json = Json::parse(bytes, 64 << 10);
  std::string version = json.get_string("imageLayoutVersion");
  if (version.empty()) fail(ErrorCode::kInvalid, "{}: has no imageLayoutVersion", kLayoutFileName);
  if (!version.starts_with("1."))
    fail(ErrorCode::kUnsupported, "{}: version {} is not supported", kLayoutFileName, quote(version));
}

std::string blob_path(const Digest& digest) {
  return "blobs/sha256/" + digest.hex();
}

namespace {
std::string name_of(const Descriptor& entry) {
  std::string name = entry.annotation(kImageNameAnnotation);
  if (name.empty()) name = entry.annotation(kRefNameAnnotation);
  return name.empty() ? entry.digest.to_string() : name;
}

bool matches(const Descriptor& entry, std::string_view name) {
  return entry.annotation(kImageNameAnnotation) == name || entry.annotation(kRefNameAnnotation) == name ||
         entry.digest.to_string() == name;
}
}  // namespace

const Descriptor& find_in_layout(const Index& index, std::string_view name) {
  const Descriptor* found = nullptr;
  std::string wanted(name);
  if (wanted.empty()) {
    if (index.manifests.size() == 1) return index.manifests[0];
    wanted = "latest";
  }
  for (const Descriptor& entry : index.manifests) {
    if (!matches(entry, wanted)) continue;
    if (found && found->digest != entry.digest)
      throw Error(ErrorCode::kInvalid,
                  fmt::format("image layout: {} stands for several images", quote(wanted)))
          .with_hint("name one by its digest: " + found->digest.to_string() + " or " +
                     entry.digest.to_string());
    found = &entry;
  }
  if (found) return *found;
  std::vector<std::string> names;
  for (const Descriptor& entry : index.manifests)
    if (names.size() < 10) names.push_back(name_of(entry));
  throw Error(ErrorCode::kNotFound, fmt::format("image layout: no image {}", quote(wanted)))
      .with_hint(names.empty() ? "the layout is empty" : "it has " + join(names, ", "));
}

void put_in_layout(Index& index, Descriptor descriptor) {
  std::string image = descriptor.annotation(kImageNameAnnotation),
              tag = descriptor.annotation(kRefNameAnnotation);
  std::erase_if(index.manifests, [&](const Descriptor& entry) {
    std::string entry_image = entry.annotation(kImageNameAnnotation),
                entry_tag = entry.annotation(kRefNameAnnotation);
    if (entry_image.empty() && entry_tag.empty()) return entry.digest == descriptor.digest;
    // A tag alone is a name of its own; beside a full name it is only a part of that.
    if (!image.empty() && !entry_image.empty()) return image == entry_image;
    return image.empty() && entry_image.empty() && !tag.empty() && tag == entry_tag;
  });
  index.manifests.push_back(std::move(descriptor));
}

}  // namespace corten::oci
