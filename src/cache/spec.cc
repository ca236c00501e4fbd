#include "cache/spec.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "dockerfile/mount.h"
#include "http/url.h"

namespace corten::cache {

namespace {

constexpr size_t kMaxTextBytes = 64 << 10;
constexpr size_t kMaxNames = 100;

enum class Way { kFrom, kTo };

std::string_view flag_of(Way way) {
  return way == Way::kFrom ? "--cache-from" : "--cache-to";
}

struct Field {
  std::string name, value;
  bool is_shown = true;  // no key stands before it
};

// What is being read: the attributes' functions write into `spec`.
struct Reading {
  Way way;
  std::string type;
  Spec spec;
  std::vector<std::string> remarks;
  std::optional<std::string> level;
  bool has_reference = false, has_max_bytes = false;
};

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorCode::kUsage, fmt::format(format, std::forward<Args>(args)...));
}

bool is_secret(std::string_view name) {
  return name == "access_key_id" || name == "secret_access_key" || name == "session_token" ||
         name == "token" || name == "ghtoken";
}

// Go's strconv.ParseBool.
bool parse_bool(std::string_view name, const std::string& value) {
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (value == yes) return true;
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (value == no) return false;
  refuse("cache attribute {}: {} is neither true nor false", name, quote(value));
}

oci::LayerCompression parse_compression(const std::string& value) {
  if (value == "gzip") return oci::LayerCompression::kGzip;
  if (value == "zstd") return oci::LayerCompression::kZstd;
  if (value == "uncompressed") return oci::LayerCompression::kNone;
  if (value == "estargz")
    throw Error(ErrorCode::kUnsupported, "cache attribute compression=estargz is not executed")
        .with_hint("compression=zstd is smaller and faster, and layers that no step needs are not fetched");
  refuse("cache attribute compression: {} is none of gzip, zstd, uncompressed", quote(value));
}

void apply_level(Reading& r) {
  if (!r.level) return;
  image::Compression& compression = r.spec.compression;
  if (compression.kind == oci::LayerCompression::kNone)
    refuse("compression-level has no meaning with compression=uncompressed");
  const int most = compression.kind == oci::LayerCompression::kZstd ? 22 : 9;
  auto level = parse_int(*r.level);
  if (!level || *level < 0 || *level > most)
    refuse("cache attribute compression-level: {} is not 0 to {}", quote(*r.level), most);
  // zstd's 0 is its default level.
  if (*level != 0 || compression.kind != oci::LayerCompression::kZstd)
    compression.level = static_cast<int>(*level);
}

void set_reference(Reading& r, const std::string& value) {
  auto reference = oci::Reference::try_parse(value);
  if (!reference) refuse("cache reference {}: invalid reference format", quote(value));
  if (r.way == Way::kTo && reference->digest())
    refuse("cache reference {}: a digest cannot be written to, give a tag", quote(value));
  r.spec.reference = reference->with_default_tag();
  r.has_reference = true;
}

void set_names(Reading& r, const std::string& value) {
  r.spec.s3.names.clear();
  for (const std::string& name : split(value, ';'))
    if (!name.empty()) r.spec.s3.names.push_back(name);
  if (r.spec.s3.names.empty() || r.spec.s3.names.size() > kMaxNames)
    refuse("cache attribute name: 1 to {} names, parted by ';'", kMaxNames);
}

void set_parallelism(Reading& r, const std::string& value) {
  auto number = parse_int(value);
  if (!number || *number < 1 || *number > 64)
    refuse("cache attribute upload_parallelism: {} is not 1 to 64", quote(value));
  r.spec.s3.upload_parallelism = static_cast<unsigned>(*number);
}

void set_max_size(Reading& r, const std::string& value) {
  auto bytes = parse_decimal_size(value);
  if (!bytes)
    throw Error(ErrorCode::kUsage, fmt::format("cache attribute max-size: {} is no size", quote(value)))
        .with_hint("for example max-size=10GB; 0 is no limit");
  r.spec.max_bytes = *bytes;
  r.has_max_bytes = true;
}

void set_timeout(Reading& r, const std::string& value) {
  auto ns = parse_duration(value);
  if (!ns || *ns < 1'000'000'000 || *ns > 86'400'000'000'000)
    throw Error(ErrorCode::kUsage,
                fmt::format("cache attribute timeout: {} is no duration of 1s to 24h", quote(value)))
        .with_hint("for example timeout=5m");
  r.spec.timeout_s = *ns / 1'000'000'000;
}

void set_mode(Reading& r, const std::string& value) {
  if (value != "min" && value != "max")
    refuse("cache attribute mode: {} is neither min nor max", quote(value));
  r.spec.is_max = value == "max";
}

void set_digest(Reading& r, const std::string& value) {
  r.spec.digest = Digest::try_parse(value);
  if (!r.spec.digest) refuse("cache attribute digest: {} is no sha256 digest", quote(value));
}

void set_tag(Reading& r, const std::string& value) {
  if (!oci::is_valid_tag(value)) refuse("cache attribute tag: {} is no tag", quote(value));
  r.spec.tag = value;
}

void set_endpoint(Reading& r, const std::string& value) {
  try {
    if (!http::parse_url(value).is_file()) {
      r.spec.s3.endpoint_url = value;
      return;
    }
  } catch (const Error&) {
    // It may hold a password: it is not shown.
  }
  refuse("cache attribute endpoint_url: it is no address that begins with https:// or http://");
}

using Apply = void (*)(Reading&, const std::string& value);

// Takes the value, which has no effect here, with a word about it.
template <const char* kRemark>
void remark(Reading& r, const std::string&) {
  r.remarks.emplace_back(kRemark);
}
template <bool Spec::*kMember, const char* kName>
void set_bool(Reading& r, const std::string& value) {
  r.spec.*kMember = parse_bool(kName, value);
}
template <std::string S3Spec::*kMember>
void set_s3(Reading& r, const std::string& value) {
  r.spec.s3.*kMember = value;
}

constexpr char kReset[] = "reset", kIgnoreError[] = "ignore-error", kMounts[] = "mounts";
constexpr char kInsecureRemark[] =
    "registry.insecure: daemon.json, registries.conf and hosts.toml say which registries are";
constexpr char kTouchRemark[] =
    "touch_refresh: blobs are not touched again; a lifecycle rule of the bucket should go by the manifest's "
    "age";
constexpr char kRetryRemark[] =
    "retry_mode, retry_max_attempts: Corten's own rules decide what is tried again";

struct Attribute {
  std::string_view name;
  std::string_view types;
  std::string_view ways;  // "from", "to", "from to"
  Apply apply;
};

constexpr Attribute kAttributes[] = {
    {"ref", "registry", "from to", set_reference},
    {"registry.insecure", "registry", "from to", remark<kInsecureRemark>},
    {"src", "local", "from", [](Reading& r, const std::string& v) { r.spec.directory = v; }},
    {"dest", "local", "to", [](Reading& r, const std::string& v) { r.spec.directory = v; }},
    {"tag", "local", "from to", set_tag},
    {"digest", "local", "from", set_digest},
    {"reset", "local", "to", set_bool<&Spec::is_reset, kReset>},
    {"bucket", "s3", "from to", set_s3<&S3Spec::bucket>},
    {"region", "s3", "from to", set_s3<&S3Spec::region>},
    {"endpoint_url", "s3", "from to", set_endpoint},
    {"use_path_style", "s3", "from to",
     [](Reading& r, const std::string& v) { r.spec.s3.use_path_style = parse_bool("use_path_style", v); }},
    {"access_key_id", "s3", "from to", set_s3<&S3Spec::access_key_id>},
    {"secret_access_key", "s3", "from to", set_s3<&S3Spec::secret_access_key>},
    {"session_token", "s3", "from to", set_s3<&S3Spec::session_token>},
    {"prefix", "s3", "from to", set_s3<&S3Spec::prefix>},
    {"blobs_prefix", "s3", "from to", set_s3<&S3Spec::blobs_prefix>},
    {"manifests_prefix", "s3", "from to", set_s3<&S3Spec::manifests_prefix>},
    {"name", "s3", "from to", set_names},
    {"upload_parallelism", "s3", "from to", set_parallelism},
    {"touch_refresh", "s3", "from to", remark<kTouchRemark>},
    {"retry_mode", "s3", "from to", remark<kRetryRemark>},
    {"retry_max_attempts", "s3", "from to", remark<kRetryRemark>},
    {"disable_accept_encoding", "s3", "from to", [](Reading&, const std::string&) {}},  // none is ever sent
    {"mode", "registry local inline s3", "to", set_mode},
    {"compression", "registry local inline s3", "to",
     [](Reading& r, const std::string& v) { r.spec.compression.kind = parse_compression(v); }},
    {"compression-level", "registry local inline s3", "to",
     [](Reading& r, const std::string& v) { r.level = v; }},  // needs the kind first
    {"force-compression", "registry local inline s3", "to",
     [](Reading& r, const std::string& v) { r.spec.compression.force = parse_bool("force-compression", v); }},
    {"ignore-error", "registry local inline s3", "to", set_bool<&Spec::ignores_errors, kIgnoreError>},
    {"oci-mediatypes", "registry local s3", "to",
     [](Reading& r, const std::string& v) {
       if (!parse_bool("oci-mediatypes", v))
         r.remarks.emplace_back("oci-mediatypes=false: a cache of Corten has OCI's media types");
     }},
    {"image-manifest", "registry local s3", "to",
     [](Reading& r, const std::string& v) {
       if (!parse_bool("image-manifest", v))
         r.remarks.emplace_back("image-manifest=false: a cache of Corten is always an image manifest");
     }},
    {"mounts", "registry local s3", "to", set_bool<&Spec::has_mounts, kMounts>},
    {"max-size", "registry local s3", "to", set_max_size},
    {"timeout", "registry local s3", "to", set_timeout},
};

bool has_word(std::string_view words, std::string_view word) {
  std::vector<std::string> list = split(words, ' ');
  return std::find(list.begin(), list.end(), word) != list.end();
}

void apply(Reading& r, const Field& field, size_t number) {
  const std::string_view way = r.way == Way::kFrom ? "from" : "to";
  std::vector<std::string> known = {"type"};
  for (const Attribute& attribute : kAttributes) {
    const bool fits = has_word(attribute.types, r.type) && has_word(attribute.ways, way);
    if (fits) known.emplace_back(attribute.name);
    if (attribute.name != field.name) continue;
    if (!fits) refuse("{} type={} has no attribute {}", flag_of(r.way), r.type, attribute.name);
    attribute.apply(r, field.value);
    return;
  }
  if (!field.is_shown)
    throw Error(ErrorCode::kUsage,
                fmt::format("{}: attribute number {} is not known", flag_of(r.way), number))
        .with_hint(
            "it is not shown, since it stands behind a key; a value with a comma needs quotes: \"k=a,b\"");
  refuse("{} type={}: attribute {} is not known{}", flag_of(r.way), r.type, quote(field.name),
         did_you_mean(field.name, known));
}

std::vector<Field> read_fields(const std::vector<std::string>& parts, Way way) {
  std::vector<Field> fields;
  bool is_shown = true;
  for (size_t i = 0; i < parts.size(); i++) {
    const size_t equals = parts[i].find('=');
    if (equals == std::string::npos)
      throw Error(ErrorCode::kUsage,
                  is_shown ? fmt::format("{}: {} is no key=value", flag_of(way), quote(parts[i]))
                           : fmt::format("{}: part number {} is no key=value", flag_of(way), i + 1))
          .with_hint("a reference stands alone, or as type=registry,ref=REFERENCE");
    Field field{to_lower(trim(std::string_view(parts[i]).substr(0, equals))), parts[i].substr(equals + 1),
                is_shown};
    is_shown = is_shown && !is_secret(field.name);
    fields.push_back(std::move(field));
  }
  return fields;
}

void check_local(const Reading& r) {
  if (!r.spec.directory.empty()) return;
  refuse("{} type=local needs {}=DIRECTORY", flag_of(r.way), r.way == Way::kFrom ? "src" : "dest");
}

void check_s3(Reading& r, const Variables& variables) {
  S3Spec& s3 = r.spec.s3;
  if (s3.bucket.empty()) s3.bucket = variables("AWS_BUCKET");
  if (s3.bucket.empty()) refuse("{} type=s3 needs bucket=NAME (or AWS_BUCKET)", flag_of(r.way));
  if (s3.access_key_id.empty() != s3.secret_access_key.empty())
    refuse("{} type=s3: access_key_id and secret_access_key belong together", flag_of(r.way));
  if (!s3.session_token.empty() && s3.access_key_id.empty())
    refuse("{} type=s3: session_token has no meaning without access_key_id", flag_of(r.way));
}

void check(Reading& r, const Variables& variables) {
  apply_level(r);
  switch (r.spec.type) {
    case Spec::Type::kRegistry:
      if (!r.has_reference) refuse("{} type=registry needs ref=REFERENCE", flag_of(r.way));
      break;
    case Spec::Type::kLocal:
      check_local(r);
      if (r.way == Way::kTo && !r.has_max_bytes) r.spec.max_bytes = kLocalMaxBytes;
      break;
    case Spec::Type::kS3:
      check_s3(r, variables);
      break;
    case Spec::Type::kInline:
      if (r.way == Way::kFrom)
        throw Error(ErrorCode::kUsage, "--cache-from type=inline: it lies in an image")
            .with_hint("--cache-from type=registry,ref=IMAGE reads it");
      if (r.spec.is_max)
        r.remarks.emplace_back("mode=max: an inline cache holds the steps of the image alone (mode=min)");
      r.spec.is_max = false;
      break;
  }
}

// GitHub's cache service speaks to its own actions; what the job offers is told by variables.
void leave_out_gha(Reading& r, const std::vector<Field>& fields, const Variables& variables) {
  constexpr const char* kHint =
      "type=registry,ref=ghcr.io/OWNER/REPOSITORY/cache:NAME is kept longer, and merges";
  bool is_offered = !variables("ACTIONS_RUNTIME_TOKEN").empty();
  for (const Field& field : fields) {
    is_offered = is_offered || field.name == "token";
    if (field.name == "ignore-error" && parse_bool(field.name, field.value)) r.spec.ignores_errors = true;
  }
  if (r.way == Way::kTo && is_offered && !r.spec.ignores_errors)
    throw Error(ErrorCode::kUnsupported, "--cache-to type=gha is not executed").with_hint(kHint);
  r.remarks.push_back(fmt::format("{} type=gha is left out: {}; {}", flag_of(r.way),
                                  is_offered ? "GitHub's cache service is not executed"
                                             : "this is no job of GitHub Actions (no ACTIONS_RUNTIME_TOKEN)",
                                  kHint));
}

Spec::Type type_of(const std::string& name, Way way) {
  if (name == "registry") return Spec::Type::kRegistry;
  if (name == "local") return Spec::Type::kLocal;
  if (name == "inline") return Spec::Type::kInline;
  if (name == "s3") return Spec::Type::kS3;
  if (name == "azblob")
    throw Error(ErrorCode::kUnsupported, fmt::format("{} type=azblob is not executed", flag_of(way)))
        .with_hint("an Azure registry holds caches too: type=registry,ref=NAME.azurecr.io/cache:TAG");
  const std::vector<std::string> known = {"registry", "local", "inline", "s3", "gha", "azblob"};
  if (name.empty())
    throw Error(ErrorCode::kUsage, fmt::format("{} needs a type", flag_of(way)))
        .with_hint("for example type=registry,ref=example.com/app:cache, or type=local");
  refuse("{} type={}: it is one of registry, local, inline, s3{}", flag_of(way), quote(name),
         did_you_mean(name, known));
}

void check_text(std::string_view text, Way way) {
  if (trim(text).empty()) refuse("{}: the value is empty", flag_of(way));
  if (text.size() > kMaxTextBytes) refuse("{}: more than {} bytes", flag_of(way), kMaxTextBytes);
  if (!is_valid_utf8(text)) refuse("{}: not UTF-8", flag_of(way));
  for (unsigned char c : text)
    if (c < 0x20 || c == 0x7F) refuse("{}: control characters in the value", flag_of(way));
}

std::vector<std::string> split_text(std::string_view text, Way way) {
  try {
    return dockerfile::split_csv(text);
  } catch (const Error& error) {
    refuse("{}: {}", flag_of(way), error.message());
  }
}

ParsedSpec parse(std::string_view text, Way way, const Variables& variables) {
  check_text(text, way);
  Reading r{.way = way, .type = "registry"};
  const std::vector<std::string> parts = split_text(text, way);
  if (parts.size() == 1 && parts[0].find('=') == std::string::npos) {
    set_reference(r, parts[0]);
    return {std::move(r.spec), {}};
  }
  const std::vector<Field> fields = read_fields(parts, way);
  r.type.clear();
  for (const Field& field : fields)
    if (field.name == "type") r.type = field.value;
  if (r.type == "gha") {
    leave_out_gha(r, fields, variables);
    return {std::nullopt, std::move(r.remarks)};
  }
  r.spec.type = type_of(r.type, way);
  for (size_t i = 0; i < fields.size(); i++)
    if (fields[i].name != "type") apply(r, fields[i], i + 1);
  check(r, variables);
  return {std::move(r.spec), std::move(r.remarks)};
}

}  // namespace

// Two that differ have two names: what is told of them is told by name.
std::string S3Spec::name() const {
  std::string text;
  if (!endpoint_url.empty()) text = http::parse_url(endpoint_url).authority() + "/";
  text += bucket;
  if (!prefix.empty()) text += "/" + prefix;
  if (names != S3Spec().names) text += ":" + join(names, ";");
  return text;
}

std::string Spec::name() const {
  switch (type) {
    case Type::kRegistry:
      return "registry " + reference.to_string();
    case Type::kLocal:
      if (digest) return "local " + directory + "@" + digest->to_string();
      return "local " + directory + (tag == "latest" ? "" : ":" + tag);
    case Type::kS3:
      return "s3 " + s3.name();
    case Type::kInline:
      break;
  }
  return "inline";
}

ParsedSpec parse_cache_from(std::string_view text, const Variables& variables) {
  return parse(text, Way::kFrom, variables);
}

ParsedSpec parse_cache_to(std::string_view text, const Variables& variables) {
  return parse(text, Way::kTo, variables);
}

}  // namespace corten::cache
