// corten builds: what was built here. As `docker buildx history`, which `corten buildx history` is.
#include <stdio.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "base/unique_fd.h"
#include "cli/build_history.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "report/table.h"
#include "report/terminal_text.h"

namespace corten::cli {

namespace {

constexpr size_t kShortId = 12;

int64_t duration_of(const store::BuildRecord& record, int64_t now_ns) {
  if (record.finished_ns) return record.finished_ns - record.started_ns;
  return record.status == "running" ? now_ns - record.started_ns : 0;
}

Json json_of(const store::BuildRecord& record, int64_t now_ns) {
  Json json = Json::object({{"id", record.id},
                            {"name", record.name},
                            {"status", record.status},
                            {"created_at", format_rfc3339(record.started_ns / 1'000'000'000)}});
  if (record.finished_ns) json.set("completed_at", format_rfc3339(record.finished_ns / 1'000'000'000));
  json.set("duration_ns", duration_of(record, now_ns));
  if (record.details.is_object())
    for (const auto& [name, value] : record.details.as_object()) json.set(name, value);
  return json;
}

// status=done, name=TEXT (a part of it).
bool passes(const store::BuildRecord& record, const std::vector<std::string>& filters) {
  for (const std::string& filter : filters) {
    size_t equals = filter.find('=');
    std::string key = filter.substr(0, equals),
                value = equals == std::string::npos ? "" : filter.substr(equals + 1);
    if (key == "status" && record.status != value) return false;
    if (key == "name" && record.name.find(value) == std::string::npos) return false;
    if (key != "status" && key != "name")
      fail(ErrorCode::kUsage, "filter {}: it is one of status=, name=", quote(filter));
  }
  return true;
}

int list_builds(const Arguments& arguments) {
  CLI::App app("List the builds that are remembered, the newest first.", "builds ls");
  std::string format;
  bool no_trunc = false, quiet = false;
  size_t most = 50;
  std::vector<std::string> filters;
  app.add_option("--format", format, "table, or json: one object a line")
      ->check(CLI::IsMember({"table", "json"}));
  app.add_option("-n,--last", most, "at most so many");
  app.add_option("--filter", filters, "status=done|failed|cancelled|killed|running, name=PART")
      ->allow_extra_args(false);
  app.add_flag("--no-trunc", no_trunc, "whole ids and names");
  app.add_flag("-q,--quiet", quiet, "ids alone");
  parse_flags(app, arguments);
  Session session = Session::open({.needs_bodies = false});
  int64_t now_ns = session.clock().now_ns();
  report::Table table({"BUILD ID", "NAME", "STATUS", "CREATED AT", "DURATION", "CACHED"});
  size_t count = 0;
  for (const store::BuildRecord& record : session.store().builds()) {
    if (!passes(record, filters) || count++ >= most) continue;
    if (quiet) {
      printf("%s\n", record.id.c_str());
    } else if (format == "json") {
      print_json(json_of(record, now_ns));
    } else {
      int64_t cached = record.details.get_int("cached", -1),
              all = cached + record.details.get_int("executed");
      table.add(
          {no_trunc ? record.id : record.id.substr(0, kShortId),
           no_trunc ? record.name : shortened(record.name, 50), record.status,
           report::age_text((now_ns - record.started_ns) / 1'000'000'000),
           record.finished_ns || record.status == "running" ? duration_text(duration_of(record, now_ns)) : "",
           cached < 0 ? "" : fmt::format("{} of {}", cached, all)});
    }
  }
  if (!quiet && format != "json") fputs(table.text().c_str(), stdout);
  return 0;
}

int show_build(const Arguments& arguments) {
  CLI::App app("Show a build: what, when, each step with its time.", "builds show");
  std::string build, format;
  app.add_option("build", build, "id, its beginning, a name, or ^N (the newest)");
  app.add_option("--format", format, "table or json")->check(CLI::IsMember({"table", "json"}));
  parse_flags(app, arguments);
  Session session = Session::open({.needs_bodies = false});
  store::BuildRecord record = session.store().find_build(build);
  int64_t now_ns = session.clock().now_ns();
  std::vector<build::JournalStep> steps = journal_of(session.store(), record);
  if (format == "json") {
    Json json = json_of(record, now_ns);
    Json list = Json::array();
    for (const build::JournalStep& step : steps) {
      Json item = step.to_json();
      item.erase("record");
      list.push_back(std::move(item));
    }
    json.set("steps", std::move(list));
    print_json(json);
    return 0;
  }
  auto row = [](const char* name, const std::string& value) {
    if (!value.empty()) printf("%-10s %s\n", name, report::one_line(value).c_str());
  };
  row("Build:", record.id);
  row("Name:", record.name);
  row("Context:", record.details.get_string("context"));
  row("File:", record.details.get_string("file"));
  row("Target:", record.details.get_string("target"));
  row("Created:", fmt::format("{} ({})", format_rfc3339(record.started_ns / 1'000'000'000),
                              to_lower(report::age_text((now_ns - record.started_ns) / 1'000'000'000))));
  row("Status:", record.status);
  if (record.finished_ns || record.status == "running")
    row("Duration:", duration_text(duration_of(record, now_ns)));
  row("Image:", record.details.get_string("image"));
  row("Error:", record.details.get_string("error"));
  row("Log:", session.store().build_directory(record.id) + "/log");
  if (steps.empty()) return 0;
  printf("\n");
  report::Table table({"#", "STEP", "RESULT", "DURATION", "MEMORY"});
  for (const build::JournalStep& step : steps)
    table.add({std::to_string(step.id), shortened(step.name, 80), step.state, duration_text(step.duration_ns),
               step.peak_bytes ? human_size(step.peak_bytes) : ""});
  fputs(table.text().c_str(), stdout);
  return 0;
}

int show_log(const Arguments& arguments) {
  CLI::App app("Print the whole log of a build.", "builds logs");
  std::string build, progress;
  app.add_option("build", build, "id, its beginning, a name, or ^N (the newest)");
  app.add_option("--progress", progress, "taken for scripts: the log is plain")->group("");
  parse_flags(app, arguments);
  Session session = Session::open({.needs_bodies = false});
  store::BuildRecord record = session.store().find_build(build);
  std::string file = session.store().build_directory(record.id) + "/log";
  if (!path_exists(file)) fail(ErrorCode::kNotFound, "build {} has no log", record.id);
  FILE* in = fopen(file.c_str(), "re");
  if (!in) fail_errno("open {}", file);
  char* line = nullptr;
  size_t capacity = 0;
  bool with_colors = colors_wanted(1);
  for (ssize_t n; (n = getline(&line, &capacity, in)) > 0;) {
    std::string_view text(line, static_cast<size_t>(n));
    if (text.ends_with('\n')) text.remove_suffix(1);
    // Names and states begin with the number sign, lines of output with the number.
    printf("%s%s\n", text.starts_with('#') ? "" : "#", report::output_line(text, with_colors).c_str());
  }
  free(line);
  fclose(in);
  return 0;
}

int remove_builds(const Arguments& arguments) {
  CLI::App app("Forget builds: their record and their log. Images and the memory of steps stay.",
               "builds rm");
  std::vector<std::string> wanted;
  bool all = false;
  app.add_option("build", wanted, "ids, their beginnings, names, or ^N");
  app.add_flag("--all", all, "all but those that run");
  parse_flags(app, arguments);
  if (wanted.empty() && !all)
    throw Error(ErrorCode::kUsage, "builds rm: which?").with_hint("name builds, or say --all");
  Session session = Session::open({.needs_bodies = false});
  std::vector<store::BuildRecord> records;
  for (const std::string& text : wanted) records.push_back(session.store().find_build(text));
  if (all)
    for (const store::BuildRecord& record : session.store().builds())
      if (record.status != "running") records.push_back(record);
  for (const store::BuildRecord& record : records) {
    if (record.status == "running") fail(ErrorCode::kExists, "build {} is running", record.id);
    session.store().delete_build(record.id);
    printf("%s\n", record.id.c_str());
  }
  return 0;
}

}  // namespace

int command_builds(const Arguments& arguments) {
  if (arguments.empty() || arguments[0].starts_with('-')) {
    if (!arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h")) {
      printf(
          "List, show and forget builds.\nUsage: builds [ls] [OPTIONS] | show [BUILD] | logs [BUILD] | rm "
          "BUILD...\n\nBUILD is an id, its beginning, a name, or ^N for the N-th before the newest; without "
          "it the "
          "newest.\nls: -n,--last N; --filter status=STATUS|name=PART; --format table|json; --no-trunc; "
          "-q,--quiet.\nshow: --format table|json. rm: --all.\n");
      return 0;
    }
    return list_builds(arguments);
  }
  Arguments rest(arguments.begin() + 1, arguments.end());
  const std::string& verb = arguments[0];
  static const std::vector<std::string> kVerbs = {"ls", "show", "logs", "rm"};
  if (verb == "ls" || verb == "list") return list_builds(rest);
  if (verb == "show" || verb == "inspect") return show_build(rest);
  if (verb == "logs" || verb == "log") return show_log(rest);
  if (verb == "rm") return remove_builds(rest);
  throw Error(ErrorCode::kUsage,
              fmt::format("unknown command {}{}", quote("builds " + verb), did_you_mean(verb, kVerbs)))
      .with_hint("see 'corten builds --help'");
}

}  // namespace corten::cli
