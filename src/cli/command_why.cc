// corten why: what was cached, what was not, and the first input that differed. It reads the journal of the
// build: what is said was found out when the step missed, and stays true when images and actions are gone.
#include <stdio.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "build/journal.h"
#include "cli/build_history.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "report/table.h"
#include "report/terminal_text.h"

namespace corten::cli {

namespace {

using build::JournalStep;
using build::Miss;

bool names_step(const JournalStep& step, std::string_view text) {
  if (auto number = parse_int(text)) return step.id == *number;
  return to_lower(step.name).find(to_lower(text)) != std::string::npos;
}

std::string reason_text(const JournalStep& step, int64_t now_ns) {
  if (step.state == "cached" || !step.miss) return step.error;
  std::string text = build::miss_text(*step.miss, now_ns);
  if (text.empty()) return "first run";
  constexpr std::string_view kHead = "not cached: ";
  return text.starts_with(kHead) ? text.substr(kHead.size()) : text;
}

void print_line(const std::string& text) {
  printf("%s\n", report::one_line(text).c_str());
}

void print_step(const JournalStep& step, int64_t now_ns) {
  print_line(step.name);
  print_line(fmt::format("  line {}, {} in {}", step.line, step.state, duration_text(step.duration_ns)));
  if (step.peak_bytes)
    print_line(fmt::format("  at most {} of memory, {} of processor time", human_size(step.peak_bytes),
                           duration_text(step.processor_ns)));
  if (!step.key.empty()) print_line("  key " + step.key);
  if (!step.error.empty()) print_line("  " + step.error);
  if (!step.miss) {
    if (step.state == "cached") print_line("  all inputs were known: the result was there");
    return;
  }
  const Miss& miss = *step.miss;
  if (!miss.build.empty())
    print_line(fmt::format("  compared with {} of build {}, {}", miss.step, miss.build,
                           to_lower(report::age_text((now_ns - miss.when_ns) / 1'000'000'000))));
  if (miss.reason != Miss::Reason::kInput) return print_line("  " + reason_text(step, now_ns));
  for (const build::Difference& d : miss.differences) print_line("  - " + build::difference_text(d));
  if (miss.more) print_line(fmt::format("  - and {} more", miss.more));
}

}  // namespace

int command_why(const Arguments& arguments) {
  CLI::App app("Say of each step of a build why it was cached or not: the first input that differed.", "why");
  std::vector<std::string> words;
  std::string format;
  app.add_option("build", words,
                 "BUILD: id, its beginning, a name, or ^N for the N-th before the newest (the newest); then "
                 "STEP: its number, or a part of its name")
      ->type_name("[BUILD] [STEP]")
      ->expected(0, 2);
  app.add_option("--format", format, "table, or json: the journal, one object a step")
      ->check(CLI::IsMember({"table", "json"}));
  parse_flags(app, arguments);
  Session session = Session::open({.needs_bodies = false});
  store::Store& store = session.store();
  store::BuildRecord record;
  std::string wanted = words.size() > 1 ? words[1] : "";
  try {
    record = store.find_build(words.empty() ? "" : words[0]);
  } catch (const Error& error) {
    // One word may be a step of the newest build.
    if (words.size() != 1 || error.code() != ErrorCode::kNotFound || store.builds(1).empty()) throw;
    record = store.find_build("");
    wanted = words[0];
    auto steps = journal_of(store, record);
    if (std::none_of(steps.begin(), steps.end(), [&](const auto& step) { return names_step(step, wanted); }))
      throw;
  }
  std::vector<JournalStep> steps = journal_of(store, record);
  if (!wanted.empty()) std::erase_if(steps, [&](const auto& step) { return !names_step(step, wanted); });
  if (steps.empty() && !wanted.empty())
    throw Error(ErrorCode::kNotFound, fmt::format("build {} has no step {}", record.id, quote(wanted)))
        .with_hint(fmt::format("'corten why {}' lists its steps", record.id));
  int64_t now_ns = session.clock().now_ns();
  if (format == "json") {
    for (const JournalStep& step : steps) print_json(step.to_json());
    return 0;
  }
  if (!wanted.empty()) {
    for (const JournalStep& step : steps) print_step(step, now_ns);
    return 0;
  }
  print_line(fmt::format("build {} of {}, {}, {}", record.id, record.name, record.status,
                         to_lower(report::age_text((now_ns - record.started_ns) / 1'000'000'000))));
  report::Table table({"#", "STEP", "RESULT", "WHY"});
  for (const JournalStep& step : steps)
    table.add({std::to_string(step.id), shortened(step.name, 60), step.state, reason_text(step, now_ns)});
  fputs(table.text().c_str(), stdout);
  return 0;
}

}  // namespace corten::cli
