#include "dockerfile/lint.h"

#include <cctype>

namespace corten::dockerfile {

namespace {
#define DOCS "https://docs.docker.com/go/dockerfile/rule/"
constexpr LintRule kRules[] = {
    {"StageNameCasing", DOCS "stage-name-casing/", "Stage names should be lowercase"},
    {"FromAsCasing", DOCS "from-as-casing/", "The 'as' keyword should match the case of the 'from' keyword"},
    {"NoEmptyContinuation", DOCS "no-empty-continuation/",
     "Empty continuation lines will become errors in a future release"},
    {"ConsistentInstructionCasing", DOCS "consistent-instruction-casing/",
     "All commands within the Dockerfile should use the same casing (either upper or lower)"},
    {"DuplicateStageName", DOCS "duplicate-stage-name/", "Stage names should be unique"},
    {"ReservedStageName", DOCS "reserved-stage-name/", "Reserved words should not be used as stage names"},
    {"JSONArgsRecommended", DOCS "json-args-recommended/",
     "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"},
    {"MaintainerDeprecated", DOCS "maintainer-deprecated/",
     "The MAINTAINER instruction is deprecated, use a label instead to define an image author"},
    {"UndefinedArgInFrom", DOCS "undefined-arg-in-from/", "FROM command must use declared ARGs"},
    {"WorkdirRelativePath", DOCS "workdir-relative-path/",
     "Relative workdir without an absolute workdir declared within the build can have unexpected results if "
     "the base image changes"},
    {"UndefinedVar", DOCS "undefined-var/", "Variables should be defined before their use"},
    {"MultipleInstructionsDisallowed", DOCS "multiple-instructions-disallowed/",
     "Multiple instructions of the same type should not be used in the same stage"},
    {"LegacyKeyValueFormat", DOCS "legacy-key-value-format/",
     "Legacy key/value format with whitespace separator should not be used"},
    {"InvalidBaseImagePlatform", "", "Base image platform does not match expected target platform"},
    {"RedundantTargetPlatform", DOCS "redundant-target-platform/",
     "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"},
    {"SecretsUsedInArgOrEnv", DOCS "secrets-used-in-arg-or-env/",
     "Sensitive data should not be used in the ARG or ENV commands"},
    {"InvalidDefaultArgInFrom", DOCS "invalid-default-arg-in-from/",
     "Default value for global ARG results in an empty or invalid base image name"},
    {"FromPlatformFlagConstDisallowed", DOCS "from-platform-flag-const-disallowed/",
     "FROM --platform flag should not use a constant value"},
    {"CopyIgnoredFile", DOCS "copy-ignored-file/",
     "Attempting to Copy file that is excluded by .dockerignore"},
    {"InvalidDefinitionDescription", DOCS "invalid-definition-description/",
     "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If "
     "this is not "
     "intended to be a description comment, add an empty line or comment between the instruction and the "
     "comment.",
     true},
    {"ExposeProtoCasing", DOCS "expose-proto-casing/", "Protocol in EXPOSE instruction should be lowercase"},
    {"ExposeInvalidFormat", DOCS "expose-invalid-format/",
     "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error "
     "in a future release"},
};
#undef DOCS
}  // namespace

std::span<const LintRule> lint_rules() {
  return kRules;
}

Diagnostic make_diagnostic(std::string_view rule, std::string message, SourceSpan span) {
  for (const LintRule& known : kRules)
    if (known.name == rule)
      return {std::string(rule), std::string(known.url), std::move(message), std::string(known.description),
              std::move(span)};
  fail(ErrorCode::kInternal, "no lint rule is called {}", rule);
}

}  // namespace corten::dockerfile
