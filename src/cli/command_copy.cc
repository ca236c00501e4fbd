// `corten copy`: images from any place to any other. Between registries and layouts documents keep their
// bytes; what comes from or goes to the store or Docker's archives is made anew there.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/output_spec.h"
#include "cli/remote_sources.h"
#include "cli/session.h"
#include "cli/transfer.h"
#include "image/copy.h"
#include "source/base_image.h"
#include "source/image_archive.h"

namespace corten::cli {

namespace {

enum class PlaceKind { kRegistry, kStore, kLayout, kOciArchive, kDockerArchive };

struct Place {
  PlaceKind kind = PlaceKind::kRegistry;
  std::string path, name;  // a file or directory; a reference, a tag or ""
};

Place parse_place(const std::string& text) {
  static constexpr std::pair<std::string_view, PlaceKind> kKinds[] = {
      {"store:", PlaceKind::kStore},
      {"oci:", PlaceKind::kLayout},
      {"oci-archive:", PlaceKind::kOciArchive},
      {"docker-archive:", PlaceKind::kDockerArchive}};
  for (const std::string_view other : {"dir:", "docker-daemon:", "containers-storage:"})
    if (text.starts_with(other))
      throw Error(ErrorCode::kUsage, fmt::format("{}: this kind of place is not known", quote(text)))
          .with_hint("docker://, store:, oci:, oci-archive: and docker-archive: are");
  for (const auto& [prefix, kind] : kKinds) {
    if (!text.starts_with(prefix)) continue;
    const std::string rest = text.substr(prefix.size());
    if (kind == PlaceKind::kStore) return {kind, {}, rest};
    const size_t colon = rest.find(':');
    Place place{kind, rest.substr(0, colon), colon == rest.npos ? "" : rest.substr(colon + 1)};
    if (place.path.empty()) fail(ErrorCode::kUsage, "{}: it names no file", quote(text));
    return place;
  }
  return {PlaceKind::kRegistry, {}, text};
}

bool is_exact(PlaceKind kind) {
  return kind != PlaceKind::kStore && kind != PlaceKind::kDockerArchive;
}

struct CopyFlags {
  std::string from, to, platform, recompress, digest_file;
  bool with_referrers = false;
  TransferFlags transfer;
};

class CopyCommand {
 public:
  CopyCommand(const CopyFlags& flags, Session& session, const Place& from, const Place& to)
      : flags_(flags),
        session_(session),
        store_(session.store()),
        from_(from),
        to_(to),
        scratch_(store_.temporary("copy-")),
        transfer_("copying", flags.transfer) {
    options_.with_referrers = flags.with_referrers;
    if (!flags.platform.empty()) options_.platform = oci::parse_platform(flags.platform).normalized();
    options_.watch = transfer_.watch();
  }

  void run() {
    const int64_t began = monotonic_ns();
    image::Pushed done;
    if (is_exact(from_.kind) && is_exact(to_.kind) && flags_.recompress.empty()) {
      done = copy_exact(*source());
    } else {
      const image::ImageSet set = set_to_copy();
      done = to_.kind == PlaceKind::kStore           ? keep(set)
             : to_.kind == PlaceKind::kDockerArchive ? write_docker_archive(set)
             : to_.kind == PlaceKind::kRegistry      ? push(set)
                                                     : by_layout(set);
    }
    transfer_.progress.finish();
    if (!flags_.transfer.quiet && to_.kind != PlaceKind::kStore && to_.kind != PlaceKind::kDockerArchive)
      fprintf(stderr, "%s\n", printable(image::summary_of(done, monotonic_ns() - began)).c_str());
    const std::string digest = done.root.digest.to_string();
    if (!flags_.digest_file.empty()) write_file_atomic(flags_.digest_file, digest);
    printf("%s\n", to_.kind == PlaceKind::kRegistry
                       ? printable(remote_name(to_.name).with_digest(done.root.digest).familiar()).c_str()
                       : digest.c_str());
  }

 private:
  std::string unpacked() {
    const UniqueFd file = open_file(from_.path, O_RDONLY);
    archive::FdSource bytes(file.get(), from_.path);
    std::string directory = scratch_ / "archive";
    make_directories_on_host(directory);
    source::unpack_image_archive(bytes, directory, max_unpacked_bytes());
    return directory;
  }

  std::unique_ptr<image::CopySource> source() {
    if (from_.kind == PlaceKind::kRegistry)
      return image::copy_from_registry(transfer_.registry.remote(),
                                       remote_name(from_.name).with_default_tag(), scratch_.path());
    return image::copy_from_layout(from_.kind == PlaceKind::kLayout ? from_.path : unpacked(), from_.name);
  }

  image::Pushed copy_exact(image::CopySource& from) {
    if (to_.kind == PlaceKind::kRegistry)
      return image::copy(from, *image::copy_to_registry(transfer_.registry.remote(), target_reference()),
                         options_);
    if (to_.kind == PlaceKind::kLayout)
      return image::copy(from, *image::copy_to_layout(to_.path, to_.name), options_);
    const std::string directory = scratch_ / "layout";
    image::Pushed done = image::copy(from, *image::copy_to_layout(directory, to_.name), options_);
    write_file([&](archive::ByteSink& sink) { image::write_layout_archive(directory, sink); });
    return done;
  }

  oci::Reference target_reference() const { return remote_name(to_.name).with_default_tag(); }

  void write_file(const std::function<void(archive::ByteSink&)>& write) {
    const std::string partial = to_.path + fmt::format(".partial-{}", getpid());
    UniqueFd file = open_file(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
    try {
      archive::FdSink sink(file.get(), to_.path);
      write(sink);
      file.close_checked(to_.path);
      if (rename(partial.c_str(), to_.path.c_str()) != 0) fail_errno("write {}", to_.path);
    } catch (...) {
      unlink(partial.c_str());
      throw;
    }
  }

  image::ImageSet set_to_copy() {
    image::ImageSet set = read_set();
    if (!options_.platform || !set.is_index) return set;
    const store::Image* best = nullptr;
    int best_rank = 0;
    std::vector<std::string> there;
    for (const store::Image& image : set.images) {
      const oci::Platform platform = oci::parse_config(image.config).config.platform;
      there.push_back(platform.format());
      const auto rank = oci::platform_rank(*options_.platform, platform);
      if (rank && (!best || *rank < best_rank)) best = &image, best_rank = *rank;
    }
    if (!best)
      throw Error(ErrorCode::kNotFound, fmt::format("no image for platform {}", options_.platform->format()))
          .with_hint("there is " + join(there, ", "));
    return {{*best}, false, set.names};
  }

  image::ImageSet read_set() {
    if (from_.kind == PlaceKind::kStore) {
      auto set = image::ImageSet::from_store(session_.stored_name(from_.name), store_);
      return set ? *set : image::ImageSet{{session_.image(from_.name)}, false, {}};
    }
    if (from_.kind == PlaceKind::kDockerArchive) return read_docker_archive();
    // All of it lies in a layout first, and is verified there.
    const std::string directory = scratch_ / "in";
    image::copy(*source(), *image::copy_to_layout(directory, "copied"), options_);
    source::LayoutImages found = source::images_from_layout({directory}, "copied", store_);
    image::ImageSet set;
    set.is_index = found.is_index;
    for (source::BaseImage& image : found.images)
      set.images.push_back(source::image_to_store(image.config, image.layers(), store_));
    if (set.images.empty()) fail(ErrorCode::kInvalid, "{}: there is no image in it", flags_.from);
    return set;
  }

  image::ImageSet read_docker_archive() {
    const std::string directory = unpacked();
    const std::string manifest = directory + "/manifest.json";
    if (!path_exists(manifest))
      fail(ErrorCode::kInvalid, "{}: this is no Docker archive: it has no manifest.json", from_.path);
    const std::string wanted = from_.name.empty() ? "" : full_name(from_.name);
    const source::DockerImage* chosen = nullptr;
    const auto images = source::parse_docker_manifest(read_file(manifest, oci::kMaxManifestBytes));
    std::vector<std::string> names;
    for (const source::DockerImage& image : images) {
      bool is_wanted = wanted.empty() && images.size() == 1;
      for (const std::string& tag : image.tags) {
        names.push_back(tag);
        is_wanted = is_wanted || (!wanted.empty() && full_name(tag) == wanted);
      }
      if (is_wanted) chosen = &image;
    }
    if (!chosen)
      throw Error(ErrorCode::kNotFound, fmt::format("{}: {}", from_.path,
                                                    wanted.empty() ? "there are several images in it"
                                                                   : "no image " + quote(from_.name)))
          .with_hint("it has " + join(names, ", "));
    const source::LoadedImage loaded = source::load_docker_image(*chosen, directory, store_);
    return {{source::image_to_store(loaded.config, loaded.layers, store_)}, false, {}};
  }

  image::ExportOptions form() const {
    image::ExportOptions form;
    form.threads = available_processors();
    if (!flags_.recompress.empty()) form.compression = parse_forced_compression(flags_.recompress);
    return form;
  }

  image::Pushed keep(const image::ImageSet& set) {
    const std::vector<std::string> tags = {full_name(to_.name)};
    image::Pushed done;
    std::vector<store::ImageIndex::Member> members;
    for (store::Image image : set.images) {
      if (!set.is_index) image.tags = tags;
      store_.save_image(image);
      members.push_back({oci::parse_config(image.config).config.platform.normalized(), image.id});
      done.root.digest = image.id;
    }
    if (set.is_index) done.root.digest = store_.save_index(members, tags).id;
    return done;
  }

  image::Pushed write_docker_archive(image::ImageSet set) {
    set.names.clear();
    if (!to_.name.empty()) set.names.push_back(remote_name(to_.name).with_default_tag());
    image::Pushed done;
    write_file([&](archive::ByteSink& sink) {
      done.root = image::write_archive({set}, form(), true, store_, sink);
    });
    return done;
  }

  image::Pushed push(const image::ImageSet& set) {
    image::PushOptions options;
    options.form = form();
    options.watch = options_.watch;
    return image::push(set, {target_reference()}, options, transfer_.registry.remote(), store_);
  }

  image::Pushed by_layout(image::ImageSet set) {
    set.names.clear();
    const std::string directory = scratch_ / "out";
    image::write_layout(set, form(), directory, store_);
    options_.platform.reset();
    return copy_exact(*image::copy_from_layout(directory, ""));
  }

  const CopyFlags& flags_;
  Session& session_;
  store::Store& store_;
  const Place &from_, &to_;
  TempDir scratch_;
  Transfer transfer_;
  image::CopyOptions options_;
};

}  // namespace

int command_copy(const Arguments& arguments) {
  CLI::App app(
      "Copy an image, or a whole index: [docker://]NAME[:TAG|@DIGEST], store:NAME, oci:DIR[:TAG], "
      "oci-archive:FILE[:TAG], docker-archive:FILE[:NAME]. Between registries and layouts digests stay.",
      "copy");
  CopyFlags flags;
  app.add_option("from", flags.from, "from where")->required();
  app.add_option("to", flags.to, "to where")->required();
  app.add_option("--platform", flags.platform, "of an index this one (default: all of it)");
  app.add_option("--recompress", flags.recompress,
                 "layers anew as gzip, zstd or uncompressed: other digests");
  app.add_flag("--with-referrers", flags.with_referrers, "what refers to it too: signatures, attestations");
  app.add_option("--digestfile", flags.digest_file, "write the digest there");
  flags.transfer.add_to(app);
  parse_flags(app, arguments);
  const Place from = parse_place(flags.from), to = parse_place(flags.to);
  if (from.kind == PlaceKind::kRegistry) remote_name(from.name);
  if (to.kind == PlaceKind::kRegistry) remote_name(to.name);
  if (!flags.recompress.empty()) parse_forced_compression(flags.recompress);  // before anything comes
  const bool through_store = !is_exact(from.kind) || !is_exact(to.kind) || !flags.recompress.empty();
  if (through_store && flags.with_referrers)
    throw Error(ErrorCode::kUsage, "--with-referrers needs a copy that keeps digests")
        .with_hint("between registries and OCI layouts, without --recompress");
  Session session = Session::open({.needs_bodies = through_store});
  CopyCommand(flags, session, from, to).run();
  return 0;
}

}  // namespace corten::cli
