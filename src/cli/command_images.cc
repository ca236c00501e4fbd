#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

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
  Digest id;
  std::vector<const store::Image*> images;  // several: an index
};

void add_rows(std::vector<Row>& rows, const std::vector<std::string>& tags, Row row,
              const std::string& wanted) {
  if (tags.empty() && wanted.empty()) {
    row.repository = row.tag = "<none>";
    rows.push_back(row);
  }
  for (const std::string& tag : tags) {
    oci::Reference reference = oci::Reference::parse(tag);
    if (!wanted.empty()) {
      oci::Reference filter = oci::Reference::parse(wanted);
      if (filter.name() != reference.name() || (!filter.tag().empty() && filter.tag() != reference.tag()))
        continue;
    }
    row.repository = reference.repository_only().familiar();
    row.tag = reference.tag();
    rows.push_back(row);
  }
}

// Indexes first; an image that has no name and stands in an index is told there.
std::vector<Row> rows_of(const std::vector<store::Image>& images,
                         const std::vector<store::ImageIndex>& indexes, const std::string& wanted) {
  std::vector<Row> rows;
  std::map<Digest, const store::Image*> by_id;
  for (const store::Image& image : images) by_id[image.id] = &image;
  std::set<Digest> told;
  for (const store::ImageIndex& index : indexes) {
    Row row{"", "", index.id, {}};
    for (const store::ImageIndex::Member& member : index.members) {
      told.insert(member.image);
      if (auto image = by_id.find(member.image); image != by_id.end()) row.images.push_back(image->second);
    }
    if (!row.images.empty()) add_rows(rows, index.tags, std::move(row), wanted);
  }
  for (const store::Image& image : images)
    if (!image.tags.empty() || !told.contains(image.id))
      add_rows(rows, image.tags, {"", "", image.id, {&image}}, wanted);
  return rows;
}

// Of all platforms together.
struct Totals {
  std::string created;
  uint64_t size = 0;
  std::optional<uint64_t> compressed = 0;
  std::vector<std::string> platforms;
};
Totals totals_of(const Row& row, store::Store& store) {
  Totals totals;
  for (const store::Image* image : row.images) {
    oci::ImageConfig config = oci::parse_config(image->config).config;
    totals.created = std::max(totals.created, config.created);
    totals.size += image->size;
    auto compressed = compressed_size(*image, store);
    totals.compressed =
        compressed && totals.compressed ? std::optional(*totals.compressed + *compressed) : std::nullopt;
    totals.platforms.push_back(config.platform.format());
  }
  return totals;
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
  std::vector<Row> rows = rows_of(images, session.store().indexes(), wanted);
  report::Table table({"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "COMPRESSED", "PLATFORM"});
  for (const Row& row : rows) {
    std::string id = no_trunc ? row.id.to_string() : row.id.short_hex();
    if (quiet) {
      printf("%s\n", id.c_str());
      continue;
    }
    Totals totals = totals_of(row, session.store());
    if (format == "json") {
      Json json = Json::object({{"Repository", row.repository},
                                {"Tag", row.tag},
                                {"ID", row.id.to_string()},
                                {"CreatedAt", totals.created},
                                {"CreatedSince", age_of(totals.created)},
                                {"Size", human_size(totals.size)},
                                {"SizeBytes", totals.size},
                                {"Platforms", Json(totals.platforms)}});
      if (totals.compressed) json.set("CompressedBytes", *totals.compressed);
      printf("%s\n", json.dump().c_str());
    } else {
      table.add({row.repository, row.tag, id, age_of(totals.created), human_size(totals.size),
                 totals.compressed ? human_size(*totals.compressed) : "-",
                 printable(join(totals.platforms, ", "))});
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

// Of an index the image for this machine (else its first) with what else there is.
static Json inspect_named(const std::string& name, const std::string& platform, Session& session) {
  auto index = session.index(name);
  if (!index) return inspect_image(session.image(name, platform), session.store());
  const store::ImageIndex::Member* chosen =
      index->choose(platform.empty() ? oci::host_platform() : oci::parse_platform(platform).normalized());
  if (!chosen && platform.empty()) chosen = &index->members.at(0);
  store::Image image = chosen ? session.image(chosen->image.to_string()) : session.image(name, platform);
  image.tags = index->tags;
  Json json = inspect_image(image, session.store());
  Json members = Json::array();
  for (const store::ImageIndex::Member& member : index->members)
    members.push_back(Json::object(
        {{"Platform", oci::platform_to_json(member.platform)}, {"Id", member.image.to_string()}}));
  json.set("Index", Json::object({{"Id", index->id.to_string()}, {"Images", members}}));
  return json;
}

// A container of that name goes before an image, as with Docker.
static Json inspect_any(const std::string& name, const std::string& type, const std::string& platform,
                        Session& session) {
  if (type != "image") {
    try {
      return container::inspect_container(container::Container::find(name, session.store()), session.store());
    } catch (const Error& error) {
      if (type == "container" || error.code() != ErrorCode::kNotFound) throw;
    }
  }
  return inspect_named(name, platform, session);
}

int command_inspect(const Arguments& arguments) {
  CLI::App app("Show images or containers as JSON, in Docker's form.", "inspect");
  std::vector<std::string> names;
  std::string format, type, platform;
  app.add_option("names", names, "names or ids")->required();
  app.add_option("--format,-f", format, "json (one object a line), or a template: '{{.State.Status}}'");
  app.add_option("--type", type, "image or container");
  app.add_option("--platform", platform, "which image of an index (this machine's)");
  parse_flags(app, arguments);
  if (!type.empty() && type != "image" && type != "container")
    throw Error(ErrorCode::kUsage, fmt::format("unknown type {}", quote(type)))
        .with_hint("image or container");
  Session session = Session::open({.needs_bodies = false});
  Json list = Json::array();
  for (const std::string& name : names) list.push_back(inspect_any(name, type, platform, session));
  if (!format.empty()) {
    for (const Json& one : list.as_array()) {
      std::string text = format == "json" ? one.dump() : expand_template(format, one);
      // Scripts get what the image says; a terminal gets what can be shown.
      printf("%s\n", (isatty(1) ? printable(text) : text).c_str());
    }
    return 0;
  }
  printf("%s\n", list.dump({.indent = 4}).c_str());
  return 0;
}

int command_history(const Arguments& arguments) {
  CLI::App app("Show the layers of an image, the newest first, with their sizes.", "history");
  std::string name, format, platform;
  bool no_trunc = false, quiet = false, human = true;
  app.add_option("image", name, "name or id")->required();
  app.add_option("--platform", platform, "which image of an index (this machine's)");
  app.add_option("--format", format, "table or json (one object a line)");
  app.add_flag("--no-trunc", no_trunc, "whole instructions");
  app.add_flag("-q,--quiet", quiet, "ids alone");
  app.add_flag("-H,--human", human, "")->group("");
  parse_flags(app, arguments);
  check_format(format);
  Session session = Session::open({.needs_bodies = false});
  store::Image image = session.image(name, platform);
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
  auto index = session.index(source);
  session.store().tag_image(index ? index->id : session.image(source).id, name);
  return 0;
}

namespace {

// What an image or an index has to do with being removed.
struct Removable {
  Digest id;
  std::vector<std::string> tags;
  std::vector<Digest> images;
  bool is_index = false;
};

Removable find_removable(const std::string& name, Session& session) {
  if (auto index = session.index(name)) {
    Removable found{index->id, index->tags, {}, true};
    for (const store::ImageIndex::Member& member : index->members) found.images.push_back(member.image);
    return found;
  }
  store::Image image = session.image(name);
  return {image.id, image.tags, {image.id}, false};
}

// Images of an index that has gone go too, unless something else holds them.
void remove_members(const Removable& index, const std::vector<Digest>& in_use, store::Store& store) {
  std::set<Digest> held(in_use.begin(), in_use.end());
  for (const store::ImageIndex& other : store.indexes())
    for (const store::ImageIndex::Member& member : other.members) held.insert(member.image);
  for (const Digest& id : index.images) {
    auto image = store.image_by_id(id);
    if (!image || !image->tags.empty() || held.contains(id)) continue;
    store.delete_image(id);
    printf("Deleted: %s\n", id.to_string().c_str());
  }
}

// An index that the image is a member of.
std::optional<store::ImageIndex> index_above(const Digest& image, store::Store& store) {
  for (store::ImageIndex& index : store.indexes())
    for (const store::ImageIndex::Member& member : index.members)
      if (member.image == image) return std::move(index);
  return std::nullopt;
}

}  // namespace

int command_rmi(const Arguments& arguments) {
  CLI::App app("Remove images: names go first, an image with its last name.", "rmi");
  std::vector<std::string> names;
  bool force = false;
  app.add_option("images", names, "names or ids")->required();
  app.add_flag("-f,--force", force, "also when it has several names, or is not there");
  parse_flags(app, arguments);
  Session session = Session::open({.needs_bodies = false});
  for (const std::string& name : names) {
    std::optional<Removable> found;
    try {
      found = find_removable(name, session);
    } catch (const Error& error) {
      if (!force || error.code() != ErrorCode::kNotFound) throw;
      continue;
    }
    const Removable& image = *found;
    std::string full = session.stored_name(name);
    bool by_name = std::find(image.tags.begin(), image.tags.end(), full) != image.tags.end();
    std::vector<Digest> in_use = container::images_in_use(session.store());
    bool is_last = image.tags.size() <= 1 || !by_name;
    auto is_in_use = [&](const Digest& id) {
      return std::find(in_use.begin(), in_use.end(), id) != in_use.end();
    };
    if (is_last && std::any_of(image.images.begin(), image.images.end(), is_in_use))
      throw Error(ErrorCode::kInvalid, fmt::format("image {} is used by a container", image.id.short_hex()))
          .with_hint("'corten ps -a' shows which; 'corten rm' removes it");
    const std::optional<store::ImageIndex> above =
        image.is_index ? std::nullopt : index_above(image.id, session.store());
    if (by_name) {
      session.store().untag(full);
      printf("Untagged: %s\n", short_name(full).c_str());
      if (image.tags.size() > 1 || above) continue;
    } else if (image.tags.size() > 1 && !force) {
      throw Error(ErrorCode::kInvalid,
                  fmt::format("image {} has {} names", image.id.short_hex(), image.tags.size()))
          .with_hint("remove it with --force, or its names one by one");
    }
    if (above)
      throw Error(ErrorCode::kInvalid, fmt::format("image {} belongs to the index {}", image.id.short_hex(),
                                                   above->id.short_hex()))
          .with_hint("remove the index: corten rmi " +
                     (above->tags.empty() ? above->id.short_hex() : short_name(above->tags.front())));
    if (image.is_index)
      session.store().delete_index(image.id);
    else
      session.store().delete_image(image.id);
    printf("Deleted: %s\n", image.id.to_string().c_str());
    if (image.is_index) remove_members(image, in_use, session.store());
  }
  return 0;
}

}  // namespace corten::cli
