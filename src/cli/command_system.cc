#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/version.h"
#include "container/commands.h"
#include "report/table.h"
#include "sandbox/doctor.h"

namespace corten::cli {

int command_version(const Arguments& arguments) {
  bool is_json = arguments.size() == 2 && arguments[0] == "--format" && arguments[1] == "json";
  if (is_json)
    printf("{\"version\":\"%s\"}\n", kVersion);
  else
    printf("corten %s\n", kVersion);
  return 0;
}

// Those that run are killed first: nothing of a store that is gone may go on.
static void remove_containers(Session& session) {
  container::RemoveOptions options{.containers = {}, .force = true};
  for (const container::Container& container : container::Container::list(session.store()))
    options.containers.push_back(container.spec().id);
  auto silent = [](std::string_view) {};
  container::Context context{session.store(), session.clock(), silent, silent,
                             [&] { return session.entered(); }};
  if (!options.containers.empty()) container::rm_command(options, context);
}

int command_prune(const Arguments& arguments) {
  CLI::App app("Remove images without a name, and what nothing needs.", "prune");
  bool all = false, cache = false, everything = false, force = false;
  app.add_flag("-a,--all", all, "also images with a name that no container uses");
  app.add_flag("--cache", cache, "also the memory of steps, and cache mounts");
  app.add_flag("--everything", everything, "the whole store, with all that is in it");
  app.add_flag("-f,--force", force, "do not ask");
  parse_flags(app, arguments);
  Session session = Session::open();
  if (everything) {
    if (!force && isatty(0)) {
      fprintf(stderr, "This removes the whole store %s: images, cache, containers. Go on? [y/N] ",
              session.store().path().c_str());
      int answer = getchar();
      if (answer != 'y' && answer != 'Y') return 1;
    }
    std::string path = session.store().path();
    remove_containers(session);
    session.store().destroy();
    printf("Removed %s\n", path.c_str());
    return 0;
  }
  store::Store::PruneOptions options;
  options.all_images = all;
  if (cache) {
    options.collect.may_go = [](const store::CacheRecord&) { return true; };
    options.collect.all = true;
  }
  options.in_use = container::images_in_use(session.store());
  store::Store::Pruned pruned = session.store().prune(options);
  for (const std::string& name : pruned.deleted) printf("Deleted: %s\n", printable(name).c_str());
  printf("Total reclaimed space: %s\n", human_size(pruned.collected.bytes).c_str());
  return 0;
}

int command_fsck(const Arguments& arguments) {
  CLI::App app("Read the whole store again and compare it with its digests.", "fsck");
  bool repair = false;
  app.add_flag("--repair", repair, "take away what is damaged; later builds make it again");
  parse_flags(app, arguments);
  Session session = Session::open();
  auto damages = session.store().check(repair);
  for (const auto& damage : damages)
    printf("%s: %s\n", printable(damage.what).c_str(), printable(damage.wrong).c_str());
  if (damages.empty())
    printf("The store %s is whole\n", session.store().path().c_str());
  else
    printf("%zu damaged%s\n", damages.size(),
           repair ? ", taken away" : "; 'corten fsck --repair' takes them away");
  return damages.empty() || repair ? 0 : 1;
}

int command_du(const Arguments& arguments) {
  CLI::App app("Show what the store takes on disk.", "du");
  std::string format;
  bool verbose = false;
  app.add_option("--format", format, "table or json");
  app.add_flag("-v,--verbose", verbose, "")->group("");
  parse_flags(app, arguments);
  Session session = Session::open();
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

int command_doctor(const Arguments& arguments) {
  CLI::App app("Try what this machine gives, and say how to climb.", "doctor");
  std::string format;
  app.add_option("--format", format, "table or json (one object a line)");
  parse_flags(app, arguments);
  std::string path = store::Store::default_path();
  int worst = 0;
  for (const sandbox::Finding& finding : sandbox::examine({path})) {
    const char* mark = finding.state == sandbox::Finding::State::kOk        ? "ok"
                       : finding.state == sandbox::Finding::State::kLimited ? "limited"
                                                                            : "missing";
    if (finding.state == sandbox::Finding::State::kMissing) worst = 1;
    if (format == "json") {
      printf("%s\n", Json::object({{"state", mark},
                                   {"subject", finding.subject},
                                   {"what", finding.what},
                                   {"climb", finding.climb}})
                         .dump()
                         .c_str());
      continue;
    }
    printf("%-8s %-22s %s\n", mark, finding.subject.c_str(), printable(finding.what).c_str());
    if (!finding.climb.empty()) printf("%32s-> %s\n", "", printable(finding.climb).c_str());
  }
  if (format != "json") {
    printf("%-8s %-22s %s\n", "ok", "store", path.c_str());
    ConfigFile config = read_config_file();
    printf("%-8s %-22s %s\n", "ok", "configuration", config.path.empty() ? "none" : config.path.c_str());
  }
  return worst;
}

}  // namespace corten::cli
