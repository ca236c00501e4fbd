#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include "archive/compression.h"
#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/remote_sources.h"
#include "cli/session.h"
#include "image/export.h"
#include "oci/layout.h"
#include "source/base_image.h"
#include "source/image_archive.h"

namespace corten::cli {

namespace {

void tell(const Digest& id, const std::vector<std::string>& tags, const std::string& what) {
  if (tags.empty()) printf("Loaded image ID: %s%s\n", id.to_string().c_str(), printable(what).c_str());
  for (const std::string& tag : tags)
    printf("Loaded image: %s%s\n", printable(short_name(tag)).c_str(), printable(what).c_str());
}

// An index keeps its platforms together; what its archive did not bring is said.
void keep_all(Session& session, source::LayoutImages& found, const std::vector<std::string>& names) {
  for (const std::string& platform : found.missing)
    print_warning(fmt::format("the image for {} is not in the archive", platform));
  if (found.images.empty()) fail(ErrorCode::kInvalid, "the archive holds no image of its index");
  if (!found.is_index) {
    source::BaseImage& image = found.images.front();
    tell(source::keep_image(image.config, image.layers(), names, session.store()), names, "");
    return;
  }
  std::vector<store::ImageIndex::Member> members;
  for (size_t i = 0; i < found.images.size(); i++) {
    source::BaseImage& image = found.images[i];
    members.push_back({found.platforms[i].normalized(),
                       source::keep_image(image.config, image.layers(), {}, session.store())});
  }
  store::ImageIndex index = session.store().save_index(members, names);
  tell(index.id, names, fmt::format(" (an index of the platforms {})", index.platforms()));
}

void load_layout(Session& session, const std::string& directory, const std::string& wanted) {
  oci::Index index = oci::parse_index(read_file(directory + "/index.json", oci::kMaxManifestBytes));
  std::map<std::string, std::vector<std::string>> by_digest;  // to names
  for (const oci::Descriptor& entry : index.manifests) {
    auto& names = by_digest[entry.digest.to_string()];
    std::string name = entry.annotation(oci::kImageNameAnnotation),
                tag = entry.annotation(oci::kRefNameAnnotation);
    // A ref.name alone may be a whole name (skopeo) or only a tag (umoci).
    if (name.empty() && (tag.find('/') != std::string::npos || tag.find(':') != std::string::npos))
      name = tag;
    if (!wanted.empty()) name = wanted;
    if (name.empty()) continue;
    if (auto reference = oci::Reference::try_parse(name))
      names.push_back(reference->with_default_tag().to_string());
  }
  for (const auto& [digest, names] : by_digest) {
    source::LayoutImages found = source::images_from_layout({directory}, digest, session.store());
    keep_all(session, found, names);
  }
}

// `docker save` of old.
void load_docker(Session& session, const std::string& directory, const std::string& wanted) {
  for (const source::DockerImage& item :
       source::parse_docker_manifest(read_file(directory + "/manifest.json", oci::kMaxManifestBytes))) {
    source::LoadedImage image = source::load_docker_image(item, directory, session.store());
    std::vector<std::string> tags;
    for (const std::string& tag : item.tags) tags.push_back(full_name(tag));
    if (!wanted.empty()) tags = {full_name(wanted)};
    tell(source::keep_image(image.config, image.layers, tags, session.store()), tags, "");
  }
}

}  // namespace

int command_load(const Arguments& arguments) {
  CLI::App app("Bring in images: an OCI or Docker archive (any compression), or an OCI layout directory.",
               "load");
  std::string input, operand, tag;
  bool quiet = false;
  app.add_option("-i,--input", input, "file or directory (default: standard input)");
  app.add_option("file", operand, "the same");
  app.add_option("-t,--tag", tag, "name for the image");
  app.add_flag("-q,--quiet", quiet, "")->group("");
  parse_flags(app, arguments);
  if (input.empty()) input = operand;
  Session session = Session::open();
  struct stat st;
  if (!input.empty() && input != "-" && stat(input.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) {
    load_layout(session, input, tag);
    return 0;
  }
  if ((input.empty() || input == "-") && isatty(0))
    throw Error(ErrorCode::kUsage, "standard input is a terminal")
        .with_hint("name an archive: corten load -i FILE");
  UniqueFd file;
  if (!input.empty() && input != "-") file = open_file(input, O_RDONLY);
  archive::FdSource from(file ? file.get() : 0, input.empty() ? "standard input" : input);
  TempDir place = session.store().temporary("load");
  source::unpack_image_archive(from, place.path(), max_unpacked_bytes());
  if (path_exists(place / "index.json"))
    load_layout(session, place.path(), tag);
  else if (path_exists(place / "manifest.json"))
    load_docker(session, place.path(), tag);
  else
    throw Error(ErrorCode::kInvalid, "this is neither an OCI nor a Docker image archive")
        .with_hint("it holds neither index.json nor manifest.json");
  return 0;
}

int command_save(const Arguments& arguments) {
  CLI::App app("Write images to an archive that docker, podman, skopeo and corten load.", "save");
  std::vector<std::string> names;
  std::string output, platform, format = "docker-archive";
  app.add_option("images", names, "names or ids")->required();
  app.add_option("-o,--output", output, "file (default: standard output); a directory for oci-dir");
  app.add_option("--format", format, "docker-archive (OCI layout with manifest.json), oci-archive, oci-dir");
  app.add_option("--platform", platform, "of an index this one image (default: the whole index)");
  parse_flags(app, arguments);
  if (format != "docker-archive" && format != "oci-archive" && format != "oci-dir")
    fail(ErrorCode::kUsage, "unknown format {}", quote(format));
  if (output.empty() && isatty(1))
    throw Error(ErrorCode::kUsage, "refusing to write an archive to the terminal")
        .with_hint("name a file: -o FILE");
  if (output.empty() && format == "oci-dir") fail(ErrorCode::kUsage, "oci-dir needs a directory: -o DIR");
  Session session = Session::open();
  std::vector<image::ImageSet> sets;
  for (const std::string& name : names) {
    auto set = image::ImageSet::from_store(session.stored_name(name), session.store());
    if (!set || !platform.empty()) {
      std::vector<oci::Reference> kept = set ? set->names : std::vector<oci::Reference>();
      set = image::ImageSet{{session.image(name, platform)}, false, kept};
    }
    if (set->is_index && format == "docker-archive")
      fprintf(stderr, "%s: the index is written whole; 'docker load' of old takes one platform of it\n",
              printable(name).c_str());
    sets.push_back(std::move(*set));
  }
  image::ExportOptions options;
  options.threads = available_processors();
  if (format == "oci-dir") {
    for (const image::ImageSet& set : sets) image::write_layout(set, options, output, session.store());
    return 0;
  }
  std::string partial = output + fmt::format(".partial-{}", getpid());
  UniqueFd file;
  if (!output.empty()) file = open_file(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
  try {
    archive::FdSink sink(file ? file.get() : 1, output.empty() ? "standard output" : output);
    image::write_archive(sets, options, format == "docker-archive", session.store(), sink);
    if (file) {
      file.close_checked(output);
      if (rename(partial.c_str(), output.c_str()) != 0) fail_errno("write {}", output);
    }
  } catch (...) {
    if (!output.empty()) unlink(partial.c_str());
    throw;
  }
  return 0;
}

}  // namespace corten::cli
