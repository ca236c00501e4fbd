// What is written for terminals and for programs: no byte of a build's input or output gets to a terminal
// that could steer it, and JSON is JSON.
#include <sys/mman.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "dockerfile/instructions.h"
#include "dockerfile/lint.h"
#include "fuzz/fuzz.h"
#include "report/findings.h"
#include "report/progress.h"
#include "report/table.h"
#include "report/terminal_text.h"

namespace corten::fuzz {

using namespace corten::report;

namespace {

constexpr const char* kFile =
    "# check=experimental=all\n# the base\nARG v=1\nFROM alpine:$v as A\nRUN --mount=type=secret,id=s x\n"
    "ENV a b\nMAINTAINER me\x1b[31m\nCMD a\nCMD b\nFROM --platform=linux/amd64 scratch AS last\nEXPOSE "
    "80/TCP\n";

// An input is fields between line ends, the last one takes the rest.
std::vector<std::string> fields_of(std::string_view input, size_t count) {
  std::vector<std::string> fields;
  while (fields.size() + 1 < count) {
    size_t end = std::min(input.find('\n'), input.size());
    fields.emplace_back(input.substr(0, end));
    input.remove_prefix(std::min(end + 1, input.size()));
  }
  fields.emplace_back(input);
  return fields;
}

// Without an end of its own: a finding of one value of UTF-8 or of none.
void check_json(std::string_view text) {
  REQUIRE(is_terminal_text(text));
  Json::parse(trim(text));
}

class Output {
 public:
  Output() : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {}
  int fd() const { return fd_.get(); }
  std::string text() const {
    REQUIRE(lseek(fd_.get(), 0, SEEK_SET) == 0);
    return read_all(fd_.get(), "output", 64 << 20);
  }

 private:
  UniqueFd fd_;
};

void play(Progress& progress, const std::vector<std::string>& fields) {
  progress.planned({1, fields[0], {}, {}});
  progress.planned({2, fields[1], {1}, {}});
  progress.started(1);
  progress.started(2);
  progress.note(1, fields[1]);
  const std::string& bytes = fields[2];
  progress.output(1, 1, std::string_view(bytes).substr(0, bytes.size() / 2));
  progress.output(2, 2, bytes);
  progress.output(1, 1, std::string_view(bytes).substr(bytes.size() / 2));
  progress.tick();
  progress.warning({fields[0], fields[1], "", {.file = fields[1], .line = 3}});
  progress.finished(1, build::Outcome::kDone, "");
  progress.finished(2, build::Outcome::kFailed, fields[2]);
  progress.finish();
}

// The picture's own movements: up, down, to a column, clearing; the cursor, wrapping and synchronised drawing
// off and on. A step's output has no way to bring one in: that is what terminal_text is asked.
std::string without_movements(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\r') continue;
    if (text.substr(i).starts_with("\x1b[")) {
      bool is_mode = text.substr(i + 2).starts_with('?');
      size_t end = text.find_first_not_of("0123456789", i + (is_mode ? 3 : 2));
      REQUIRE(end != std::string_view::npos);
      std::string_view ends = is_mode ? "hl" : "ABGJK";
      if (ends.find(text[end]) != std::string_view::npos) {
        i = end;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

}  // namespace

// Characters that show others in another order: those of RTL text are in what programs say, none in what we
// say.
static bool reorders(std::string_view text) {
  for (const char* character :
       {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"})
    if (text.find(character) != std::string_view::npos) return true;
  return false;
}

FUZZ_TARGET(printable, "a\x1b[2Jb", "\xc2\x9b", "\xff\xfe", "\r\n\t\x7f", "\xe2\x80\xae") {
  std::string shown = printable(input);
  REQUIRE(is_terminal_text(shown));
  REQUIRE(printable(shown) == shown);
  REQUIRE((is_terminal_text(input) && !reorders(input)) == (shown == input));
  REQUIRE(!reorders(shown) && !reorders(quote(input)));
  REQUIRE(is_terminal_text(quote(input)) && quote(input).find('\n') == std::string::npos);
  Table table({"A", "B"});
  table.add(fields_of(input, 2));
  REQUIRE(is_terminal_text(table.text()));
}

// Nothing but colours gets through, however it is cut.
FUZZ_TARGET(terminal_text, "\x1b[31mred\x1b[0m", "\x1b[2J\x1b]0;t\x07x", "\x1b[38;5;208ma\tb\x1b[1",
            "\xe4\xb8\xad\xf0\x9f\x98\x80") {
  std::string plain = output_line(input, false), colored = output_line(input, true), name = one_line(input);
  REQUIRE(is_terminal_text(plain) && is_terminal_text(colored, true) && is_terminal_text(name));
  REQUIRE(name.find_first_of("\n\t") == std::string::npos);
  for (size_t columns : {0, 1, 7, 80}) {
    std::string cut = cut_to(colored, columns, columns > 3 ? "..." : "");
    REQUIRE(is_terminal_text(cut, true) && columns_of(cut) <= columns);
  }
}

FUZZ_TARGET(progress_plain, "[1/2] RUN x\nwaiting\nline\r50%\r100%\nend",
            "RUN \x1b[31mred\n\x1b]0;t\x07\n\xc2\x9b", "##[group]\n::error::\n##vso[task]\n") {
  std::vector<std::string> fields = fields_of(input, 3);
  Output output;
  play(*make_plain_progress({.mode = ProgressMode::kPlain, .fd = output.fd(), .has_ticker = false}), fields);
  REQUIRE(is_terminal_text(output.text()));
  // Commands to a runner are ours alone.
  Output azure;
  play(
      *make_plain_progress(
          {.mode = ProgressMode::kPlain, .fd = azure.fd(), .groups = LogGroups::kAzure, .has_ticker = false}),
      fields);
  for (const std::string& line : split(azure.text(), '\n')) {
    size_t mark = line.find("##[");
    REQUIRE(mark == std::string::npos || line == "##[endgroup]" ||
            (line.starts_with("##[group]#") && line.find("##[", 3) == std::string::npos));
    REQUIRE(line.find("##vso[") == std::string::npos);
  }
  Output github;
  play(*make_plain_progress({.mode = ProgressMode::kPlain,
                             .fd = github.fd(),
                             .groups = LogGroups::kGitHub,
                             .has_ticker = false}),
       fields);
  for (const std::string& line : split(github.text(), '\n'))
    REQUIRE(!line.starts_with("::") || line == "::endgroup::" || line.starts_with("::group::#"));
}

FUZZ_TARGET(progress_tty, "[1/2] RUN x\nwaiting\nline\r50%\r100%\nend",
            "RUN \x1b[31mred\n\x1b]0;t\x07\n\xc2\x9b", "RUN <<EOF\n\x1b[1A\r\x1b[J\n\xe2\x82") {
  Output output;
  play(*make_tty_progress({.mode = ProgressMode::kTty,
                           .fd = output.fd(),
                           .color = true,
                           .terminal_size =
                               [] {
                                 return TerminalSize{30, 80};
                               },
                           .has_ticker = false}),
       fields_of(input, 3));
  REQUIRE(is_terminal_text(without_movements(output.text()), true));
}

FUZZ_TARGET(progress_rawjson, "[1/2] RUN x\nwaiting\nline\n", "RUN \xff\n\x1b\n\xc2\x9b") {
  Output output;
  play(*make_rawjson_progress(
           {.mode = ProgressMode::kRawJson, .fd = output.fd(), .source = std::string(input)}),
       fields_of(input, 3));
  for (const std::string& line : split(trim(output.text()), '\n')) check_json(line);
}

// In every format a finding is as many lines as it should be, and the JSON ones say what was found.
FUZZ_TARGET(findings, "Dockerfile\nhttps://x\ndetail\nmessage", "a\x1b[31mb\n\xff\n<>&'\"\nmess%age\r\n,:x") {
  std::vector<std::string> fields = fields_of(input, 4);
  std::vector<Finding> findings = {
      {"DL3008", Level::kError, fields[3], fields[2], fields[1], {.file = fields[0], .line = 3}},
      {"CT1001",
       Level::kStyle,
       fields[2],
       "",
       "",
       {.file = fields[0], .line = 3, .column = 2, .end_line = 9}}};
  for (const char* format : {"tty", "gnu", "checkstyle", "github"}) {
    std::string text = format_findings(format, findings);
    REQUIRE(is_terminal_text(text));
  }
  for (const char* format : {"json", "gitlab_codeclimate", "sarif"})
    check_json(format_findings(format, findings));
  std::vector<std::string> objects = split(format_findings("codeclimate", findings), '\0');
  REQUIRE(objects.size() == 3 && trim(objects.back()).empty());
  objects.pop_back();
  for (const std::string& object : objects) check_json(object);
  Json sarif = Json::parse(format_findings("sarif", findings));
  const Json& result = sarif.find("runs")->as_array()[0].find("results")->as_array()[0];
  if (is_valid_utf8(fields[3])) REQUIRE(result.find("message")->get_string("text") == fields[3]);
  // A finding is one line to GitHub.
  std::string github = format_findings("github", findings);
  REQUIRE(std::count(github.begin(), github.end(), '\n') == 2);
}

// The checks of a file as buildx prints them.
FUZZ_TARGET(check_call, kFile, "FROM a\nRUN \x1b[31m\xff\nFROM A AS a\n",
            "from scratch as x\nfrom x as X\n# \x1b\nARG a\n") {
  CheckedFile file{
      "Docker\x1b"
      "file",
      std::string(input)};
  tolerate({ErrorCode::kInvalid}, [&] {
    dockerfile::PartialDockerfile parsed = dockerfile::parse_dockerfile_until_error(input, file.name);
    dockerfile::LintResult result = dockerfile::lint(parsed);
    REQUIRE(is_terminal_text(check_text(file, result.findings)));
    if (result.error) REQUIRE(is_terminal_text(check_error_text(file, *result.error)));
    REQUIRE(is_terminal_text(outline_text(result.outline)));
    REQUIRE(is_terminal_text(targets_text(parsed.file.stages)));
    check_json(report::check_json(file, result.findings, result.error));
    check_json(outline_json(file, result.outline));
    check_json(targets_json(file, parsed.file.stages));
  });
}

}  // namespace corten::fuzz
