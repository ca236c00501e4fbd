// The syntax tree of a Dockerfile: what was written, with the place of every word, before any variable is
// expanded.
//
// A Dockerfile is directives, meta arguments (ARG lines before the first FROM), and stages. A stage is a FROM
// and its commands. Nothing here is expanded, looked up or checked against an image: that is lowering, in
// another room. Texts hold words as they stand in the file (quotes and `$` included, continuation lines
// joined); `Word::span` tells where. Everything is a plain value; thread-safe to read.
//
// Source: Dockerfile reference 1.20, and BuildKit's parser as measured
// (frontend/dockerfile/{parser,instructions}).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace corten::dockerfile {

// A piece of the text. `text` is what it means after flag quoting is removed, but before variables are
// expanded.
struct Word {
  std::string text;
  SourceSpan span;
};

// <<NAME ... NAME
struct Heredoc {
  std::string name;     // the terminator, without quotes; also the file's name for COPY and ADD
  std::string content;  // the body with its last line end; with kept tabs even for <<-, see chomped_content()
  bool expand = true;   // false when any part of the terminator was quoted: no variables in the body
  bool chomp = false;   // <<- : leading tabs are stripped
  unsigned descriptor = 0;  // N of N<<NAME, 0 when none was given
  SourceSpan span;          // of the body's lines (without the terminator's line)

  // The body as a file or a script gets it: with leading tabs stripped from every line for <<-.
  std::string chomped_content() const;
};

// What all instructions have.
struct Instruction {
  std::string keyword;  // as written: "Run"
  std::string
      original;     // the logical line, continuation lines joined, without heredoc bodies: for step names
  SourceSpan span;  // first to last line, heredoc bodies included
  std::vector<std::string> comments;  // the comment block right above, one line each, without "# "
};

// Shell form: one text for the shell. Exec form: argv as it is (never expanded); may be empty.
struct CommandLine {
  bool is_shell = true;
  std::vector<std::string> args;  // shell form: exactly one
  SourceSpan span;
};

struct KeyValue {
  Word key;
  Word value;
  bool is_legacy = false;  // ENV key rest of line
};

struct ArgDeclaration {
  std::string name;
  std::optional<Word> value;  // the default, unexpanded; ARG x= gives an empty one
  SourceSpan span;
  std::string description;  // the text of "# NAME text" right above the line
};

struct From : Instruction {
  Word image;                    // image, stage name or "scratch"
  std::optional<Word> platform;  // --platform
  std::optional<Word> name;      // AS name, lower-cased
  std::string name_as_written;   // for the lint rule on casing
  std::string as_keyword;        // "AS", "as" ...; "" when there is none
};

enum class RunNetwork { kUnset, kDefault, kNone, kHost };
enum class RunSecurity { kUnset, kSandbox, kInsecure };

struct Run : Instruction {
  CommandLine command;
  std::vector<Heredoc> heredocs;  // only in shell form; see run_script() in script.h
  std::vector<Word> mounts;       // raw CSV; parse_mount() in mount.h expands and reads it
  RunNetwork network = RunNetwork::kUnset;
  RunSecurity security = RunSecurity::kUnset;
  std::vector<Word> devices;  // raw CSV; parse_device() in mount.h
};

// What COPY and ADD share.
struct Transfer : Instruction {
  std::vector<Word> sources;      // paths, URLs, git references; unexpanded
  std::vector<Heredoc> heredocs;  // each is a source too, a file of that name
  Word destination;
  std::optional<Word> chown;  // expand, then parse_owner() in values.h
  std::optional<Word> chmod;  // expand, then parse_mode_change() in values.h
  bool link = false;
  std::vector<Word> excludes;  // ignore patterns, never expanded
};

struct Copy : Transfer {
  std::optional<Word> from;  // stage name, stage index, named context or image; never expanded
  bool parents = false;
};

struct Add : Transfer {
  std::optional<bool> keep_git_dir;  // --keep-git-dir; unset when not given
  std::optional<bool> unpack;        // --unpack; unset: local archives only
  std::optional<Word> checksum;      // expand, then read as a digest or a commit
};

struct Env : Instruction {
  std::vector<KeyValue> entries;
};
struct Label : Instruction {
  std::vector<KeyValue> entries;
};
struct Arg : Instruction {
  std::vector<ArgDeclaration> entries;
};
struct Cmd : Instruction {
  CommandLine command;
};
struct Entrypoint : Instruction {
  CommandLine command;
};  // exec form without args: clears the inherited one
struct Maintainer : Instruction {
  Word author;
};
struct Expose : Instruction {
  std::vector<Word> ports;
};  // process_words() each, then parse_port_spec() in values.h
struct Volume : Instruction {
  std::vector<Word> paths;
};
struct User : Instruction {
  Word user;
};
struct Workdir : Instruction {
  Word path;
};
struct StopSignal : Instruction {
  Word signal;
};  // expand, then check_stop_signal() in values.h
struct Shell : Instruction {
  std::vector<std::string> argv;
};

// Durations in nanoseconds; 0 inherits. `test` is what the image config holds: {"NONE"}, {"CMD", argv...},
// {"CMD-SHELL", text}.
struct Healthcheck : Instruction {
  std::vector<std::string> test;
  int64_t interval_ns = 0;
  int64_t timeout_ns = 0;
  int64_t start_period_ns = 0;
  int64_t start_interval_ns = 0;
  int64_t retries = 0;
};

// ONBUILD: the trigger's text as it goes to the image config, heredoc bodies included. parse_instruction()
// reads it when it is triggered; it is not checked before, except for chaining, FROM and MAINTAINER.
struct Onbuild : Instruction {
  std::string trigger;
};

using Command = std::variant<Run, Copy, Add, Env, Label, Arg, Cmd, Entrypoint, Healthcheck, Expose, Volume,
                             User, Workdir, StopSignal, Shell, Maintainer, Onbuild>;

const Instruction& instruction_of(const Command& command);
std::string_view keyword_of(const Command& command);  // canonical: "RUN"

struct Stage {
  From from;
  std::vector<Command> commands;
  std::string description;  // the text of "# NAME text" right above the FROM
};

// `# key=value` at the head of the file.
struct Directives {
  std::optional<Word> syntax;  // the whole value; syntax_image() in directives.h gives the image reference
  char escape = '\\';
  std::optional<Word> check;  // the whole value; parse_check_options() in directives.h reads it
};

// A remark that stops no build. `rule` is a lint rule's name (as BuildKit spells it) or empty.
struct Diagnostic {
  std::string rule;
  std::string url;
  std::string message;
  std::string detail;  // the rule's description: why it matters
  SourceSpan span;     // the instruction's lines
  SourceSpan word;     // the culprit in it; line 0: the whole instruction
};

struct Dockerfile {
  Directives directives;
  std::vector<Arg> meta_args;
  std::vector<Stage> stages;
  std::vector<Diagnostic>
      warnings;  // from parsing alone (NoEmptyContinuation); lint() in lint.h has the rest
};

// For a linter, which has something to say about the lines before an error.
struct PartialDockerfile {
  Dockerfile file;             // what was read until the error
  std::optional<Error> error;  // why there is no more
  SourceSpan error_lines;      // the whole instruction that the error is in; line 0: none
};

}  // namespace corten::dockerfile
