// `corten imagetools`: docker buildx imagetools' looks at manifests in a registry, and its putting together
// of several in one index.
#include <stdio.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json_template.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "base/unique_fd.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/registry_session.h"
#include "cli/session.h"
#include "cli/transfer.h"
#include "image/annotations.h"
#include "image/copy.h"

namespace corten::cli {

namespace {

// --- inspect ---

void print_row(size_t indent, size_t width, std::string_view name, const std::string& value) {
  printf("%s\n", printable(fmt::format("{:{}}{:<{}}{}", "", indent, name, width, value)).c_str());
}

// As buildx prints it.
void print_text(const oci::Reference& reference, const registry::RemoteManifest& found) {
  constexpr size_t kWidth = 11, kWidthBesideAnnotations = 13;
  print_row(0, kWidth, "Name:", reference.to_string());
  print_row(0, kWidth, "MediaType:", found.descriptor.media_type);
  print_row(0, kWidth, "Digest:", found.descriptor.digest.to_string());
  if (!oci::is_index_type(found.descriptor.media_type)) return;
  const oci::Index index = oci::parse_index(found.bytes, found.descriptor.media_type);
  printf("\nManifests: \n");
  size_t width = kWidth;
  for (const oci::Descriptor& entry : index.manifests)
    if (!entry.annotations.empty()) width = kWidthBesideAnnotations;
  bool is_first = true;
  for (const oci::Descriptor& entry : index.manifests) {
    if (!is_first) printf("\n");
    is_first = false;
    print_row(2, width, "Name:", reference.with_digest(entry.digest).to_string());
    print_row(2, width, "MediaType:", entry.media_type);
    if (entry.platform) {
      print_row(2, width, "Platform:", entry.platform->format());
      if (!entry.platform->os_version.empty()) print_row(2, width, "OSVersion:", entry.platform->os_version);
    }
    if (!entry.urls.empty()) print_row(2, width, "URLs:", join(entry.urls, ", "));
    if (entry.annotations.empty()) continue;
    print_row(2, width, "Annotations:", "");
    size_t longest = 0;
    for (const auto& [key, value] : entry.annotations) longest = std::max(longest, key.size());
    for (const auto& [key, value] : entry.annotations) print_row(4, longest + 2, key + ":", value);
  }
}

Json config_json(registry::Remote& remote, const oci::Reference& repository,
                 const registry::RemoteManifest& found) {
  const oci::Manifest manifest = oci::parse_manifest(found.bytes, found.descriptor.media_type);
  if (!manifest.is_image()) return {};
  return Json::parse(remote.read_blob(repository, manifest.config, oci::kMaxConfigBytes));
}

// .Image: the config; of an index one a platform.
Json image_json(registry::Remote& remote, const oci::Reference& reference,
                const registry::RemoteManifest& found) {
  const oci::Reference repository = reference.repository_only();
  if (!oci::is_index_type(found.descriptor.media_type)) return config_json(remote, repository, found);
  Json all = Json::object();
  for (const oci::Descriptor& entry : oci::parse_index(found.bytes, found.descriptor.media_type).manifests) {
    if (oci::is_attestation(entry) || !entry.platform || !oci::is_manifest_type(entry.media_type)) continue;
    all.set(entry.platform->format(),
            config_json(remote, repository, remote.manifest(repository.with_digest(entry.digest))));
  }
  return all;
}

// What attestation manifests say of the images of an index, as buildx shows it: .SBOM {"SPDX": ...,
// "AdditionalSPDXs": [...]}, .Provenance {"SLSA": ...}, one a platform. The statements are layers of those
// manifests, told apart by their predicate (docs/attestations of BuildKit).
struct Attested {
  Json sboms = Json::object(), provenances = Json::object();
};

void add_statement(Attested& attested, const std::string& platform, const std::string& predicate_type,
                   const Json& statement) {
  const Json* predicate = statement.find("predicate");
  if (!predicate) return;
  if (predicate_type.starts_with("https://slsa.dev/provenance/")) {
    if (!attested.provenances.find(platform))
      attested.provenances.set(platform, Json::object({{"SLSA", *predicate}}));
  } else if (predicate_type.starts_with("https://spdx.dev/Document")) {
    const Json* known = attested.sboms.find(platform);
    Json sbom = known ? *known : Json::object({{"SPDX", *predicate}});
    if (known) {
      const Json* others = known->find("AdditionalSPDXs");
      Json all = others ? *others : Json::array();
      all.push_back(*predicate);
      sbom.set("AdditionalSPDXs", all);
    }
    attested.sboms.set(platform, sbom);
  }
}

Attested attestations(registry::Remote& remote, const oci::Reference& reference,
                      const registry::RemoteManifest& found) {
  constexpr size_t kMaxStatementBytes = 64 << 20;
  constexpr std::string_view kInToto = "application/vnd.in-toto+json";
  Attested attested;
  if (!oci::is_index_type(found.descriptor.media_type)) return attested;
  const oci::Reference repository = reference.repository_only();
  const oci::Index index = oci::parse_index(found.bytes, found.descriptor.media_type);
  for (const oci::Descriptor& entry : index.manifests) {
    if (oci::is_attestation(entry) || !entry.platform) continue;
    for (const oci::Descriptor& about : oci::attestations_of(index, entry.digest)) {
      const registry::RemoteManifest document = remote.manifest(repository.with_digest(about.digest));
      const oci::Manifest manifest = oci::parse_manifest(document.bytes, document.descriptor.media_type);
      for (const oci::Descriptor& layer : manifest.layers)
        if (layer.media_type == kInToto)
          add_statement(
              attested, entry.platform->format(), layer.annotation("in-toto.io/predicate-type"),
              Json::parse(remote.read_blob(repository, layer, kMaxStatementBytes), kMaxStatementBytes));
    }
  }
  return attested;
}

// With one platform its value, else one a platform: buildx's manner.
Json one_or_all(const Json& by_platform, size_t platforms) {
  if (platforms > 1) return by_platform;
  for (const auto& [platform, value] : by_platform.as_object()) return value;
  return Json::object();
}

size_t platforms_of(const registry::RemoteManifest& found) {
  if (!oci::is_index_type(found.descriptor.media_type)) return 1;
  const oci::Index index = oci::parse_index(found.bytes, found.descriptor.media_type);
  return static_cast<size_t>(std::count_if(
      index.manifests.begin(), index.manifests.end(),
      [](const oci::Descriptor& entry) { return entry.platform && !oci::is_attestation(entry); }));
}

// .Manifest: the descriptor, and of an index its own members.
Json manifest_json(const registry::RemoteManifest& found) {
  Json json = Json::object();
  if (oci::is_index_type(found.descriptor.media_type)) json.set("schemaVersion", 2);
  json.set("mediaType", found.descriptor.media_type);
  json.set("digest", found.descriptor.digest.to_string());
  json.set("size", found.descriptor.size);
  if (!oci::is_index_type(found.descriptor.media_type)) return json;
  const Json document = Json::parse(found.bytes);
  for (const char* member : {"manifests", "annotations"})
    if (const Json* value = document.find(member)) json.set(member, *value);
  return json;
}

int inspect(const Arguments& arguments) {
  CLI::App app("Show what a name means in a registry.", "imagetools inspect");
  std::string name, authfile, format, builder;
  bool raw = false;
  app.add_option("name", name, "NAME[:TAG] or NAME@DIGEST")->required();
  app.add_flag("--raw", raw, "the bytes of the manifest or index");
  app.add_option("--format", format,
                 "template over .Name, .Manifest, .Image, .SBOM and .Provenance: '{{json .Manifest}}'");
  app.add_option("--builder", builder, "taken for scripts")->group("");
  app.add_option("--authfile", authfile, "file with credentials");
  parse_flags(app, arguments);
  if (raw && !format.empty()) fail(ErrorCode::kUsage, "--raw and --format: one of them");
  const oci::Reference reference = remote_name(name).with_default_tag();
  RegistrySession session({}, print_warning, authfile);
  const registry::RemoteManifest found = session.remote().manifest(reference);
  if (raw) {
    fwrite(found.bytes.data(), 1, found.bytes.size(), stdout);
    return 0;
  }
  if (format.empty()) {
    print_text(reference, found);
    return 0;
  }
  Json values = Json::object({{"Name", reference.to_string()}, {"Manifest", manifest_json(found)}});
  if (format.find(".Image") != format.npos)
    values.set("Image", image_json(session.remote(), reference, found));
  if (format.find(".SBOM") != format.npos || format.find(".Provenance") != format.npos) {
    const Attested attested = attestations(session.remote(), reference, found);
    values.set("SBOM", one_or_all(attested.sboms, platforms_of(found)));
    values.set("Provenance", one_or_all(attested.provenances, platforms_of(found)));
  }
  // Go's names of the fields, of which JSON has its own.
  for (const auto& [go, json] : {std::pair{".Manifest.Digest", ".Manifest.digest"},
                                 {".Manifest.MediaType", ".Manifest.mediaType"},
                                 {".Manifest.Size", ".Manifest.size"},
                                 {".Manifest.Manifests", ".Manifest.manifests"}})
    format = replace_all(format, go, json);
  if (format == "{{.Manifest}}") {
    print_text(reference, found);
    return 0;
  }
  printf("%s\n", printable(expand_template(format, values)).c_str());
  return 0;
}

// --- create ---

struct CreateFlags {
  std::vector<std::string> sources, files, tags, annotations, platforms;
  std::string metadata_file, progress, builder;
  bool append = false, dry_run = false, prefer_index = true;
  TransferFlags transfer;
};

class Create {
 public:
  explicit Create(const CreateFlags& flags) : flags_(flags), transfer_("copying", flags.transfer) {
    for (const std::string& tag : flags.tags) targets_.push_back(remote_name(tag).with_default_tag());
    for (const std::string& platform : flags.platforms)
      for (const std::string& one : split(platform, ','))
        platforms_.push_back(oci::parse_platform(one).normalized());
    for (const std::string& text : flags.annotations)
      for (image::AnnotationRule& rule : image::parse_annotation_flag(text)) {
        const bool is_ours = rule.level == image::AnnotationLevel::kIndex ||
                             rule.level == image::AnnotationLevel::kManifestDescriptor;
        if (!is_ours)
          throw Error(ErrorCode::kUsage, fmt::format("--annotation {}: it has no place here", quote(text)))
              .with_hint("index:KEY=VALUE and manifest-descriptor:KEY=VALUE have");
        rules_.push_back(std::move(rule));
      }
  }

  void run() {
    read_sources();
    make();
    if (flags_.dry_run) {
      printf("%s\n", printable(bytes_).c_str());
      return;
    }
    // Between two registries blobs lie in the store's directory of temporary things.
    Session session = Session::open({.needs_bodies = false});
    const TempDir scratch = session.store().temporary("copy-");
    for (const oci::Reference& target : targets_) push(target, scratch.path());
    transfer_.progress.finish();
    const std::string digest = root_.digest.to_string();
    if (!flags_.metadata_file.empty()) {
      std::vector<std::string> names;
      for (const oci::Reference& target : targets_) names.push_back(target.to_string());
      write_file_atomic(flags_.metadata_file,
                        Json::object({{"containerimage.descriptor", oci::descriptor_to_json(root_)},
                                      {"containerimage.digest", digest},
                                      {"image.name", join(names, ",")}})
                                .dump({.indent = 2}) +
                            "\n");
    }
    for (const oci::Reference& target : targets_)
      printf("%s\n", printable(target.without_digest().familiar() + "@" + digest).c_str());
  }

 private:
  struct Source {
    oci::Reference repository;
    registry::RemoteManifest manifest;
    oci::Descriptor given;  // what a file said of it
  };
  struct Entry {
    oci::Descriptor descriptor;
    oci::Reference repository;  // that has it
  };

  void read_sources() {
    if (flags_.append) {
      if (targets_.size() != 1) fail(ErrorCode::kUsage, "--append: one --tag is needed, to which is added");
      add(targets_.front(), {});
    }
    for (const std::string& name : flags_.sources) add_text(name);
    for (const std::string& file : flags_.files) {
      const std::string text(trim(read_file(file, oci::kMaxManifestBytes)));
      if (!text.starts_with('{')) {
        add_text(text);
        continue;
      }
      const oci::Descriptor given = oci::descriptor_from_json(Json::parse(text), file);
      add(repository_of_targets(text).with_digest(given.digest), given);
    }
    if (sources_.empty())
      fail(ErrorCode::kUsage, "nothing says what to put together: name images, or -f FILE");
  }

  // A digest alone is of the repository that is written to.
  void add_text(const std::string& text) {
    if (text.starts_with("sha256:"))
      add(repository_of_targets(text).with_digest(Digest::parse(text)), {});
    else
      add(remote_name(text).with_default_tag(), {});
  }

  oci::Reference repository_of_targets(const std::string& what) const {
    for (const oci::Reference& target : targets_)
      if (target.name() != targets_.front().name())
        fail(ErrorCode::kUsage, "{}: of which repository? The tags name several", quote(what));
    if (targets_.empty()) fail(ErrorCode::kUsage, "{}: of which repository? --tag says it", quote(what));
    return targets_.front().repository_only();
  }

  void add(const oci::Reference& reference, const oci::Descriptor& given) {
    sources_.push_back({reference.repository_only(), transfer_.registry.remote().manifest(reference), given});
  }

  bool is_wanted(const oci::Descriptor& entry) const {
    if (platforms_.empty()) return true;
    return entry.platform &&
           std::any_of(platforms_.begin(), platforms_.end(),
                       [&](const oci::Platform& wanted) { return entry.platform->normalized() == wanted; });
  }

  void add_entry(oci::Descriptor entry, const oci::Reference& repository) {
    for (Entry& known : entries_) {
      if (known.descriptor.digest != entry.digest) continue;
      for (auto& [key, value] : entry.annotations) known.descriptor.annotations[key] = value;
      return;
    }
    entries_.push_back({std::move(entry), repository});
  }

  void add_entries(const Source& source) {
    const registry::RemoteManifest& found = source.manifest;
    if (oci::is_index_type(found.descriptor.media_type)) {
      const oci::Index index = oci::parse_index(found.bytes, found.descriptor.media_type);
      std::vector<std::string> kept;
      for (const oci::Descriptor& entry : index.manifests) {
        // An attestation goes where its image goes.
        const std::string subject = entry.annotation("vnd.docker.reference.digest");
        const bool is_kept = oci::is_attestation(entry) && !platforms_.empty()
                                 ? std::find(kept.begin(), kept.end(), subject) != kept.end()
                                 : is_wanted(entry);
        if (!is_kept) continue;
        kept.push_back(entry.digest.to_string());
        add_entry(entry, source.repository);
      }
      return;
    }
    oci::Descriptor entry = found.descriptor;
    entry.annotations = source.given.annotations;
    entry.platform = source.given.platform;
    const oci::Manifest manifest = oci::parse_manifest(found.bytes, entry.media_type);
    if (!entry.platform && manifest.is_image())
      entry.platform = oci::parse_config(transfer_.registry.remote().read_blob(
                                             source.repository, manifest.config, oci::kMaxConfigBytes))
                           .config.platform;
    if (is_wanted(entry)) add_entry(std::move(entry), source.repository);
  }

  void make() {
    const registry::RemoteManifest& first = sources_.front().manifest;
    // One index, or one image when no index is preferred, stays as it is.
    const bool is_as_it_is = sources_.size() == 1 && rules_.empty() && platforms_.empty() &&
                             (oci::is_index_type(first.descriptor.media_type) || !flags_.prefer_index);
    if (is_as_it_is) {
      root_ = oci::describe(first.descriptor.media_type, first.bytes);
      bytes_ = first.bytes;
      entries_.push_back({root_, sources_.front().repository});
      return;
    }
    oci::Index index;
    const bool is_docker = std::all_of(sources_.begin(), sources_.end(), [](const Source& source) {
      return oci::is_docker_type(source.manifest.descriptor.media_type);
    });
    if (is_docker && rules_.empty()) index.media_type = std::string(oci::kDockerIndex);
    for (const Source& source : sources_) {
      if (!oci::is_index_type(source.manifest.descriptor.media_type)) continue;
      for (const auto& [key, value] :
           oci::parse_index(source.manifest.bytes, source.manifest.descriptor.media_type).annotations)
        index.annotations.emplace(key, value);
    }
    for (const Source& source : sources_) add_entries(source);
    if (entries_.empty()) fail(ErrorCode::kNotFound, "no source has an image for --platform");
    for (const Entry& entry : entries_) {
      index.manifests.push_back(entry.descriptor);
      oci::Descriptor& added = index.manifests.back();
      if (!added.platform || oci::is_attestation(added)) continue;
      for (const auto& [key, value] : image::annotations_for(
               rules_, image::AnnotationLevel::kManifestDescriptor, added.platform->normalized()))
        added.annotations[key] = value;
    }
    for (const auto& [key, value] : image::annotations_for(rules_, image::AnnotationLevel::kIndex, {}))
      index.annotations[key] = value;
    bytes_ = oci::emit_index(index);
    root_ = oci::describe(index.media_type, bytes_);
  }

  void push(const oci::Reference& target, const std::string& scratch) {
    image::CopyOptions options;
    options.watch = transfer_.watch();
    registry::Remote& remote = transfer_.registry.remote();
    for (const Entry& entry : entries_) {
      if (entry.repository.name() == target.name()) continue;
      const auto from =
          image::copy_from_registry(remote, entry.repository.with_digest(entry.descriptor.digest), scratch);
      image::copy(*from, *image::copy_to_registry(remote, target.repository_only()), options);
    }
    remote.put_manifest(target, bytes_, root_.media_type);
  }

  const CreateFlags& flags_;
  Transfer transfer_;
  std::vector<oci::Reference> targets_;
  std::vector<oci::Platform> platforms_;
  std::vector<image::AnnotationRule> rules_;
  std::vector<Source> sources_;
  std::vector<Entry> entries_;  // each digest once
  oci::Descriptor root_;
  std::string bytes_;
};

int create(const Arguments& arguments) {
  CLI::App app("Put images and indexes together in one index, in a registry.", "imagetools create");
  CreateFlags flags;
  app.add_option("sources", flags.sources, "NAME[:TAG], NAME@DIGEST, or DIGEST in the repository of --tag");
  app.add_option("-t,--tag", flags.tags, "where to: NAME[:TAG]")->allow_extra_args(false);
  app.add_option("-f,--file", flags.files, "FILE with a source: a name, a digest or a descriptor as JSON")
      ->allow_extra_args(false);
  app.add_flag("--append", flags.append, "add to what the tag means");
  app.add_flag("--dry-run", flags.dry_run, "print the index, push nothing");
  app.add_option("--annotation", flags.annotations,
                 "index:KEY=VALUE or manifest-descriptor[PLATFORM]:KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("-p,--platform", flags.platforms, "of the sources these alone")->allow_extra_args(false);
  app.add_option("--prefer-index", flags.prefer_index,
                 "false: a single image stays an image (default: true)");
  app.add_option("--metadata-file", flags.metadata_file, "write digest and names there, as JSON");
  app.add_option("--progress", flags.progress, "quiet: none is shown")->group("");
  app.add_option("--builder", flags.builder, "taken for scripts")->group("");
  app.add_option("--authfile", flags.transfer.authfile, "file with credentials");
  parse_flags(app, arguments);
  if (flags.tags.empty() && !flags.dry_run)
    fail(ErrorCode::kUsage, "can't push with no tags specified, please set --tag or --dry-run");
  flags.transfer.quiet = flags.dry_run || flags.progress == "quiet" || flags.progress == "none";
  Create(flags).run();
  return 0;
}

}  // namespace

int command_imagetools(const Arguments& arguments) {
  const std::vector<std::string> kVerbs = {"create", "inspect"};
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h")
    throw HelpWanted{
        "Usage: corten imagetools inspect NAME\n       corten imagetools create -t NAME:TAG SOURCE...\n\n"
        "Each has --help. 'corten buildx imagetools' is the same.\n"};
  const Arguments rest(arguments.begin() + 1, arguments.end());
  if (arguments[0] == "inspect") return inspect(rest);
  if (arguments[0] == "create") return create(rest);
  throw Error(ErrorCode::kUsage, fmt::format("unknown command {}{}", quote("imagetools " + arguments[0]),
                                             did_you_mean(arguments[0], kVerbs)));
}

}  // namespace corten::cli
