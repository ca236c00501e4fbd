#include "cli/output_spec.h"

#include <algorithm>
#include <functional>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "dockerfile/mount.h"

namespace corten::cli {

std::map<std::string, std::string> parse_attributes(std::string_view text) {
  std::map<std::string, std::string> attributes;
  for (const std::string& field : dockerfile::split_csv(text)) {
    size_t equals = field.find('=');
    attributes[std::string(trim(field.substr(0, equals)))] =
        equals == std::string::npos ? "" : field.substr(equals + 1);
  }
  return attributes;
}

namespace {

// Go's strconv.ParseBool; an attribute without a value is true.
bool parse_bool(std::string_view name, const std::string& value) {
  for (std::string_view yes : {"", "1", "t", "T", "true", "TRUE", "True"})
    if (value == yes) return true;
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (value == no) return false;
  fail(ErrorCode::kUsage, "output attribute {}: non-bool value {}", name, quote(value));
}

oci::LayerCompression parse_compression(const std::string& value) {
  if (value == "gzip") return oci::LayerCompression::kGzip;
  if (value == "zstd") return oci::LayerCompression::kZstd;
  if (value == "uncompressed") return oci::LayerCompression::kNone;
  if (value == "estargz")
    throw Error(ErrorCode::kUnsupported, "output attribute compression=estargz is not executed")
        .with_hint(
            "compression=zstd is smaller and faster; lazy pulling is of no use without its snapshotter");
  fail(ErrorCode::kUsage, "unsupported compression {}: it is one of gzip, zstd, uncompressed", quote(value));
}

int parse_level(const std::string& value, oci::LayerCompression kind) {
  auto level = parse_int(value);
  int most = kind == oci::LayerCompression::kZstd ? 22 : 9;
  if (kind == oci::LayerCompression::kNone)
    fail(ErrorCode::kUsage, "compression-level has no meaning with compression=uncompressed");
  if (!level || *level < 0 || *level > most)
    fail(ErrorCode::kUsage, "invalid compression-level {}: it is 0 to {}", quote(value), most);
  return static_cast<int>(*level);
}

[[noreturn]] void refuse(std::string_view name, const std::string& value, std::string_view hint) {
  throw Error(ErrorCode::kUnsupported,
              fmt::format("output attribute {}{} is not executed", name, value.empty() ? "" : "=" + value))
      .with_hint(std::string(hint));
}

struct Attribute {
  std::string_view name;
  std::string_view types;  // to which it belongs
  std::function<void(OutputSpec&, const std::string& value)> apply;
};

const std::vector<Attribute>& attributes() {
  static const std::vector<Attribute> list = {
      {"name", "oci docker image",
       [](OutputSpec& o, const std::string& value) {
         if (value == "*") refuse("name", value, "give the image its name with -t");
         for (const std::string& name : split(value, ','))
           if (!name.empty()) o.names.push_back(name);
       }},
      {"tar", "oci docker", [](OutputSpec& o, const std::string& v) { o.as_tar = parse_bool("tar", v); }},
      {"compression", "oci docker image",
       [](OutputSpec& o, const std::string& v) { o.compression.kind = parse_compression(v); }},
      {"compression-level", "oci docker image",
       [](OutputSpec&, const std::string&) {}},  // needs the kind first
      {"force-compression", "oci docker image",
       [](OutputSpec& o, const std::string& v) { o.compression.force = parse_bool("force-compression", v); }},
      {"oci-mediatypes", "oci docker image",
       [](OutputSpec& o, const std::string& v) { o.docker_media_types = !parse_bool("oci-mediatypes", v); }},
      {"rewrite-timestamp", "oci docker image",
       [](OutputSpec& o, const std::string& v) { o.rewrite_timestamp = parse_bool("rewrite-timestamp", v); }},
      {"source-date-epoch", "oci docker image local tar",
       [](OutputSpec& o, const std::string& v) {
         if (v.empty()) return;
         o.source_date_epoch = parse_int(v);
         if (!o.source_date_epoch) fail(ErrorCode::kInvalid, "invalid SOURCE_DATE_EPOCH: {}", v);
       }},
      {"platform-split", "local tar",
       [](OutputSpec& o, const std::string& v) { o.platform_split = parse_bool("platform-split", v); }},
      {"mode", "local",
       [](OutputSpec& o, const std::string& v) {
         if (v != "copy" && v != "delete")
           fail(ErrorCode::kUsage, "invalid local exporter mode {}", quote(v));
         o.delete_others = v == "delete";
       }},
      {"store", "image", [](OutputSpec& o, const std::string& v) { o.is_stored = parse_bool("store", v); }},
      {"push", "image", [](OutputSpec& o, const std::string& v) { o.is_pushed = parse_bool("push", v); }},
      {"push-by-digest", "image",
       [](OutputSpec& o, const std::string& v) { o.by_digest = parse_bool("push-by-digest", v); }},
      {"registry.insecure", "image",
       [](OutputSpec& o, const std::string&) {
         o.remarks.push_back(
             "registry.insecure: daemon.json, registries.conf and hosts.toml say which registries are");
       }},
      {"unpack", "image",
       [](OutputSpec& o, const std::string& v) {
         if (parse_bool("unpack", v))
           o.remarks.push_back("unpack: images of the store run without unpacking");
       }},
      {"oci-artifact", "oci docker image",
       [](OutputSpec& o, const std::string&) {
         o.remarks.push_back("oci-artifact: there are no attestations");
       }},
      {"attestation-inline", "oci docker image",
       [](OutputSpec& o, const std::string&) {
         o.remarks.push_back("attestation-inline: there are no attestations");
       }},
      {"attestation-prefix", "local tar",
       [](OutputSpec& o, const std::string&) {
         o.remarks.push_back("attestation-prefix: there are no attestations");
       }},
      {"prefer-nondist-layers", "oci docker image",
       [](OutputSpec&, const std::string& v) {
         if (parse_bool("prefer-nondist-layers", v))
           refuse("prefer-nondist-layers", v, "all layers are written");
       }},
      {"dangling-name-prefix", "image",
       [](OutputSpec&, const std::string& v) { refuse("dangling-name-prefix", v, "give a name with -t"); }},
      {"danging-name-empty-only", "image",
       [](OutputSpec&, const std::string& v) {
         refuse("danging-name-empty-only", v, "give a name with -t");
       }},
      {"name-canonical", "image",
       [](OutputSpec&, const std::string& v) {
         if (parse_bool("name-canonical", v)) refuse("name-canonical", v, "name it by its id");
       }},
      {"context", "docker",
       [](OutputSpec&, const std::string& v) { refuse("context", v, "images go into Corten's own store"); }},
  };
  return list;
}

bool belongs_to(const Attribute& attribute, const std::string& type) {
  std::vector<std::string> types = split(attribute.types, ' ');
  return std::find(types.begin(), types.end(), type) != types.end();
}

void apply(OutputSpec& output, const std::string& name, const std::string& value) {
  if (auto rule = image::parse_annotation_attribute(name, value)) {
    if (!output.is_image())
      fail(ErrorCode::kUsage, "output attribute {}: type={} has no manifest", quote(name), output.type);
    output.annotations.push_back(std::move(*rule));
    return;
  }
  std::vector<std::string> known;
  for (const Attribute& attribute : attributes()) {
    known.emplace_back(attribute.name);
    if (attribute.name != name) continue;
    if (!belongs_to(attribute, output.type))
      fail(ErrorCode::kUsage, "output attribute {} does not belong to type={}", quote(name), output.type);
    attribute.apply(output, value);
    return;
  }
  fail(ErrorCode::kUnsupported, "output attribute {} is not known{}", quote(name), did_you_mean(name, known));
}

void check_type(const OutputSpec& output) {
  const std::vector<std::string> kTypes = {"oci", "docker", "local", "tar", "image", "registry", "cacheonly"};
  if (output.type.empty())
    throw Error(ErrorCode::kUsage, "type is required for output")
        .with_hint("for example --output type=oci,dest=image.tar");
  if (std::find(kTypes.begin(), kTypes.end(), output.type) == kTypes.end())
    fail(ErrorCode::kUsage, "unsupported output type {}{}", quote(output.type),
         did_you_mean(output.type, kTypes));
}

void check(const OutputSpec& output, bool has_dest) {
  if (output.docker_media_types && output.compression.kind == oci::LayerCompression::kZstd)
    fail(ErrorCode::kUsage, "exporter option \"compression=zstd\" conflicts with \"oci-mediatypes=false\"");
  if (output.type == "local" && (output.dest.empty() || output.dest == "-"))
    fail(ErrorCode::kUsage, "dest is required for local output");
  if (!output.as_tar && (output.dest.empty() || output.dest == "-"))
    throw Error(ErrorCode::kUsage, "dest is required for a layout directory").with_hint("tar=false,dest=DIR");
  if (has_dest && (output.type == "image" || output.type == "cacheonly"))
    throw Error(ErrorCode::kUsage,
                fmt::format("output type={} writes no file, dest has no meaning", output.type))
        .with_hint("type=oci,dest=FILE writes an archive");
}

}  // namespace

OutputSpec parse_output(std::string_view text) {
  OutputSpec output;
  if (text.find('=') == std::string_view::npos) {
    output.type = text == "-" ? "tar" : "local";
    output.dest = text;
    return output;
  }
  std::map<std::string, std::string> given = parse_attributes(text);
  output.type = given["type"];
  check_type(output);
  if (output.type == "registry") {
    output.type = "image";
    output.is_pushed = true;
  }
  bool has_dest = given.contains("dest");
  output.dest = given["dest"];
  std::string level = given.contains("compression-level") ? given["compression-level"] : "";
  for (const auto& [name, value] : given)
    if (name != "type" && name != "dest") apply(output, name, value);
  if (!level.empty()) output.compression.level = parse_level(level, output.compression.kind);
  // zstd's 0 is its default level.
  if (output.compression.kind == oci::LayerCompression::kZstd && output.compression.level == 0)
    output.compression.level.reset();
  if ((output.type == "oci" || output.type == "tar") && output.dest.empty() && output.as_tar)
    output.dest = "-";
  check(output, has_dest);
  return output;
}

image::Compression parse_forced_compression(const std::string& text) {
  image::Compression compression;
  compression.kind = parse_compression(text);
  compression.force = true;
  return compression;
}

}  // namespace corten::cli
