#include <stdio.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_template.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "container/commands.h"
#include "image/layer_blobs.h"
#include "oci/config.h"
#include "report/table.h"

namespace corten::cli {

namespace {

void check_format(const std::string& format) {
  if (!format.empty() && format != "table" && format != "json")
    throw Error(ErrorCode::kUnsupported, fmt::format("--format {} is not executed yet", quote(format)))
        .with_hint("it is table or json");
}

std::string age_of(std::string_view created) {
  auto time = parse_rfc3339(created);
  return time ? report::age_text(SystemClock().now_s() - *time) : "N/A";
}

// Sum of the compressed layers, when all are known.
std::optional<uint64_t> compressed_size(const store::Image& image, store::Store& store) {
  uint64_t sum = 0;
  for (const store::LayerRef& layer : image.layers) {
    auto diff = store.layers().find_diff(layer);
    if (!diff) return std::nullopt;
    auto blob = store.layers().find_blob(diff->diff_id, "gz1");
    if (!blob) blob = store.layers().find_blob(diff->diff_id, "as-pulled");
    if (!blob) return std::nullopt;
    sum += blob->size;
  }
  return sum;
}

struct Row {
  std::string repository, tag;
  const store::Image* image;
};

std::vector<Row> rows_of(const std::vector<store::Image>& images, const std::string& wanted) {
  std::vector<Row> rows;
  for (const store::Image& image : images) {
    if (image.tags.empty() && wanted.empty()) rows.push_back({"<none>", "<none>", &image});
    for (const std::string& tag : image.tags) {
      oci::Reference reference = oci::Reference::parse(tag);
      std::string repository = reference.repository_only().familiar();
      if (!wanted.empty()) {
        oci::Reference filter = oci::Reference::parse(wanted);
        if (filter.name() != reference.name() || (!filter.tag().empty() && filter.tag() != reference.tag()))
          continue;
      }
      rows.push_back({repository, reference.tag(), &image});
    }
  }
  return rows;
}

}  // namespace

int command_images(const Arguments& arguments) {
  CLI::App app("List the images of the store.", "images");
  std::string wanted, format;
  bool quiet = false, ignored = false, no_trunc = false;
  app.add_option("repository", wanted, "REPOSITORY[:TAG]: only these");
  app.add_option("--format", format, "table or json (one object a line)");
  app.add_flag("-q,--quiet", quiet, "ids alone");
  app.add_flag("--digests,-a,--all", ignored, "")->group("");
  app.add_flag("--no-trunc", no_trunc, "whole ids");
  parse_flags(app, arguments);
  check_format(format);
  Session session = Session::open({.needs_bodies = false});
  std::vector<store::Image> images = session.store().images();
  std::vector<Row> rows = rows_of(images, wanted);
  report::Table table({"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "COMPRESSED"});
  for (const Row& row : rows) {
    oci::ImageConfig config = oci::parse_config(row.image->config).config;
    auto compressed = compressed_size(*row.image, session.store());
    std::string id = no_trunc ? row.image->id.to_string() : row.image->id.short_hex();
    if (quiet) {
      printf("%s\n", id.c_str());
    } else if (format == "json") {
      Json json = Json::object({{"Repository", row.repository},
                                {"Tag", row.tag},
                                {"ID", row.image->id.to_string()},
                                {"CreatedAt", config.created},
                                {"CreatedSince", age_of(config.created)},
                                {"Size", human_size(row.image->size)},
                                {"SizeBytes", row.image->size}});
      if (compressed) json.set("CompressedBytes", *compressed);
      printf("%s\n", json.dump().c_str());
    } else {
      table.add({row.repository, row.tag, id, age_of(config.created), human_size(row.image->size),
                 compressed ? human_size(*compressed) : "-"});
    }
  }
  if (!quiet && format != "json") fputs(table.text().c_str(), stdout);
  return 0;
}

Json inspect_image(const store::Image& image, store::Store& store) {
  oci::ImageConfig config = oci::parse_config(image.config).config;
  Json raw = Json::parse(image.config);
  Json json = Json::object({{"Id", image.id.to_string()}});
  Json tags = Json::array(), layers = Json::array();
  for (const std::string& tag : image.tags) tags.push_back(short_name(tag));
  json.set("RepoTags", tags);
  json.set("Created", config.created);
  json.set("Author", config.author);
  json.set("Architecture", config.platform.architecture);
  if (!config.platform.variant.empty()) json.set("Variant", config.platform.variant);
  json.set("Os", config.platform.os);
  json.set("Size", image.size);
  if (auto compressed = compressed_size(image, store)) json.set("CompressedSize", *compressed);
  if (const Json* run = raw.find("config")) json.set("Config", *run);
  for (const DiffId& diff_id : config.diff_ids) layers.push_back(diff_id.digest.to_string());
  json.set("RootFS", Json::object({{"Type", "layers"}, {"Layers", layers}}));
  return json;
}

// A container of that name goes before an image, as with Docker.
static Json inspect_any(const std::string& name, const std::string& type, Session& session) {
  if (type != "image") {
    try {
      return container::inspect_container(container::Container::find(name, session.store()), session.store());
    } catch (const Error& error) {
      if (type == "container" || error.code() != ErrorCode::kNotFound) throw;
    }
  }
  return inspect_image(session.image(name), session.store());
}

int command_inspect(const Arguments& arguments) {
  CLI::App app("Show images or containers as JSON, in Docker's form.", "inspect");
  std::vector<std::string> names;
  std::string format, type;
  app.add_option("names", names, "names or ids")->required();
  app.add_option("--format,-f", format, "json (one object a line), or a template: '{{.State.Status}}'");
  app.add_option("--type", type, "image or container");
  parse_flags(app, arguments);
  if (!type.empty() && type != "image" && type != "container")
    throw Error(ErrorCode::kUsage, fmt::format("unknown type {}", quote(type)))
        .with_hint("image or container");
  Session session = Session::open({.needs_bodies = false});
  Json list = Json::array();
  for (const std::string& name : names) list.push_back(inspect_any(name, type, session));
  if (!format.empty()) {
    for (const Json& one : list.as_array())
      printf("%s\n", (format == "json" ? one.dump() : expand_template(format, one)).c_str());
    return 0;
  }
  printf("%s\n", list.dump({.indent = 4}).c_str());
  return 0;
}

int command_history(const Arguments& arguments) {
  CLI::App app("Show the layers of an image, the newest first, with their sizes.", "history");
  std::string name, format;
  bool no_trunc = false, quiet = false, human = true;
  app.add_option("image", name, "name or id")->required();
  app.add_option("--format", format, "table or json (one object a line)");
  app.add_flag("--no-trunc", no_trunc, "whole instructions");
  app.add_flag("-q,--quiet", quiet, "ids alone");
  app.add_flag("-H,--human", human, "")->group("");
  parse_flags(app, arguments);
  check_format(format);
  Session session = Session::open({.needs_bodies = false});
  store::Image image = session.image(name);
  oci::ImageConfig config = oci::parse_config(image.config).config;
  report::Table table({"IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"});
  size_t layer = 0;
  std::vector<std::pair<const oci::History*, uint64_t>> entries;
  for (const oci::History& entry : config.history) {
    uint64_t size = 0;
    if (!entry.empty_layer && layer < image.layers.size())
      size = session.store().layers().load(image.layers[layer++].id)->content_bytes();
    entries.emplace_back(&entry, size);
  }
  std::reverse(entries.begin(), entries.end());
  for (size_t i = 0; i < entries.size(); i++) {
    const auto& [entry, size] = entries[i];
    std::string id = i == 0 ? image.id.short_hex() : "<missing>";
    std::string text = replace_all(entry->created_by, "\n", " ");
    if (!no_trunc && text.size() > 45) text = text.substr(0, 44) + "…";
    if (quiet) {
      printf("%s\n", id.c_str());
    } else if (format == "json") {
      Json json = Json::object({{"ID", id},
                                {"CreatedAt", entry->created},
                                {"CreatedSince", age_of(entry->created)},
                                {"CreatedBy", entry->created_by},
                                {"Size", human_size(size)},
                                {"SizeBytes", size},
                                {"Comment", entry->comment}});
      printf("%s\n", json.dump().c_str());
    } else {
      table.add({id, age_of(entry->created), text, human_size(size), entry->comment});
    }
  }
  if (!quiet && format != "json") fputs(table.text().c_str(), stdout);
  return 0;
}

int command_tag(const Arguments& arguments) {
  CLI::App app("Give an image another name.", "tag");
  std::string source, target;
  app.add_option("source", source, "name or id")->required();
  app.add_option("target", target, "NAME[:TAG]")->required();
  parse_flags(app, arguments);
  std::string name = full_name(target);
  Session session = Session::open({.needs_bodies = false});
  session.store().tag_image(session.image(source).id, name);
  return 0;
}

int command_rmi(const Arguments& arguments) {
  CLI::App app("Remove images: names go first, an image with its last name.", "rmi");
  std::vector<std::string> names;
  bool force = false;
  app.add_option("images", names, "names or ids")->required();
  app.add_flag("-f,--force", force, "also when it has several names, or is not there");
  parse_flags(app, arguments);
  Session session = Session::open({.needs_bodies = false});
  for (const std::string& name : names) {
    std::optional<store::Image> found;
    try {
      found = session.image(name);
    } catch (const Error& error) {
      if (!force || error.code() != ErrorCode::kNotFound) throw;
      continue;
    }
    const store::Image& image = *found;
    auto reference = oci::Reference::try_parse(name);
    std::string full = reference ? reference->with_default_tag().to_string() : "";
    bool by_name = std::find(image.tags.begin(), image.tags.end(), full) != image.tags.end();
    std::vector<Digest> in_use = container::images_in_use(session.store());
    bool is_last = image.tags.size() <= 1 || !by_name;
    if (is_last && std::find(in_use.begin(), in_use.end(), image.id) != in_use.end())
      throw Error(ErrorCode::kInvalid, fmt::format("image {} is used by a container", image.id.short_hex()))
          .with_hint("'corten ps -a' shows which; 'corten rm' removes it");
    if (by_name) {
      session.store().untag(full);
      printf("Untagged: %s\n", short_name(full).c_str());
      if (image.tags.size() > 1) continue;
    } else if (image.tags.size() > 1 && !force) {
      throw Error(ErrorCode::kInvalid,
                  fmt::format("image {} has {} names", image.id.short_hex(), image.tags.size()))
          .with_hint("remove it with --force, or its names one by one");
    }
    session.store().delete_image(image.id);
    printf("Deleted: %s\n", image.id.to_string().c_str());
  }
  return 0;
}

}  // namespace corten::cli
