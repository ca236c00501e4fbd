// What lies in a registry, and away with it: tags, delete, referrers, manifest inspect.
#include <stdio.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/registry_session.h"
#include "cli/session.h"
#include "report/table.h"

namespace corten::cli {

namespace {

// Indented as Go's json.Indent does with "\t".
std::string with_tabs(const Json& json) {
  std::string text;
  bool is_start = true;
  for (const char c : json.dump({.indent = 1})) {
    text += is_start && c == ' ' ? '\t' : c;
    is_start = c == '\n' || (is_start && c == ' ');
  }
  return text;
}

// One image of `docker manifest inspect -v`.
Json verbose(const oci::Reference& reference, oci::Descriptor descriptor,
             const std::optional<oci::Platform>& platform, const std::string& bytes) {
  descriptor.annotations.clear();
  descriptor.platform = platform;
  Json item = Json::object();
  item.set("Ref", reference.repository_only().with_digest(descriptor.digest).to_string());
  item.set("Descriptor", oci::descriptor_to_json(descriptor));
  item.set("Raw", base64_encode(bytes));
  item.set(oci::is_docker_type(descriptor.media_type) ? "SchemaV2Manifest" : "OCIManifest",
           Json::parse(bytes));
  return item;
}

// The platform of a lone image is in its config.
std::optional<oci::Platform> platform_of(registry::Remote& remote, const oci::Reference& reference,
                                         const registry::RemoteManifest& found) {
  const oci::Manifest manifest = oci::parse_manifest(found.bytes, found.descriptor.media_type);
  if (!manifest.is_image()) return std::nullopt;
  return oci::parse_config(remote.read_blob(reference, manifest.config, oci::kMaxConfigBytes))
      .config.platform;
}

int manifest_inspect(const Arguments& arguments) {
  CLI::App app("Print the manifest or index that a name means.", "manifest inspect");
  std::string name, authfile;
  bool raw = false, is_verbose = false;
  app.add_option("name", name, "NAME[:TAG] or NAME@DIGEST")->required();
  app.add_flag("--raw", raw, "its bytes as they are, without a newline");
  app.add_flag("-v,--verbose", is_verbose, "with descriptor, platform and bytes; of an index every image");
  bool insecure = false;
  app.add_flag("--insecure", insecure, "taken for scripts: registries.conf says which registries are")
      ->group("");
  app.add_option("--authfile", authfile, "file with credentials");
  parse_flags(app, arguments);
  const oci::Reference reference = remote_name(name).with_default_tag();
  RegistrySession session({}, print_warning, authfile);
  registry::Remote& remote = session.remote();
  const registry::RemoteManifest found = remote.manifest(reference);
  const bool is_index = oci::is_index_type(found.descriptor.media_type);
  if (raw) {
    fwrite(found.bytes.data(), 1, found.bytes.size(), stdout);
  } else if (!is_verbose) {
    const Json json = Json::parse(found.bytes);
    printf("%s\n", printable(is_index ? json.dump({.indent = 3}) : with_tabs(json)).c_str());
  } else if (!is_index) {
    const Json item =
        verbose(reference, found.descriptor, platform_of(remote, reference, found), found.bytes);
    printf("%s\n", printable(with_tabs(item)).c_str());
  } else {
    Json list = Json::array();
    for (const oci::Descriptor& entry :
         oci::parse_index(found.bytes, found.descriptor.media_type).manifests) {
      if (!oci::is_manifest_type(entry.media_type)) continue;
      const registry::RemoteManifest member =
          remote.manifest(reference.repository_only().with_digest(entry.digest));
      list.push_back(verbose(reference, member.descriptor, entry.platform, member.bytes));
    }
    printf("%s\n", printable(with_tabs(list)).c_str());
  }
  return 0;
}

}  // namespace

int command_tags(const Arguments& arguments) {
  CLI::App app("List the tags of a repository, one a line.", "tags");
  std::string name, authfile;
  app.add_option("name", name, "NAME")->required();
  app.add_option("--authfile", authfile, "file with credentials");
  parse_flags(app, arguments);
  const oci::Reference reference = remote_name(name);
  if (!reference.tag().empty() || reference.digest())
    throw Error(ErrorCode::kUsage,
                fmt::format("{}: a repository is meant, without tag or digest", quote(name)));
  RegistrySession session({}, print_warning, authfile);
  for (const std::string& tag : session.remote().tags(reference)) printf("%s\n", printable(tag).c_str());
  return 0;
}

int command_delete(const Arguments& arguments) {
  CLI::App app(
      "Delete tags or manifests in a registry. Nothing is asked; 'registry clean' looks what needs them.",
      "delete");
  std::vector<std::string> names;
  std::string authfile;
  app.add_option("names", names, "NAME:TAG (that tag alone) or NAME@DIGEST (with all its tags)")->required();
  app.add_option("--authfile", authfile, "file with credentials");
  parse_flags(app, arguments);
  std::vector<oci::Reference> references;
  for (const std::string& name : names) {
    references.push_back(remote_name(name));
    if (references.back().tag().empty() && !references.back().digest())
      throw Error(ErrorCode::kUsage, fmt::format("{}: say which: NAME:TAG or NAME@DIGEST", quote(name)))
          .with_hint("'corten tags " + name + "' lists the tags");
    if (!references.back().tag().empty() && references.back().digest())
      throw Error(ErrorCode::kUsage, fmt::format("{}: a tag or a digest, not both", quote(name)));
  }
  RegistrySession session({}, print_warning, authfile);
  registry::Remote& remote = session.remote();
  for (const oci::Reference& reference : references) {
    bool was_there = false;
    try {
      was_there = remote.remove_manifest(reference);
    } catch (const Error& error) {
      const bool is_tag_refused =
          !reference.digest() && error.code() != ErrorCode::kPermission && error.code() != ErrorCode::kIo;
      if (!is_tag_refused) throw;
      throw Error(error).with_hint(
          "some registries delete by digest alone, which takes all tags of it: 'corten delete " +
          reference.repository_only().familiar() + "@DIGEST'");
    }
    if (!was_there)
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: the registry has no such manifest", reference.familiar()))
          .with_hint("'corten tags " + reference.repository_only().familiar() + "' lists the tags");
    printf("Deleted: %s\n", printable(reference.familiar()).c_str());
  }
  return 0;
}

int command_referrers(const Arguments& arguments) {
  CLI::App app("List what refers to an image: signatures, attestations, bills of materials.", "referrers");
  std::string name, authfile, type, format = "table";
  app.add_option("name", name, "NAME[:TAG] or NAME@DIGEST")->required();
  app.add_option("--artifact-type", type, "this type alone");
  app.add_option("--format", format, "table or json (an image index)");
  app.add_option("--authfile", authfile, "file with credentials");
  parse_flags(app, arguments);
  if (format != "table" && format != "json") fail(ErrorCode::kUsage, "unknown format {}", quote(format));
  oci::Reference reference = remote_name(name).with_default_tag();
  RegistrySession session({}, print_warning, authfile);
  registry::Remote& remote = session.remote();
  if (!reference.digest()) {
    const auto found = remote.find(reference);
    if (!found)
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: the registry has no such manifest", reference.familiar()))
          .with_hint("'corten tags " + reference.repository_only().familiar() + "' lists the tags");
    reference = reference.with_digest(found->digest);
  }
  const oci::Index index = remote.referrers(reference.repository_only(), *reference.digest(), type);
  if (format == "json") {
    printf("%s\n", printable(oci::emit_index(index)).c_str());
    return 0;
  }
  report::Table table({"DIGEST", "ARTIFACT TYPE", "SIZE", "CREATED"});
  for (const oci::Descriptor& entry : index.manifests) {
    const std::string created = entry.annotation("org.opencontainers.image.created");
    table.add({entry.digest.to_string(), entry.artifact_type.empty() ? "-" : entry.artifact_type,
               human_size(entry.size), created.empty() ? "-" : created});
  }
  fputs(table.text().c_str(), stdout);
  return 0;
}

int command_manifest(const Arguments& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h")
    throw HelpWanted{"Usage: corten manifest inspect [--raw] [-v] NAME\n"};
  const Arguments rest(arguments.begin() + 1, arguments.end());
  if (arguments[0] == "inspect") return manifest_inspect(rest);
  throw Error(ErrorCode::kUsage, fmt::format("unknown command {}{}", quote("manifest " + arguments[0]),
                                             did_you_mean(arguments[0], std::vector<std::string>{"inspect"})))
      .with_hint("'corten imagetools create' puts manifests together");
}

}  // namespace corten::cli
