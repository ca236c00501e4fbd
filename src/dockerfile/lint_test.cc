#include "dockerfile/lint.h"

#include <gtest/gtest.h>

#include "dockerfile/instructions.h"

namespace corten::dockerfile {
namespace {

// "line rule: message" for each finding.
std::vector<std::string> findings_of(std::string_view text, const LintOptions& options = {}) {
  std::vector<std::string> lines;
  for (const Diagnostic& finding : lint(parse_dockerfile_until_error(text, "Dockerfile"), options).findings)
    lines.push_back(fmt::format("{} {}: {}", finding.span.line, finding.rule, finding.message));
  return lines;
}

using Lines = std::vector<std::string>;

TEST(Lint, FindsNothingInACleanFile) {
  EXPECT_EQ(
      findings_of("ARG V=1\n# base has the tools\nFROM --platform=$BUILDPLATFORM debian:$V AS base\nWORKDIR "
                  "/a\nWORKDIR b\n"
                  "ENV A=1 PUBLIC_KEY=x KEYS=1\nEXPOSE 80 443/udp\nSHELL [\"/bin/bash\", \"-c\"]\nCMD x\n"
                  "FROM base AS amd64-x\nWORKDIR c\nCMD y\nFROM --platform=linux/amd64 a AS my-amd64\n"),
      Lines{});
}

TEST(Lint, Rules) {
  struct Case {
    const char* text;
    Lines expected;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"FROM a AS Base\n", {"1 StageNameCasing: Stage name 'Base' should be lowercase"}},
           {"FROM a as b\n", {"1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"}},
           {"FROM a\nRUN b \\\n\n c\n", {"4 NoEmptyContinuation: Empty continuation line"}},
           {"FROM a\nRUN b\nrun c\nRun d\n",
            {"3 ConsistentInstructionCasing: Command 'run' should match the case of the command majority "
             "(uppercase)",
             "4 ConsistentInstructionCasing: Command 'Run' should match the case of the command majority "
             "(uppercase)"}},
           {"from a\nrun b\nRUN c\n",
            {"3 ConsistentInstructionCasing: Command 'RUN' should match the case of the command majority "
             "(lowercase)"}},
           {"FROM a AS x\nFROM b AS x\n",
            {"2 DuplicateStageName: Duplicate stage name \"x\", stage names should be unique"}},
           {"FROM a AS scratch\n",
            {"1 ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\""}},
           {"FROM a\nCMD x\nENTRYPOINT [\"y\"]\n",
            {"2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior "
             "related to OS signals"}},
           {"FROM a\nMAINTAINER me\n",
            {"2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label"}},
           {"ARG VERSION=1\nFROM a:$VERSOIN\n",
            {"2 InvalidDefaultArgInFrom: Default value for ARG a:$VERSOIN results in empty or invalid base "
             "image name",
             "2 UndefinedArgInFrom: FROM argument 'VERSOIN' is not declared (did you mean VERSION?)"}},
           {"ARG T\nFROM a:$T\n",
            {"2 InvalidDefaultArgInFrom: Default value for ARG a:$T results in empty or invalid base image "
             "name"}},
           {"ARG T=x\nFROM a:$T-$TARGETARCH\n", {}},
           {"FROM a\nWORKDIR app\nWORKDIR x\n",
            {"2 WorkdirRelativePath: Relative workdir \"app\" can have unexpected results if the base image "
             "changes"}},
           {"FROM a\nCMD [\"x\"]\nCMD [\"y\"]\nCMD [\"z\"]\n",
            {"2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same "
             "stage because only the last one will be used",
             "3 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same "
             "stage because only the last one will be used"}},
           {"FROM a\nENV b c\n",
            {"2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" "
             "format"}},
           {"FROM --platform=$TARGETPLATFORM a\n",
            {"1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant "
             "as this is the default behavior"}},
           {"FROM a\nARG API_KEY\nENV my_token=1 token_file=x\n",
            {"2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "
             "\"API_KEY\")",
             "3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "
             "\"my_token\")"}},
           {"FROM --platform=linux/amd64 a\n",
            {"1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "
             "\"linux/amd64\""}},
           {"FROM a\nEXPOSE 80/TCP 127.0.0.1:80:80 $x\n",
            {"2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port "
             "mapping, found '127.0.0.1:80:80'",
             "2 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase"}}})
    EXPECT_EQ(findings_of(c.text), c.expected) << c.text;
}

TEST(Lint, ChecksCanBeSkipped) {
  EXPECT_EQ(findings_of("# check=skip=MaintainerDeprecated\nFROM a\nMAINTAINER x\n"), Lines{});
  EXPECT_EQ(findings_of("# check=skip=all\nFROM a\nMAINTAINER x\n"), Lines{});
  EXPECT_EQ(findings_of("FROM a\n# check=skip=MaintainerDeprecated because\nMAINTAINER x\n"), Lines{});
  EXPECT_EQ(findings_of("# check=skip=all\nFROM a\nMAINTAINER x\n", {.check_options = "error=false"}).size(),
            1u);
  EXPECT_THROW(findings_of("# check=skp=all\nFROM a\n"), Error);
}

TEST(Lint, ErrorsAreAskedFor) {
  LintResult result = lint(
      parse_dockerfile_until_error("# check=error=true\nFROM a as b\nMAINTAINER x\nMAINTAINER y\n", "D"));
  EXPECT_TRUE(result.is_error);
  EXPECT_EQ(result.error_message(), "lint violation found for rules: FromAsCasing, MaintainerDeprecated");
  EXPECT_FALSE(lint(parse_dockerfile_until_error("# check=error=true\nFROM a\n", "D")).is_error);
}

TEST(Lint, ExperimentalRulesAreAskedFor) {
  EXPECT_EQ(findings_of("# what it is\nARG x\nFROM a\n"), Lines{});
  EXPECT_EQ(
      findings_of("# check=experimental=all\n#\n# what it is\nARG x\n# x is y\nFROM a AS x\n"),
      Lines{"4 InvalidDefinitionDescription: Comment for ARG should follow the format: `# x <description>`"});
}

TEST(Lint, IgnoredSources) {
  IgnoreMatcher some(std::vector<std::string>{"*.md", "dir"});
  EXPECT_EQ(ignored_source("a.md", some), "a.md");
  EXPECT_EQ(ignored_source("./dir/x", some), "dir/x");
  EXPECT_EQ(ignored_source(".", some), std::nullopt);
  EXPECT_EQ(ignored_source("/a.md", some), std::nullopt);
  EXPECT_EQ(ignored_source("/", IgnoreMatcher(std::vector<std::string>{"**"})), "/");
  EXPECT_EQ(ignored_source("a.md", IgnoreMatcher({"*.md", "!a.md"})), std::nullopt);
  EXPECT_EQ(findings_of("FROM a\nADD dir http://x/dir /\nCOPY --from=b dir /\n", {.ignore = &some}),
            Lines{"2 CopyIgnoredFile: Attempting to Add file \"dir\" that is excluded by .dockerignore"});
}

TEST(Lint, WhatTheBaseBrings) {
  LintOptions options;
  options.platform = oci::parse_platform("linux/amd64");
  EXPECT_EQ(findings_of("FROM a\nENV X=$JAVA_HOME\nCMD x\n", options).size(), 1u)
      << "an unknown base may set it";
  EXPECT_EQ(findings_of("FROM a\nARG JAVA_HOME\nENV X=$PAHT\n", options),
            Lines{"3 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)"})
      << "unless it looks like a slip";
  options.base = [](const std::string&, const oci::Platform&) {
    return BaseFacts{{{"JAVA_HOME", "/j"}}, true, {}, oci::parse_platform("linux/arm64")};
  };
  EXPECT_EQ(
      findings_of("FROM a\nENV X=$JAVA_HOME Y=$NOPE\nCMD x\nFROM --platform=linux/arm64 a AS arm64\n",
                  options),
      (Lines{"1 InvalidBaseImagePlatform: Base image a was pulled with platform \"linux/arm64\", expected "
             "\"linux/amd64\" for current build",
             "2 UndefinedVar: Usage of undefined variable '$NOPE'"}));
  EXPECT_EQ(findings_of("# check=skip=InvalidBaseImagePlatform\nFROM a\n", options), Lines{});
}

TEST(LintRules, HaveNamesAndPages) {
  EXPECT_EQ(lint_rules().size(), 22u);
  Diagnostic finding = make_diagnostic("StageNameCasing", "m", {});
  EXPECT_EQ(finding.url, "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/");
  EXPECT_THROW(make_diagnostic("NoSuchRule", "m", {}), Error);
}

}  // namespace
}  // namespace corten::dockerfile
