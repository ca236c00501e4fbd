// `corten buildx ...`: scripts that were written for docker buildx run unchanged. There are no builders to
// make.
#include <stdio.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "oci/platform.h"

namespace corten::cli {

int command_buildx(const Arguments& arguments) {
  std::string verb = arguments.empty() ? "" : arguments[0];
  Arguments rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (verb == "build" || verb == "b") return command_build(rest);
  if (verb == "version") {
    command_version({});
    return 0;
  }
  if (verb == "history") return command_builds(rest);

  if (verb == "imagetools") return command_imagetools(rest);
  if (verb == "du") return command_du(rest);
  if (verb == "prune") {
    rest.insert(rest.begin(), "--cache-only");
    return command_prune(rest);
  }
  if (verb == "ls") {
    fputs("NAME/NODE   DRIVER/ENDPOINT   STATUS    BUILDKIT   PLATFORMS\n", stdout);
    printf("corten*     none              running   -          %s\n", oci::host_platform().format().c_str());
    return 0;
  }
  if (verb == "create" || verb == "use" || verb == "inspect" || verb == "rm" || verb == "stop") {
    std::string name = "corten";
    for (size_t i = 0; i < rest.size(); i++) {
      if (rest[i] == "--name" && i + 1 < rest.size())
        name = rest[i + 1];
      else if (rest[i].starts_with("--name="))
        name = rest[i].substr(7);
      else if (!rest[i].starts_with('-') && verb != "create" && (i == 0 || rest[i - 1] != "--name"))
        name = rest[i];
    }
    fprintf(stderr, "no builder is needed: corten builds by itself ('buildx %s' does nothing)\n",
            verb.c_str());
    if (verb == "create") printf("%s\n", printable(name).c_str());
    if (verb == "inspect")
      printf("Name:      %s\nDriver:    none\nStatus:    running\nPlatforms: %s\n", printable(name).c_str(),
             oci::host_platform().format().c_str());
    return 0;
  }
  const std::vector<std::string> kVerbs = {"build", "create",  "use", "inspect", "ls",      "rm",
                                           "stop",  "version", "du",  "prune",   "history", "imagetools"};
  if (verb.empty() || verb == "--help" || verb == "-h") {
    printf(
        "Usage: corten buildx %s ...\n\n'build' is 'corten build'; the others are taken for scripts, for no "
        "builder is needed.\n",
        join(kVerbs, "|").c_str());
    return verb.empty() ? 2 : 0;
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("buildx {} is not executed yet{}", quote(verb), did_you_mean(verb, kVerbs)));
}

}  // namespace corten::cli
