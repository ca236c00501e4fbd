// Feeds the Dockerfile room with any bytes. Oracles: only corten::Error may be thrown, and for bad input
// only; every span lies in the text; what parse_instruction() reads back from an ONBUILD trigger was read
// before; a walk with parent results agrees with a look at the whole path.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dockerfile/excerpt.h"
#include "dockerfile/expand.h"
#include "dockerfile/ignore.h"
#include "dockerfile/instructions.h"
#include "dockerfile/lint.h"
#include "dockerfile/mount.h"
#include "dockerfile/script.h"
#include "dockerfile/values.h"

namespace {

using namespace corten;
using namespace corten::dockerfile;

void require(bool condition) {
  if (!condition) abort();
}

template <typename F>
void tolerate(F run) {
  try {
    run();
  } catch (const Error& error) {
    require(error.code() == ErrorCode::kInvalid);
  }
}

void check_span(std::string_view text, const SourceSpan& span) {
  int lines = 1 + static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  require(span.line >= 1 && span.line <= lines && span.column >= 0);
  require(span.end_line == 0 || (span.end_line >= span.line && span.end_line <= lines));
  render_excerpt(text, span);
}

void read_run(const Run& run, const Environment& environment) {
  if (run.command.is_shell) run_script(run);
  for (const Word& mount : run.mounts)
    tolerate(
        [&] { parse_mount(mount, [&](std::string_view text) { return process_word(text, environment); }); });
}

void read_file(std::string_view text) {
  Dockerfile file;
  try {
    file = parse_dockerfile(text, "Dockerfile");
  } catch (const Error& error) {
    require(error.code() == ErrorCode::kInvalid && error.span().has_value());
    check_span(text, *error.span());
    return;
  }
  tolerate([&] {
    for (const Diagnostic& finding : lint({file, std::nullopt, {}}).findings) check_span(text, finding.span);
  });
  MapEnvironment environment(MapEnvironment::Values{{"a", "b/c"}, {"empty", ""}});
  for (const Stage& stage : file.stages)
    for (const Command& command : stage.commands) {
      check_span(text, instruction_of(command).span);
      if (auto* run = std::get_if<Run>(&command)) read_run(*run, environment);
      if (auto* onbuild = std::get_if<Onbuild>(&command))
        tolerate([&] { require(!keyword_of(parse_instruction(onbuild->trigger, "trigger")).empty()); });
    }
}

void read_ignore_file(std::string_view text) {
  IgnoreMatcher matcher(parse_ignore_file(text));
  IgnoreMatcher::State state;
  std::string path;
  for (const char* name : {"a", "b.txt", "c"}) {
    path += (path.empty() ? "" : "/") + std::string(name);
    auto match = matcher.match(path, state);
    require(match.is_ignored == matcher.is_ignored(path));
    state = std::move(match.state);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  MapEnvironment environment(MapEnvironment::Values{{"a", "abcabc"}, {"empty", ""}});
  switch (data[0] % 6) {
    case 0:
      tolerate([&] {
        expand(text, environment);
        expand_heredoc(text, environment);
      });
      break;
    case 1:
      tolerate([&] { read_ignore_file(text); });
      break;
    case 2:
      tolerate([&] { parse_port_spec(text).config_keys(); });
      break;
    case 3:
      tolerate([&] { require(ModeChange::parse(text).apply(0640, true) <= 07777); });
      break;
    case 4:
      tolerate([&] { format_duration(parse_duration_ns(text)); });
      break;
    default:
      read_file(text);
  }
  return 0;
}
