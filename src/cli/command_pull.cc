// `corten pull` and `corten push`: between registries and the store.
#include <fnmatch.h>
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

bool matches_any(const std::vector<std::string>& patterns, const oci::Reference& name) {
  for (const std::string& pattern : patterns)
    if (fnmatch(pattern.c_str(), name.tag().c_str(), 0) == 0 ||
        fnmatch(pattern.c_str(), name.familiar().c_str(), 0) == 0)
      return true;
  return false;
}

// The image's time of making, by its label or its config: which of two revisions is the older one.
std::optional<oci::Timestamp> time_of(const oci::ImageConfig& config) {
  auto label = config.config.labels.find(std::string(oci::kCreatedAnnotation));
  if (label != config.config.labels.end())
    if (auto time = oci::parse_time(label->second)) return time;
  return oci::parse_time(config.created);
}

// --immutable, and `latest` that would go back: before anything is sent, and compressed only where the tag is
// of this very image already.
void check_moves(const std::vector<oci::Reference>& names, const std::vector<std::string>& immutable,
                 bool force, const image::ImageSet& set, const std::function<Digest()>& root,
                 RegistrySession& registry, store::Store& store) {
  const oci::ImageConfig mine = oci::parse_config(set.images.front().config).config;
  for (const oci::Reference& name : names) {
    const bool is_immutable = matches_any(immutable, name), is_latest = name.tag() == "latest" && !force;
    if (!is_immutable && !is_latest) continue;
    const auto there = registry.remote().find(name.without_digest());
    if (!there) continue;
    const source::BaseImage other =
        registry.images(store).image(name.repository_only().with_digest(there->digest), mine.platform);
    const bool is_same = other.identity == set.images.front().id;
    if (is_immutable && (!is_same || root() != there->digest))
      throw Error(ErrorCode::kExists, fmt::format("{} is {} and would become another: it matches --immutable",
                                                  name.familiar(), there->digest.to_string()))
          .with_hint("push it under another tag");
    const auto my_time = time_of(mine), its_time = time_of(other.config);
    if (is_latest && !is_same && my_time && its_time && *my_time < *its_time)
      throw Error(ErrorCode::kExists,
                  fmt::format("{} would go back: it is of {}, this image of {}", name.familiar(),
                              oci::format_time(its_time->seconds), oci::format_time(my_time->seconds)))
          .with_hint("--force moves it all the same");
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
      names, immutable, force, *set,
      [&] { return image::make_exported(*set, options.form, store).root.digest; }, transfer.registry, store);
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
