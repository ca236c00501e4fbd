// The Dockerfile room. For bad input there is Error(kInvalid) and nothing else, and every place lies in the
// text.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "dockerfile/directives.h"
#include "dockerfile/excerpt.h"
#include "dockerfile/expand.h"
#include "dockerfile/ignore.h"
#include "dockerfile/instructions.h"
#include "dockerfile/lint.h"
#include "dockerfile/mount.h"
#include "dockerfile/production_rules.h"
#include "dockerfile/script.h"
#include "dockerfile/values.h"
#include "fuzz/fuzz.h"

namespace corten::fuzz {

using namespace corten::dockerfile;

namespace {

const MapEnvironment& environment() {
  static const MapEnvironment values(MapEnvironment::Values{{"a", "abcabc"}, {"empty", ""}, {"b", "b/c"}});
  return values;
}

void check_span(std::string_view text, const SourceSpan& span) {
  int lines = 1 + static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  REQUIRE(span.line >= 1 && span.line <= lines && span.column >= 0);
  REQUIRE(span.end_line == 0 || (span.end_line >= span.line && span.end_line <= lines));
  REQUIRE(is_terminal_text(render_excerpt(text, span)));
}

void read_run(const Run& run) {
  if (run.command.is_shell) run_script(run);
  for (const Word& mount : run.mounts)
    tolerate({ErrorCode::kInvalid}, [&] {
      parse_mount(mount, [&](std::string_view text) { return process_word(text, environment()); });
    });
}

size_t count_commands(const Dockerfile& file) {
  size_t count = file.stages.size();
  for (const Stage& stage : file.stages) count += stage.commands.size();
  return count;
}

constexpr const char* kFile =
    "# syntax=docker/dockerfile:1\n# check=skip=all;error=true\nARG v=1\nFROM alpine:${v} AS a\n"
    "RUN --mount=type=cache,target=/c <<EOF\nmake $a\nEOF\nENV a=b c=\"d e\"\nCOPY --from=a --chmod=u+x x "
    "\\\n"
    "  # a comment\n  y /z/\nONBUILD RUN x\nHEALTHCHECK --interval=5s CMD [\"a\"]\n";

}  // namespace

// What parse_instruction() reads back from an ONBUILD trigger was read before.
FUZZ_TARGET(dockerfile, kFile, "from a\nrun [\"x\"]\n", "# escape=`\nFROM a\nCOPY a `\n b c:\\\\d\n") {
  Dockerfile file;
  try {
    file = parse_dockerfile(input, "Dockerfile");
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::kInvalid && error.span().has_value());
    check_span(input, *error.span());
    return;
  }
  tolerate({ErrorCode::kInvalid}, [&] {
    for (const Diagnostic& finding : lint({file, std::nullopt, {}}).findings) {
      check_span(input, finding.span);
      if (finding.word.line) check_span(input, finding.word);
    }
  });
  for (const Stage& stage : file.stages)
    for (const Command& command : stage.commands) {
      check_span(input, instruction_of(command).span);
      if (auto* run = std::get_if<Run>(&command)) read_run(*run);
      if (auto* onbuild = std::get_if<Onbuild>(&command))
        tolerate({ErrorCode::kInvalid},
                 [&] { REQUIRE(!keyword_of(parse_instruction(onbuild->trigger, "trigger")).empty()); });
    }
}

// A file whose comment says that all its findings are to be ignored has none.
FUZZ_TARGET(
    hadolint_comments,
    "FROM a\n# hadolint ignore=DL3008,DL3009\nRUN apt-get update && apt-get install x\nRUN cd /x && sudo y\n",
    "# hadolint global ignore=DL3006\nFROM a\nUSER root\nADD http://x/y /z\nENV PASSWORD=x\n", kFile) {
  tolerate({ErrorCode::kInvalid}, [&] {
    ProductionOptions options{.trusted_registries = {"*.example.com"}, .has_ignore_file = false};
    Dockerfile file = parse_dockerfile(input, "Dockerfile");
    std::set<std::string> rules;
    for (const ProductionFinding& finding : check_for_production(file, input, options)) {
      check_span(input, finding.span);
      rules.insert(finding.rule);
    }
    std::string text(input);
    text += "\n# hadolint global ignore=" + join(std::vector(rules.begin(), rules.end()), ",") + "\n";
    Dockerfile quiet = parse_dockerfile(text, "Dockerfile");
    if (count_commands(quiet) == count_commands(file))
      REQUIRE(check_for_production(quiet, text, options).empty());
  });
}

// The directive says what the build argument of the same value says.
FUZZ_TARGET(check_directive, "skip=StageNameCasing,FromAsCasing;error=true", "skip=all",
            "error=1;skip=a;experimental=all", "experimental=InvalidDefinitionDescription",
            " skip = a , b ; error = false") {
  std::optional<CheckOptions> given;
  tolerate({ErrorCode::kInvalid}, [&] { given = parse_check_options(input); });
  if (given)
    for (const auto* list : {&given->skip, &given->experimental})
      for (const std::string& rule : *list) REQUIRE(rule == trim(rule));
  std::string value(trim(input));
  if (value.find_first_of("\n\r") != std::string::npos || value.empty() || !is_valid_utf8(value)) return;
  tolerate({ErrorCode::kInvalid}, [&] {
    PartialDockerfile file =
        parse_dockerfile_until_error("# check=" + value + "\nfrom a as B\n", "Dockerfile");
    bool is_read = tolerate({ErrorCode::kInvalid}, [&] { lint(file); });
    REQUIRE(is_read == given.has_value());
  });
}

FUZZ_TARGET(expansion, "${a:-b}", "${a//b/$empty}", "\"$a\"'$a'\\$a", "${a##*b}${a%%c*}", "${nothing:?no}") {
  tolerate({ErrorCode::kInvalid}, [&] {
    expand(input, environment());
    expand_heredoc(input, environment());
  });
}

// A walk with parent results agrees with a look at the whole path; with negations moby's two ways differ, and
// ours with them.
FUZZ_TARGET(ignore_file, "*\n!a/**/c\n", "a/b.txt\n# x\n!a\n", "**/c", "[a-b]/?.txt\n") {
  tolerate({ErrorCode::kInvalid}, [&] {
    IgnoreMatcher matcher(parse_ignore_file(input));
    IgnoreMatcher::State state;
    std::string path;
    for (const char* name : {"a", "b.txt", "c"}) {
      path += (path.empty() ? "" : "/") + std::string(name);
      auto match = matcher.match(path, state);
      if (!matcher.has_negations()) REQUIRE(match.is_ignored == matcher.is_ignored(path));
      state = std::move(match.state);
    }
  });
}

FUZZ_TARGET(values, "80-90/tcp", "u+x,g-w", "1h30m", "0644", "127.0.0.1:80:90") {
  tolerate({ErrorCode::kInvalid}, [&] { parse_port_spec(input).config_keys(); });
  tolerate({ErrorCode::kInvalid}, [&] { REQUIRE(ModeChange::parse(input).apply(0640, true) <= 07777); });
  tolerate({ErrorCode::kInvalid}, [&] { format_duration(parse_duration_ns(input)); });
}

// The comma-separated lists of flags.
FUZZ_TARGET(mount_csv, "type=cache,target=/c,id=$a,sharing=locked,mode=0755,uid=5",
            "type=secret,id=s,env=A,required", "type=bind,from=a,source=\"b,c\",rw", "target=\"x",
            "type=tmpfs,size=99999999999g,target=/t", "name=vendor.com/d=*,required") {
  Word word{std::string(input), {}};
  tolerate({ErrorCode::kInvalid}, [&] {
    Mount mount = parse_mount(word, [&](std::string_view text) { return process_word(text, environment()); });
    bool is_plain = mount.type == MountType::kBind || mount.type == MountType::kTmpfs;
    REQUIRE(!is_plain || (!mount.mode && !mount.uid && !mount.gid));
    REQUIRE(mount.type != MountType::kSecret || !mount.from);
    REQUIRE(mount.type == MountType::kTmpfs || mount.size_bytes == 0);
  });
  tolerate({ErrorCode::kInvalid}, [&] { parse_device(word); });
  tolerate({ErrorCode::kInvalid}, [&] { parse_owner(input); });
}

}  // namespace corten::fuzz
