// `corten pull` and `corten push`: between registries and the store.
#include <stdio.h>
#include <unistd.h>

#include <map>
#include <mutex>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/output_spec.h"
#include "cli/platforms.h"
#include "cli/session.h"
#include "cli/tag_moves.h"
#include "cli/transfer.h"
#include "image/push.h"
#include "oci/layout.h"

namespace corten::cli {

namespace {

oci::Reference reference_of(const std::string& text) {
  try {
    return oci::Reference::parse(text).with_default_tag();
  } catch (Error& error) {
    throw Error(ErrorCode::kUsage, error.message());
  }
}

}  // namespace

int command_pull(const Arguments& arguments) {
  CLI::App app("Pull images from a registry into the store.", "pull");
  std::vector<std::string> names;
  std::string platform;
  TransferFlags flags;
  bool all_platforms = false;
  app.add_option("images", names, "NAME[:TAG] or NAME@DIGEST")->required();
  app.add_option("--platform", platform, "of an index this one (default: this machine's)");
  app.add_flag("--all-platforms", all_platforms, "the whole index");
  flags.add_to(app);
  parse_flags(app, arguments);
  Session session = Session::open();
  store::Store& store = session.store();
  Transfer transfer("pulling", flags);
  for (const std::string& name : names) {
    const oci::Reference reference = reference_of(name);
    source::RegistryImages& images = transfer.registry.images(store);
    const std::vector<std::string> tags =
        reference.tag().empty() ? std::vector<std::string>()
                                : std::vector<std::string>{reference.without_digest().to_string()};
    const Digest root = images.resolve(reference);
    const oci::Reference exact = reference.with_digest(root);
    std::string id;
    source::LayoutImages found;
    if (all_platforms) found = images.images(exact);
    if (found.is_index) {
      std::vector<store::ImageIndex::Member> members;
      for (size_t i = 0; i < found.images.size(); i++)
        members.push_back({found.platforms[i].normalized(),
                           source::keep_image(found.images[i].config, found.images[i].layers(), {}, store)});
      id = store.save_index(members, tags).id.to_string();
    } else {
      const oci::Platform wanted = platform.empty() ? oci::host_platform() : oci::parse_platform(platform);
      source::BaseImage image = images.image(exact, wanted);
      id = source::keep_image(image.config, image.layers(), tags, store).to_string();
    }
    transfer.progress.finish();
    if (!flags.quiet) printf("Digest: %s\n", root.to_string().c_str());
    printf("%s\n", flags.quiet ? id.c_str() : reference.familiar().c_str());
  }
  return 0;
}

int command_push(const Arguments& arguments) {
  CLI::App app("Push an image of the store to the registry of its name.", "push");
  std::string name, to, compression, digest_file;
  std::vector<std::string> immutable;
  TransferFlags flags;
  bool force = false, docker_types = false;
  app.add_option("image", name, "name or id of the image")->required();
  app.add_option("to", to, "where to (default: its name): HOST/NAME[:TAG]");
  app.add_option("--immutable", immutable, "PATTERN of tags that must not move to another digest (sha-*)")
      ->allow_extra_args(false);
  app.add_flag("--force", force, "let latest go back to an older image");
  app.add_option("--compression", compression, "of layers that were built here: gzip, zstd, uncompressed");
  app.add_flag("--docker-types", docker_types, "Docker's media types instead of OCI's");
  app.add_option("--digestfile", digest_file, "write the digest there");
  flags.add_to(app);
  parse_flags(app, arguments);
  Session session = Session::open();
  store::Store& store = session.store();
  auto set = image::ImageSet::from_store(session.stored_name(name), store);
  if (!set) set = image::ImageSet{{session.image(name)}, false, {}};
  const std::string target = to.empty() ? name : to;
  if (to.empty() && !oci::Reference::try_parse(target))
    throw Error(ErrorCode::kUsage, fmt::format("{}: an id has no registry", quote(name)))
        .with_hint("say where to: corten push ID HOST/NAME:TAG");
  const std::vector<oci::Reference> names = {reference_of(target)};
  image::PushOptions options;
  if (!compression.empty()) options.form.compression = parse_forced_compression(compression);
  options.form.docker_media_types = docker_types;
  options.form.threads = available_processors();
  Transfer transfer("pushing", flags);
  options.watch = transfer.watch();
  check_moves(
      names, {immutable, force}, *set,
      [&] { return image::make_exported(*set, options.form, store).root.digest; }, transfer.registry.remote(),
      transfer.registry.images(store));
  const int64_t began = monotonic_ns();
  const image::Pushed pushed = image::push(*set, names, options, transfer.registry.remote(), store);
  transfer.progress.finish();
  const std::string exact = names.front().with_digest(pushed.root.digest).familiar();
  if (!flags.quiet)
    fprintf(stderr, "%s\n", printable(image::summary_of(pushed, monotonic_ns() - began)).c_str());
  if (!digest_file.empty()) write_file_atomic(digest_file, pushed.root.digest.to_string());
  printf("%s\n", exact.c_str());
  return 0;
}

}  // namespace corten::cli
