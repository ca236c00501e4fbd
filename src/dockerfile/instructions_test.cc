#include "dockerfile/instructions.h"

#include <gtest/gtest.h>

#include "dockerfile/excerpt.h"
#include "dockerfile/script.h"
#include "dockerfile/stages.h"

namespace corten::dockerfile {
namespace {

std::string error_of(std::string_view text) {
  try {
    parse_dockerfile(text, "Dockerfile");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalid);
    EXPECT_TRUE(error.span() && error.span()->line > 0) << text;
    return error.what();
  }
  return "accepted";
}

struct Case {
  const char* text;  // behind "FROM a\n"
  const char* error;
};

TEST(ParseDockerfile, ErrorTextsWithinAnInstruction) {
  for (const Case& c : std::initializer_list<Case>{
           {"FNTRYPOINT x", "unknown instruction: FNTRYPOINT (did you mean ENTRYPOINT?)"},
           {"qqqqqqqqqqqq x", "unknown instruction: qqqqqqqqqqqq"},
           {"RUN --mont=x y", "unknown flag: --mont (did you mean mount?)"},
           {"COPY --from=a --from=b c d", "duplicate flag specified: --from"},
           {"COPY --from c d", "missing a value on flag: --from"},
           {"COPY --link= c d", "missing a value on flag: --link"},
           {"COPY --link=1 c d", "expecting boolean value for flag --link, not: 1"},
           {"ENV", "ENV requires at least one argument"},
           {"ENV =x", "ENV names can not be blank"},
           {"ARG =x", "ARG names can not be blank"},
           {"ARG", "ARG requires at least one argument"},
           {"USER", "USER requires exactly one argument"},
           {"STOPSIGNAL", "STOPSIGNAL requires exactly one argument"},
           {"COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be "
            "determined"},
           {"ADD a",
            "ADD requires at least two arguments, but only one was provided. Destination could not be "
            "determined"},
           {"COPY a <<E\nx\nE", "COPY cannot accept a heredoc as a destination"},
           {"FROM a b", "FROM requires either one or three arguments"},
           {"FROM a AS 1x",
            "invalid name for build stage: \"1x\", name can't start with a number or contain symbols"},
           {"SHELL /bin/sh", "SHELL requires the arguments to be in JSON form"},
           {"SHELL []", "SHELL requires at least one argument"},
           {"VOLUME [\"\"]", "VOLUME specified can not be an empty string"},
           {"RUN --network=foo x", "invalid network mode \"foo\""},
           {"RUN --security=foo x", "security \"foo\" is not valid"},
           {"RUN --mount=from=$x y", "'from' doesn't support variable expansion, define alias stage instead"},
           {"HEALTHCHECK", "HEALTHCHECK requires at least one argument"},
           {"HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"},
           {"HEALTHCHECK FOO x", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"},
           {"HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"},
           {"HEALTHCHECK --interval=1us CMD x", "Interval \"interval\" cannot be less than 1ms"},
           {"HEALTHCHECK --interval=1 CMD x", "time: missing unit in duration \"1\""},
           {"HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"},
           {"ONBUILD", "ONBUILD requires at least one argument"},
           {"ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"},
           {"ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"},
           {"ONBUILD maintainer x", "MAINTAINER isn't allowed as an ONBUILD trigger"}}) {
    EXPECT_EQ(error_of(std::string("FROM a\n") + c.text + "\n"),
              std::string("dockerfile parse error on line 2: ") + c.error)
        << c.text;
  }
}

TEST(ParseDockerfile, ErrorsWithoutTheLineInTheText) {
  EXPECT_EQ(error_of("RUN x\nFROM a\n"), "no build stage in current context");
  EXPECT_EQ(error_of("ARG a=b\n"), "dockerfile contains no stages to build");
  EXPECT_EQ(error_of("FROM a\nONBUILD ENV x\n"), "ENV must have two arguments");
  EXPECT_EQ(error_of("FROM a\nCOPY --from=$x b c\n"),
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
            "global scope as a workaround");
}

TEST(ParseDockerfile, AcceptsWhatBuildKitAccepts) {
  for (const char* text :
       {"RUN", "CMD", "ENTRYPOINT", "ENV $none=v", "EXPOSE 0", "STOPSIGNAL -9", "COPY --chown=1:2:3 a b",
        "ONBUILD RNU x", "ARG --flag x", "STOPSIGNAL --x 9", "HEALTHCHECK --bogus NONE", "RUN [\"a\"]junk",
        "RUN ['a']", "CMD []", "COPY --from=$ a b", "from b as C", "RUN --mount=type=nonsense x",
        "LABEL a=${x", "COPY ${x:?a b} /"}) {
    EXPECT_EQ(error_of(std::string("FROM a\n") + text + "\n"), "accepted") << text;
  }
}

template <typename T>
T only(std::string_view line) {
  Dockerfile file = parse_dockerfile("FROM a\n" + std::string(line) + "\n", "Dockerfile");
  return std::get<T>(file.stages.at(0).commands.at(0));
}

TEST(ParseDockerfile, Stages) {
  Dockerfile file = parse_dockerfile(
      "# syntax=docker/dockerfile:1\nARG V=1 W\n# base is where it starts\nFROM --platform=$BUILDPLATFORM "
      "a:$V as Base\nRUN x\nFROM base\n",
      "D");
  ASSERT_EQ(file.meta_args.size(), 1u);
  EXPECT_EQ(file.meta_args[0].entries[0].value->text, "1");
  EXPECT_FALSE(file.meta_args[0].entries[1].value);
  ASSERT_EQ(file.stages.size(), 2u);
  const From& from = file.stages[0].from;
  EXPECT_EQ(from.image.text, "a:$V");
  EXPECT_EQ(from.platform->text, "$BUILDPLATFORM");
  EXPECT_EQ(from.platform->span.column, 17);
  EXPECT_EQ(from.name->text, "base");
  EXPECT_EQ(from.name_as_written, "Base");
  EXPECT_EQ(from.as_keyword, "as");
  EXPECT_EQ(file.stages[0].description, "is where it starts");
  EXPECT_EQ(file.stages[0].commands.size(), 1u);
}

TEST(ParseDockerfile, RunForms) {
  dockerfile::Run run = only<dockerfile::Run>(
      "RUN --mount=type=cache,target=/c --mount=target=/x --network=none --security=insecure --device=v/c=d  "
      "make  all ");
  EXPECT_TRUE(run.command.is_shell);
  EXPECT_EQ(run.command.args, std::vector<std::string>{"make  all"});
  EXPECT_EQ(run.mounts[1].text, "target=/x");
  EXPECT_EQ(run.network, RunNetwork::kNone);
  EXPECT_EQ(run.security, RunSecurity::kInsecure);
  EXPECT_EQ(run.devices[0].text, "v/c=d");
  run = only<dockerfile::Run>("RUN [ \"a\", \"$b\" ]");
  EXPECT_FALSE(run.command.is_shell);
  EXPECT_EQ(run.command.args, (std::vector<std::string>{"a", "$b"}));
  run = only<dockerfile::Run>("RUN [\"a\"]junk");
  EXPECT_TRUE(run.command.is_shell);
  EXPECT_EQ(only<dockerfile::Run>("RUN").command.args, std::vector<std::string>{""});
  EXPECT_FALSE(only<Entrypoint>("ENTRYPOINT []").command.is_shell);
  EXPECT_TRUE(only<Entrypoint>("ENTRYPOINT []").command.args.empty());
}

TEST(ParseDockerfile, CopyAndAdd) {
  Copy copy = only<Copy>(
      "COPY --from=b --chown=u:g --chmod=u+x --link --parents --exclude=*.md --exclude=\"a b\" x 'y' /z");
  EXPECT_EQ(copy.from->text, "b");
  EXPECT_EQ(copy.chown->text, "u:g");
  EXPECT_EQ(copy.chmod->text, "u+x");
  EXPECT_TRUE(copy.link && copy.parents);
  EXPECT_EQ(copy.excludes[1].text, "a b");
  EXPECT_EQ(copy.sources[1].text, "'y'");
  EXPECT_EQ(copy.destination.text, "/z");
  copy = only<Copy>("COPY <<-'A' b <<C /d/\n\ta\nA\nc\nC");
  EXPECT_EQ(copy.sources.size(), 1u);
  ASSERT_EQ(copy.heredocs.size(), 2u);
  EXPECT_EQ(copy.heredocs[0].chomped_content(), "a\n");
  EXPECT_FALSE(copy.heredocs[0].expand);
  EXPECT_EQ(copy.heredocs[1].content, "c\n");
  Add add = only<Add>("ADD --keep-git-dir=false --unpack --checksum=sha256:1 u /d");
  EXPECT_EQ(add.keep_git_dir, false);
  EXPECT_EQ(add.unpack, true);
  EXPECT_EQ(add.checksum->text, "sha256:1");
  EXPECT_FALSE(only<Add>("ADD u /d").unpack.has_value());
}

TEST(ParseDockerfile, KeyValues) {
  Env env = only<Env>("ENV a=1 b=\"x y\" c=a\\ b");
  ASSERT_EQ(env.entries.size(), 3u);
  EXPECT_EQ(env.entries[1].value.text, "\"x y\"");
  EXPECT_EQ(env.entries[1].key.span.column, 9);
  EXPECT_EQ(env.entries[1].value.span.column, 11);
  EXPECT_EQ(env.entries[2].value.text, "a\\ b");
  env = only<Env>("ENV a b  c=d");
  ASSERT_EQ(env.entries.size(), 1u);
  EXPECT_TRUE(env.entries[0].is_legacy);
  EXPECT_EQ(env.entries[0].value.text, "b  c=d");
}

TEST(ParseDockerfile, HealthcheckGoesToTheConfig) {
  Healthcheck health = only<Healthcheck>("HEALTHCHECK --interval=1m30s --timeout=0s --retries=3 CMD  a b");
  EXPECT_EQ(health.test, (std::vector<std::string>{"CMD-SHELL", "a b"}));
  EXPECT_EQ(health.interval_ns, 90'000'000'000);
  EXPECT_EQ(health.retries, 3);
  EXPECT_EQ(only<Healthcheck>("HEALTHCHECK CMD [\"a\"]").test, (std::vector<std::string>{"CMD", "a"}));
  EXPECT_EQ(only<Healthcheck>("HEALTHCHECK none").test, std::vector<std::string>{"NONE"});
}

TEST(ParseDockerfile, OnbuildKeepsTheTextAndItsHeredocs) {
  Onbuild onbuild = only<Onbuild>("onbuild  COPY <<E <<F /x/\n hi\nE\nyo\nF");
  EXPECT_EQ(onbuild.trigger, "COPY <<E <<F /x/\n hi\nE\nyo\nF");
  Command command = parse_instruction(onbuild.trigger, "ONBUILD of image a");
  EXPECT_EQ(std::get<Copy>(command).heredocs.at(1).content, "yo\n");
  EXPECT_EQ(keyword_of(command), "COPY");
  EXPECT_THROW(parse_instruction("RNU x", "a"), Error);
  EXPECT_THROW(parse_instruction("RUN x\nRUN y", "a"), Error);
  EXPECT_THROW(parse_instruction("FROM x", "a"), Error);
}

TEST(RunScript, TellsScriptFromCommand) {
  RunScript script = run_script(only<dockerfile::Run>("RUN <<-EOF\n\tone\n\ttwo\nEOF"));
  EXPECT_EQ(script.text, "one\ntwo\n");
  EXPECT_FALSE(script.is_file);
  EXPECT_EQ(script.summary, "<<EOF (one...)");
  script = run_script(only<dockerfile::Run>("RUN <<EOF\n#!/usr/bin/awk -f\nEOF"));
  EXPECT_TRUE(script.is_file);
  EXPECT_EQ(script.file_name, "EOF");
  script = run_script(only<dockerfile::Run>("RUN cat <<A | tee <<B\n1\nA\n2\nB"));
  EXPECT_EQ(script.text, "cat <<A | tee <<B\n1\nA\n2\nB");
  EXPECT_EQ(run_script(only<dockerfile::Run>("RUN make")).text, "make");
}

TEST(Stages, AreFoundByName) {
  auto stages = parse_dockerfile("FROM a AS Build\nFROM b AS test\nFROM c AS build\nFROM d\n", "D").stages;
  EXPECT_EQ(find_stage(stages, "BUILD"), 2u);
  EXPECT_EQ(find_stage(stages, "build", 2), 0u);
  EXPECT_EQ(find_base_stage(stages, "Build", 3), std::nullopt);
  EXPECT_EQ(find_base_stage(stages, "build", 3), 2u);
  EXPECT_EQ(find_target(stages, ""), 3u);
  EXPECT_EQ(find_target(stages, "Test"), 1u);
  EXPECT_EQ(stage_label(stages, 3), "stage-3");
  EXPECT_EQ(find_stage_index(stages, "0"), 0u);
  EXPECT_EQ(find_stage_index(stages, "x"), std::nullopt);
  EXPECT_THROW(find_stage_index(stages, "4"), Error);
  try {
    find_target(stages, "bulid");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "target stage \"bulid\" could not be found (did you mean build?)");
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
}

TEST(Excerpt, MarksThePlace) {
  std::string text = "FROM a\n\nENV b=1\nRUN \t--mont=x y\nRUN z\nRUN w\nRUN v\n";
  try {
    parse_dockerfile(text, "sub/Dockerfile");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(render_excerpt(text, *error.span()),
              "sub/Dockerfile:4\n"
              "--------------------\n"
              "   2 |     \n"
              "   3 |     ENV b=1\n"
              "   4 | >>> RUN \t--mont=x y\n"
              "     |         \t^\n"
              "   5 |     RUN z\n"
              "   6 |     RUN w\n"
              "--------------------\n");
  }
  EXPECT_EQ(render_excerpt(text, {.file = "D", .line = 99}), "");
  EXPECT_EQ(render_excerpt("a\nb\nc\nd", {.file = "D", .line = 1, .end_line = 2}),
            "D:1\n--------------------\n   1 | >>> a\n   2 | >>> b\n   3 |     c\n   4 |     "
            "d\n--------------------\n");
  EXPECT_NE(render_excerpt("ADD http://u:pw@h/x http://h/@ /", {.file = "D", .line = 1, .column = 5})
                .find("ADD http://****@h/x http://h/@ /\n     |         ^"),
            std::string::npos);
  EXPECT_EQ(render_excerpt("\x1b[31mred", {.file = "D", .line = 1}).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace corten::dockerfile
