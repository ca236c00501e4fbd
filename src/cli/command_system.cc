#include <stdio.h>
#include <stdlib.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/version.h"
#include "sandbox/doctor.h"

namespace corten::cli {

int command_version(const Arguments& arguments) {
  bool is_json = arguments.size() == 2 && arguments[0] == "--format" && arguments[1] == "json";
  if (is_json)
    printf("{\"version\":\"%s\"}\n", kVersion);
  else
    printf("corten %s\n", kVersion);
  return 0;
}

int command_fsck(const Arguments& arguments) {
  CLI::App app("Read the whole store again and compare it with its digests.", "fsck");
  bool repair = false;
  app.add_flag("--repair", repair, "take away what is damaged; later builds make it again");
  parse_flags(app, arguments);
  Session session = Session::open();
  auto damages = session.store().check(repair);
  for (const auto& damage : damages)
    printf("%s: %s\n", printable(damage.what).c_str(), printable(damage.wrong).c_str());
  if (damages.empty())
    printf("The store %s is whole\n", session.store().path().c_str());
  else
    printf("%zu damaged%s\n", damages.size(),
           repair ? ", taken away" : "; 'corten fsck --repair' takes them away");
  return damages.empty() || repair ? 0 : 1;
}

int command_doctor(const Arguments& arguments) {
  CLI::App app("Try what this machine gives, and say how to climb.", "doctor");
  std::string format;
  app.add_option("--format", format, "table or json (one object a line)");
  parse_flags(app, arguments);
  std::string path = store::Store::default_path();
  int worst = 0;
  for (const sandbox::Finding& finding : sandbox::examine({path})) {
    const char* mark = finding.state == sandbox::Finding::State::kOk        ? "ok"
                       : finding.state == sandbox::Finding::State::kLimited ? "limited"
                                                                            : "missing";
    if (finding.state == sandbox::Finding::State::kMissing) worst = 1;
    if (format == "json") {
      printf("%s\n", Json::object({{"state", mark},
                                   {"subject", finding.subject},
                                   {"what", finding.what},
                                   {"climb", finding.climb}})
                         .dump()
                         .c_str());
      continue;
    }
    printf("%-8s %-22s %s\n", mark, finding.subject.c_str(), printable(finding.what).c_str());
    if (!finding.climb.empty()) printf("%32s-> %s\n", "", printable(finding.climb).c_str());
  }
  if (format != "json") {
    printf("%-8s %-22s %s\n", "ok", "store", path.c_str());
    ConfigFile config = read_config_file();
    printf("%-8s %-22s %s\n", "ok", "configuration", config.path.empty() ? "none" : config.path.c_str());
  }
  return worst;
}

}  // namespace corten::cli
