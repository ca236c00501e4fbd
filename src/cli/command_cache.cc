// What the store remembers: prune, du, cache.
#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "cli/cache_records.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "container/commands.h"
#include "report/table.h"

namespace corten::cli {

namespace {

using store::CacheRecord;

// Those that run are killed first: nothing of a store that is gone may go on.
void remove_containers(Session& session) {
  container::RemoveOptions options{.containers = {}, .force = true};
  for (const container::Container& container : container::Container::list(session.store()))
    options.containers.push_back(container.spec().id);
  auto silent = [](std::string_view) {};
  container::Context context{session.store(), session.clock(), silent, silent,
                             [&] { return session.entered(); }};
  if (!options.containers.empty()) container::rm_command(options, context);
}

int remove_everything(Session& session, bool force) {
  std::string path = session.store().path();
  if (!force && isatty(0)) {
    fprintf(stderr, "This removes the whole store %s: images, cache, containers. Go on? [y/N] ",
            path.c_str());
    int answer = getchar();
    if (answer != 'y' && answer != 'Y') return 1;
  }
  remove_containers(session);
  session.store().destroy();
  printf("Removed %s\n", path.c_str());
  return 0;
}

struct PruneFlags {
  bool all = false, cache = false, cache_only = false, everything = false, force = false, verbose = false,
       dry_run = false;
  std::vector<std::string> filters;
  std::string reserved, max_used, min_free;
};

uint64_t size_of(const std::string& text, std::string_view name) {
  if (text.empty()) return 0;
  auto bytes = parse_decimal_size(text);
  if (!bytes) fail(ErrorCode::kUsage, "{} {}: not a size", name, quote(text));
  return *bytes;
}

store::Store::PruneOptions prune_options(const PruneFlags& flags, Session& session) {
  int64_t now = session.clock().now_s();
  store::Store::PruneOptions options;
  options.in_use = container::images_in_use(session.store());
  store::CollectOptions& collect = options.collect;
  collect.only_plan = flags.dry_run;
  collect.max_bytes = size_of(flags.max_used, "--max-used-space");
  collect.min_free_bytes = size_of(flags.min_free, "--min-free-space");
  collect.reserved_bytes = size_of(flags.reserved, "--reserved-space");
  bool is_chosen =
      !flags.filters.empty() || collect.max_bytes || collect.min_free_bytes || collect.reserved_bytes;
  // Without limits all that may go; --reserved-space alone is docker's --keep-storage: down to that.
  collect.all = !collect.max_bytes && !collect.min_free_bytes && !collect.reserved_bytes;
  if (!collect.max_bytes && !collect.min_free_bytes) collect.max_bytes = collect.reserved_bytes;
  if (flags.cache || flags.cache_only || is_chosen) {
    auto matches = parse_cache_filters(flags.filters, now);
    collect.may_go = [matches, is_cache_only = flags.cache_only](const CacheRecord& record) {
      return !(is_cache_only && record.kind == CacheRecord::Kind::kImage) && matches(record);
    };
  }
  // Images with names are chosen by --all, and by time if it is given; the other words are about the cache.
  options.images = !flags.cache_only && !is_chosen;
  options.all_images = flags.all && options.images;
  options.lists = (flags.cache || flags.cache_only) && !is_chosen;
  if (flags.all && is_chosen && !flags.cache_only && !has_other_filters(flags.filters) && collect.all) {
    int64_t before = until_of(flags.filters, now);
    for (const store::Image& image : session.store().images())
      if (image.added <= before &&
          std::find(options.in_use.begin(), options.in_use.end(), image.id) == options.in_use.end())
        collect.images.insert(image.id);
  }
  return options;
}

void print_records(const std::vector<CacheRecord>& records, bool verbose, bool is_json, int64_t now) {
  if (is_json) {
    for (const CacheRecord& record : records) printf("%s\n", record_json(record).dump().c_str());
    return;
  }
  fputs((verbose ? record_blocks(records, now) : record_table(records, now)).c_str(), stdout);
}

// By id or the beginning of one, or by the name of a cache mount (whose owner and mode stand behind it).
std::vector<CacheRecord> chosen(const std::vector<CacheRecord>& all, const std::vector<std::string>& names) {
  std::vector<CacheRecord> found;
  for (const std::string& name : names) {
    std::vector<CacheRecord> matches;
    for (const CacheRecord& record : all)
      if (record.id == name || (record.kind == CacheRecord::Kind::kMount &&
                                (record.description == name || record.description.starts_with(name + " "))))
        matches.push_back(record);
    if (matches.empty() && name.size() >= 3)
      for (const CacheRecord& record : all)
        if (record.id.starts_with(name)) matches.push_back(record);
    if (matches.empty())
      throw Error(ErrorCode::kNotFound, fmt::format("no such cache record: {}", name))
          .with_hint("'corten cache ls --all' lists them");
    if (matches.size() > 1)
      fail(ErrorCode::kInvalid, "{}: the ids of {} cache records begin so", name, matches.size());
    found.push_back(matches.front());
  }
  return found;
}

int list_cache(const Arguments& arguments) {
  CLI::App app("List cache mounts.", "cache ls");
  bool all = false, quiet = false, verbose = false;
  std::string format;
  std::vector<std::string> filters;
  app.add_flag("-a,--all", all,
               "all records: the memory of steps, directories, blobs, repositories, images without a name");
  app.add_option("--filter", filters,
                 "until=24h, type=TYPE, id=ID, description~=TEXT, inuse, shared, private")
      ->allow_extra_args(false);
  app.add_option("--format", format, "table or json (one object a line)");
  app.add_flag("-q,--quiet", quiet, "ids alone");
  app.add_flag("-v,--verbose", verbose, "all that is known of each");
  parse_flags(app, arguments);
  Session session = Session::open();
  int64_t now = session.clock().now_s();
  auto matches = parse_cache_filters(filters, now);
  std::vector<CacheRecord> records = store::Collector(session.store()).records();
  std::erase_if(records, [&](const CacheRecord& r) {
    return (!all && r.kind != CacheRecord::Kind::kMount) || !matches(r);
  });
  std::reverse(records.begin(), records.end());  // the last used first
  if (quiet) {
    for (const CacheRecord& r : records) printf("%s\n", r.id.c_str());
    return 0;
  }
  if (all || verbose || format == "json") {
    print_records(records, verbose, format == "json", now);
    return 0;
  }
  report::Table table({"ID", "NAME", "SHARING", "OWNER", "SIZE", "LAST USED", "IN USE"});
  for (const CacheRecord& r : records)
    table.add({r.id.substr(0, 12), r.description, r.sharing, r.owner, human_size(r.bytes),
               report::age_text(std::max<int64_t>(0, now - r.used)), r.in_use ? "yes" : "no"});
  fputs(table.text().c_str(), stdout);
  return 0;
}

int show_cache(const Arguments& arguments) {
  CLI::App app("Show all that is known of records of the cache.", "cache show");
  std::vector<std::string> names;
  std::string format;
  app.add_option("id", names, "id, or the name of a cache mount")->required();
  app.add_option("--format", format, "text or json (one object a line)");
  parse_flags(app, arguments);
  Session session = Session::open();
  std::vector<CacheRecord> records = chosen(store::Collector(session.store()).records(), names);
  print_records(records, true, format == "json", session.clock().now_s());
  return 0;
}

int remove_cache(const Arguments& arguments) {
  CLI::App app("Remove records of the cache.", "cache rm");
  std::vector<std::string> names;
  app.add_option("id", names, "id, or the name of a cache mount")->required();
  parse_flags(app, arguments);
  Session session = Session::open();
  std::vector<CacheRecord> records = chosen(store::Collector(session.store()).records(), names);
  std::set<std::pair<CacheRecord::Kind, std::string>> wanted;
  for (const CacheRecord& record : records) wanted.emplace(record.kind, record.id);
  store::CollectOptions options;
  options.all = true;
  options.may_go = [&](const CacheRecord& record) { return wanted.contains({record.kind, record.id}); };
  store::Collected collected = store::Collector(session.store()).collect(options);
  for (const CacheRecord& record : collected.records) {
    printf("Deleted: %s\n", printable(record.id).c_str());
    wanted.erase({record.kind, record.id});
  }
  printf("Total reclaimed space: %s\n", human_size(collected.bytes).c_str());
  if (!wanted.empty())
    throw Error(ErrorCode::kExists, fmt::format("{}: in use", wanted.begin()->second))
        .with_hint("a running build or a container needs it");
  return 0;
}

}  // namespace

int command_prune(const Arguments& arguments) {
  CLI::App app("Remove images without a name, and what nothing needs.", "prune");
  PruneFlags flags;
  app.add_flag("-a,--all", flags.all, "also images with a name that no container uses");
  app.add_flag("--cache", flags.cache, "also the memory of steps, and cache mounts");
  app.add_option(
         "--filter", flags.filters,
         "of the cache only what matches: until=24h (not used since), type=TYPE, id=ID, parents=LAYER, "
         "description~=TEXT, inuse, shared, private; repeatable")
      ->allow_extra_args(false);
  app.add_option("--max-used-space", flags.max_used,
                 "of the cache only what was unused longest, until the store takes no more");
  app.add_option("--min-free-space", flags.min_free, "the same, until so much of its disk is free");
  app.add_option("--reserved-space,--keep-storage", flags.reserved, "always keep so much");
  app.add_flag("--dry-run", flags.dry_run, "say what would go");
  app.add_flag("-v,--verbose", flags.verbose, "name every record that goes");
  app.add_flag("--everything", flags.everything, "the whole store, with all that is in it");
  app.add_flag("-f,--force", flags.force, "do not ask");
  app.add_flag("--cache-only", flags.cache_only, "")->group("");
  parse_flags(app, arguments);
  Session session = Session::open();
  if (flags.everything) return remove_everything(session, flags.force);
  store::Store::Pruned pruned = session.store().prune(prune_options(flags, session));
  const char* word = flags.dry_run ? "Would delete" : "Deleted";
  for (const std::string& name : pruned.deleted) printf("%s: %s\n", word, printable(name).c_str());
  if (flags.verbose) print_records(pruned.collected.records, false, false, session.clock().now_s());
  printf("Total %s space: %s\n", flags.dry_run ? "reclaimable" : "reclaimed",
         human_size(pruned.collected.bytes).c_str());
  return 0;
}

int command_du(const Arguments& arguments) {
  CLI::App app("Show what the store takes on disk.", "du");
  std::string format;
  bool verbose = false;
  std::vector<std::string> filters;
  app.add_option("--filter", filters, "records that match, as for prune; repeatable")
      ->allow_extra_args(false);
  app.add_option("--format", format, "table or json");
  app.add_flag("-v,--verbose", verbose, "every record of the cache");
  parse_flags(app, arguments);
  Session session = Session::open();
  if (verbose || !filters.empty()) {
    int64_t now = session.clock().now_s();
    auto matches = parse_cache_filters(filters, now);
    std::vector<CacheRecord> records = store::Collector(session.store()).records();
    std::erase_if(records, [&](const CacheRecord& r) { return !matches(r); });
    print_records(records, verbose, format == "json", now);
    if (format != "json") fputs(record_sums(records).c_str(), stdout);
    return 0;
  }
  store::Usage usage = session.store().usage();
  const std::pair<const char*, uint64_t> kRows[] = {{"contents", usage.contents},
                                                    {"layer directories", usage.bodies},
                                                    {"layer manifests", usage.layers},
                                                    {"blobs", usage.blobs},
                                                    {"cache mounts", usage.cache_mounts},
                                                    {"containers", usage.containers},
                                                    {"index", usage.index},
                                                    {"other", usage.other}};
  if (format == "json") {
    Json json = Json::object();
    for (const auto& [name, bytes] : kRows) json.set(name, bytes);
    json.set("total", usage.total());
    printf("%s\n", json.dump().c_str());
    return 0;
  }
  report::Table table({"WHAT", "SIZE"});
  for (const auto& [name, bytes] : kRows) table.add({name, human_size(bytes)});
  table.add({"total", human_size(usage.total())});
  fputs(table.text().c_str(), stdout);
  printf("\nThe store is %s\n", session.store().path().c_str());
  return 0;
}

int command_cache(const Arguments& arguments) {
  std::string verb = arguments.empty() ? "" : arguments[0];
  Arguments rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (verb == "ls" || verb == "list") return list_cache(rest);
  if (verb == "show" || verb == "inspect") return show_cache(rest);
  if (verb == "rm") return remove_cache(rest);
  if (verb == "--help" || verb == "-h")
    throw HelpWanted{
        "List, show and remove what the store remembers.\n"
        "Usage: corten cache ls|show|rm ...\n\n"
        "  ls     cache mounts with sharing, owner, size and last use; --all: every record\n"
        "  show   all that is known of a record, with the path of a cache mount\n"
        "  rm     remove records that nothing uses\n\n"
        "'corten prune' removes by filter and by size.\n"};
  throw Error(ErrorCode::kUsage,
              verb.empty() ? "cache: ls, show or rm?" : fmt::format("cache {}: no such command", quote(verb)))
      .with_hint("see 'corten cache --help'");
}

}  // namespace corten::cli
