// corten acr: Azure's registry.
#include <stdio.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "registry/cloud/acr.h"
#include "registry/login.h"

namespace corten::cli {

namespace {

namespace cloud = registry::cloud;

constexpr size_t kMaxSecret = 64 << 10;

struct PlaceFlags {
  std::string registry, subscription, resource_group;
  void add_to(CLI::App& app) {
    app.add_option("--subscription", subscription,
                   "the registry's subscription ($AZURE_SUBSCRIPTION_ID; else all are searched)");
    app.add_option("--resource-group", resource_group,
                   "the registry's resource group ($AZURE_RESOURCE_GROUP)");
  }
};

class Azure {
 public:
  cloud::AcrResource open(const PlaceFlags& flags) {
    auto or_variable = [&](const std::string& flag, const char* name) {
      return flag.empty() ? context_.environment(name) : flag;
    };
    return {context_,
            token(),
            flags.registry,
            {or_variable(flags.subscription, "AZURE_SUBSCRIPTION_ID"),
             or_variable(flags.resource_group, "AZURE_RESOURCE_GROUP")}};
  }
  cloud::AzureToken token() {
    return cloud::require_azure_token(context_, cloud::azure_manager(context_.environment));
  }
  http::Client& http() { return http_; }

 private:
  http::Client http_;
  cloud::AzureContext context_{http_};
};

int login(const Arguments& arguments) {
  std::string name, authfile;
  CLI::App app(
      "Logs in to a registry of Azure with the identity that Azure's tools use. A service principal can also "
      "use "
      "'corten login -u APP_ID --password-stdin'.",
      "acr login");
  app.add_option("REGISTRY", name, "its name, or NAME.azurecr.io")->required();
  app.add_option("--authfile", authfile, "file to write (as 'corten login')");
  parse_flags(app, arguments);
  std::string host = cloud::acr_host(name);
  Azure azure;
  cloud::AzureToken token = azure.token();
  registry::Credential credential = cloud::exchange_acr_token(azure.http(), host, token);
  registry::SavedLogin saved = registry::save_login(host, credential, authfile);
  fmt::print("Login Succeeded: {} by {}, kept in {}\n", host, printable(token.source),
             printable(saved.place));
  return 0;
}

int import_image(const Arguments& arguments) {
  PlaceFlags place;
  cloud::AcrResource::Import import;
  std::string source, target;
  bool password_stdin = false;
  CLI::App app("Copies an image into a registry of Azure; no byte of it comes by here.", "acr import");
  app.add_option("SOURCE", source, "HOST/NAME:TAG or @DIGEST")->required();
  app.add_option("TARGET", target, "REGISTRY/NAME:TAG")->required();
  app.add_option("--source-resource", import.source_resource,
                 "SOURCE lies in the registry of Azure with this id");
  app.add_option("-u,--source-username", import.user, "user at the source");
  app.add_flag("--source-password-stdin", password_stdin,
               "read the password for the source from standard input");
  app.add_flag("--force", import.force, "move a tag that is there");
  place.add_to(app);
  parse_flags(app, arguments);
  if (!import.user.empty() && !password_stdin)
    fail(ErrorCode::kUsage, "--source-username needs --source-password-stdin");
  oci::Reference from = oci::Reference::parse(source).with_default_tag();
  import.source_registry = from.registry();
  import.source_image =
      from.repository() + (from.digest() ? "@" + from.digest()->to_string() : ":" + from.tag());
  size_t slash = target.find('/');
  if (slash == std::string::npos)
    fail(ErrorCode::kUsage, "TARGET {}: REGISTRY/NAME:TAG is meant", quote(target));
  place.registry = target.substr(0, slash);
  oci::Reference to = oci::Reference::parse("acr.invalid/" + target.substr(slash + 1)).with_default_tag();
  if (to.digest()) fail(ErrorCode::kUsage, "TARGET {}: a tag is meant", quote(target));
  import.tags = {to.repository() + ":" + to.tag()};
  if (password_stdin) import.password = std::string(trim(read_all(0, "standard input", kMaxSecret)));
  Azure azure;
  cloud::AcrResource registry = azure.open(place);
  registry.import_image(import);
  fmt::print("{}/{} imported from {}\n", registry.host(), import.tags[0], from.familiar());
  return 0;
}

int retention(const Arguments& arguments) {
  PlaceFlags place;
  int days = -1;
  bool off = false;
  CLI::App app("Shows or sets after how many days Azure deletes untagged manifests.", "acr retention");
  app.add_option("REGISTRY", place.registry, "its name, or NAME.azurecr.io")->required();
  auto* days_flag = app.add_option("--days", days, "0 to 365");
  app.add_flag("--off", off, "keep them");
  place.add_to(app);
  parse_flags(app, arguments);
  if (days_flag->count() > 0 && (off || days < 0 || days > 365))
    fail(ErrorCode::kUsage, "--days {}: 0 to 365, or --off", days);
  Azure azure;
  cloud::AcrResource registry = azure.open(place);
  std::optional<int> before = registry.retention_days(), wanted = before;
  if (off) wanted.reset();
  if (days_flag->count() > 0) wanted = days;
  if (wanted != before) registry.set_retention(wanted);
  auto text = [](std::optional<int> value) {
    return value ? fmt::format("{} days", *value) : std::string("off");
  };
  fmt::print("{}: retention of untagged manifests: {}{}\n", registry.host(), text(wanted),
             wanted != before ? fmt::format(" (was {})", text(before)) : "");
  if (wanted)
    print_warning(
        "Azure's retention is about manifests of Docker's media types alone, untagged after it was switched "
        "on; for "
        "OCI images run 'corten acr untagged --older-than 30d'");
  return 0;
}

// The cleaner does it: what an index or a signature needs is untagged, too.
int untagged(const Arguments& arguments) {
  Arguments words = {"clean", "--api", "acr", "--untagged"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return command_registry(words);
}

int build(const Arguments& arguments) {
  if (arguments.empty() || arguments[0].starts_with('-'))
    throw Error(ErrorCode::kUsage, "acr build: which registry?")
        .with_hint("corten acr build REGISTRY -t NAME:TAG DIRECTORY");
  Arguments words = {"--on", "acr:" + arguments[0]};
  words.insert(words.end(), arguments.begin() + 1, arguments.end());
  return command_build(words);
}

}  // namespace

int command_acr(const Arguments& arguments) {
  std::string verb = arguments.empty() ? "" : arguments[0];
  Arguments rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (verb == "login") return login(rest);
  if (verb == "import") return import_image(rest);
  if (verb == "untagged") return untagged(rest);
  if (verb == "retention") return retention(rest);
  if (verb == "build") return build(rest);
  if (verb == "--help" || verb == "-h")
    throw HelpWanted{
        "Azure Container Registry.\n"
        "Usage: corten acr login|import|untagged|retention|build ...\n\n"
        "  login      log in with the identity that Azure's tools use\n"
        "  import     copy an image into the registry, on Azure's side\n"
        "  untagged   delete untagged manifests that nothing needs (registry clean --untagged)\n"
        "  retention  show or set Azure's own retention of untagged manifests\n"
        "  build      build in Azure: corten acr build REGISTRY -t NAME:TAG DIRECTORY (build --on "
        "acr:REGISTRY)\n\n"
        "Identities: AZURE_CLIENT_ID, AZURE_TENANT_ID with AZURE_CLIENT_SECRET or "
        "AZURE_FEDERATED_TOKEN_FILE, 'az login',\n"
        "the machine's managed identity.\n"};
  throw Error(ErrorCode::kUsage, verb.empty() ? "acr: login, import, untagged, retention or build?"
                                              : fmt::format("acr {}: no such command", quote(verb)))
      .with_hint("see 'corten acr --help'");
}

}  // namespace corten::cli
