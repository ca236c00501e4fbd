// corten ecr: repositories, scans and logins of Amazon ECR.
#include <stdio.h>

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "registry/cloud/aws_sts.h"
#include "registry/cloud/ecr.h"
#include "registry/cloud/ecr_ensure.h"
#include "registry/login.h"
#include "report/table.h"

namespace corten::cli {

namespace {

namespace cloud = registry::cloud;

// What every verb needs; opened once its flags are read.
class Aws {
 public:
  cloud::AwsContext context() { return {http_, clock_, environment_}; }
  // Credentials first: who has none needs no advice about regions.
  struct Found {
    cloud::AwsCredentials credentials;
    std::string region;
  };
  Found find(const std::string& flag, const std::string& from_host) {
    std::string wanted = flag.empty() ? from_host : flag;
    std::string known = wanted.empty() ? cloud::configured_region(environment_) : wanted;
    auto credentials = cloud::require_credentials(context(), known.empty() ? "us-east-1" : known);
    return {std::move(credentials), cloud::required_region(environment_, wanted)};
  }
  cloud::Ecr ecr(const std::string& flag, const cloud::EcrImage& image) {
    Found found = find(flag, image.region);
    return {context(), std::move(found.credentials), found.region, image.account};
  }

 private:
  http::Client http_;
  SystemClock clock_;
  cloud::Environment environment_ = cloud::system_environment();
};

void add_region_flag(CLI::App& app, std::string& region) {
  app.add_option(
      "--region", region,
      "AWS region (the one in the registry's name, $AWS_REGION, $AWS_DEFAULT_REGION, the profile's)");
}

void check_format(const std::string& format) {
  if (format != "table" && format != "json")
    fail(ErrorCode::kUsage, "--format {}: it is table or json", quote(format));
}

std::string shown(const std::string& value) {
  return value.empty() ? "not set" : value;
}

void print_outcome(const cloud::RepositoryWish& wish, const cloud::EnsuredRepository& outcome, bool dry) {
  std::string name = outcome.uri.empty() ? wish.name : printable(outcome.uri);
  if (outcome.is_new)
    fmt::print("{} {}\n", name, dry ? "is missing and would be made" : "made");
  else if (!outcome.is_changed() && outcome.unchangeable.empty())
    fmt::print("{} is as it should be: nothing changed\n", name);
  else
    fmt::print("{}\n", name);
  for (const auto& setting : outcome.settings) {
    std::string before = outcome.is_new || !setting.is_changed()
                             ? ""
                             : fmt::format(" ({} {})", dry ? "now" : "was", shown(setting.before));
    fmt::print("  {}: {}{}\n", setting.name, printable(setting.after), printable(before));
  }
}

void print_preview(const cloud::Ecr& ecr, const std::string& repository, const std::string& policy) {
  if (policy.empty()) {
    fmt::print("no lifecycle policy: nothing expires\n");
    return;
  }
  auto images = cloud::preview_expiry(ecr, repository, policy);
  if (images.empty()) {
    fmt::print("the lifecycle policy would expire nothing now\n");
    return;
  }
  report::Table table({"WOULD EXPIRE", "TAGS", "PUSHED", "RULE"});
  for (const cloud::ExpiringImage& image : images)
    table.add(
        {image.digest, join(image.tags, ","), format_rfc3339(image.pushed_s), std::to_string(image.rule)});
  fputs(table.text().c_str(), stdout);
}

int ensure(const Arguments& arguments) {
  cloud::RepositoryWish wish;
  std::string region, name;
  bool scan = false, preview = false;
  int days = 0;
  CLI::App app("Makes a repository that is missing, and sets what differs. A second run changes nothing.",
               "ecr ensure");
  app.add_option("REPOSITORY", name, "its name, or ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME")->required();
  auto* scan_flag =
      app.add_flag("--scan-on-push,!--no-scan-on-push", scan, "scan every image that is pushed");
  app.add_option("--encryption", wish.encryption,
                 "AES256, KMS or KMS_DSSE; fixed when the repository is made");
  app.add_option("--kms-key", wish.kms_key, "key for --encryption KMS (Amazon's own)");
  auto* days_flag = app.add_option("--expire-days", days, "expire images that many days after their push");
  app.add_option("--tag-mutability", wish.tag_mutability, "MUTABLE or IMMUTABLE");
  app.add_flag("--preview", preview, "change nothing: show what would be, and which images would expire");
  add_region_flag(app, region);
  parse_flags(app, arguments);
  cloud::EcrImage image = cloud::parse_ecr_image(name);
  if (name.find_first_of(":@") != std::string::npos)
    fail(ErrorCode::kUsage, "{}: a repository is meant, without tag or digest", quote(name));
  wish.name = image.repository;
  wish.encryption = to_upper(wish.encryption);
  wish.tag_mutability = to_upper(wish.tag_mutability);
  if (scan_flag->count() > 0) wish.scan_on_push = scan;
  if (days_flag->count() > 0) wish.expire_days = days;
  cloud::check_wish(wish);

  Aws aws;
  cloud::Ecr ecr = aws.ecr(region, image);
  cloud::EnsuredRepository outcome = cloud::ensure_repository(ecr, wish, preview);
  print_outcome(wish, outcome, preview);
  if (preview && outcome.is_new)
    fmt::print("a repository without images: nothing expires\n");
  else if (preview)
    print_preview(ecr, wish.name, outcome.policy);
  for (const auto& setting : outcome.unchangeable)
    throw Error(ErrorCode::kExists,
                fmt::format("{}: its {} is {}, not {}, and ECR cannot change it", wish.name, setting.name,
                            printable(setting.before), setting.after))
        .with_hint(
            "it is fixed when a repository is made: use another name, or move its images and make it anew");
  return 0;
}

void print_findings(const cloud::ScanReport& report, const std::string& format) {
  if (format == "json") {
    Json json = Json::object({{"status", report.status}, {"findings", Json::array()}});
    for (const cloud::ScanFinding& f : report.findings)
      json["findings"].push_back(Json::object({{"id", f.id},
                                               {"severity", f.severity},
                                               {"package", f.package},
                                               {"version", f.version},
                                               {"fixedIn", f.fixed_in},
                                               {"title", f.title},
                                               {"uri", f.uri}}));
    fmt::print("{}\n", json.dump());
    return;
  }
  if (!report.findings.empty()) {
    report::Table table({"SEVERITY", "ID", "PACKAGE", "VERSION", "FIXED IN"});
    for (const cloud::ScanFinding& f : report.findings)
      table.add({f.severity, f.id, f.package, f.version, f.fixed_in});
    fputs(table.text().c_str(), stdout);
  }
  std::map<int, std::pair<std::string, int>> counts;
  for (const cloud::ScanFinding& f : report.findings) {
    auto& [severity, count] = counts[cloud::severity_rank(f.severity)];
    severity = printable(f.severity);
    count++;
  }
  std::vector<std::string> words;
  for (const auto& [rank, count] : counts) words.push_back(fmt::format("{} {}", count.second, count.first));
  fmt::print("scan {}: {}\n", report.status, words.empty() ? "no findings" : join(words, ", "));
}

int findings(const Arguments& arguments) {
  cloud::ScanWish wish;
  std::string name, region, format = "table";
  std::vector<std::string> severities;
  CLI::App app("Shows what ECR's own scanner found; exit code 1 when --severity is among it.",
               "ecr findings");
  app.add_option("IMAGE", name, "image in ECR, by tag or digest")->required();
  app.add_option("--severity", severities,
                 "fail when there is one of these: CRITICAL, HIGH, MEDIUM, LOW, INFORMATIONAL, UNDEFINED")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--wait", wish.wait_s, "wait so many seconds for a scan that is not ready");
  app.add_flag("--start", wish.starts, "ask for a scan when there was none");
  app.add_option("--format", format, "table or json");
  add_region_flag(app, region);
  parse_flags(app, arguments);
  check_format(format);
  for (std::string& severity : severities) {
    severity = to_upper(severity);
    if (cloud::severity_rank(severity) > 5)
      fail(ErrorCode::kUsage, "--severity {}: no such", quote(severity));
  }
  wish.image = cloud::parse_ecr_image(name);
  Aws aws;
  cloud::Ecr ecr = aws.ecr(region, wish.image);
  cloud::ScanReport report = cloud::scan_findings(ecr, wish);
  if (!report.is_complete())
    throw Error(ErrorCode::kFailed, fmt::format("{}: the scan is {}{}", quote(name), report.status,
                                                report.description.empty() ? "" : ": " + report.description))
        .with_hint(report.is_pending() ? "--wait SECONDS waits for it" : "");
  print_findings(report, format);
  bool is_bad = std::any_of(report.findings.begin(), report.findings.end(), [&](const cloud::ScanFinding& f) {
    return std::find(severities.begin(), severities.end(), f.severity) != severities.end();
  });
  return is_bad ? 1 : 0;
}

int login(const Arguments& arguments) {
  std::string name, region, authfile;
  CLI::App app("Logs in to a registry of ECR for twelve hours. Corten's own pushes and pulls need no login.",
               "ecr login");
  app.add_option("REGISTRY", name, "ACCOUNT.dkr.ecr.REGION.amazonaws.com (default: the caller's own)");
  app.add_option("--authfile", authfile, "file to write (as 'corten login')");
  add_region_flag(app, region);
  parse_flags(app, arguments);
  cloud::EcrImage place;
  if (!name.empty()) {
    auto host = cloud::parse_ecr_host(name);
    if (!host)
      fail(ErrorCode::kUsage, "{} is no registry of ECR (ACCOUNT.dkr.ecr.REGION.amazonaws.com)", quote(name));
    place.account = host->account;
    place.region = host->region;
  }
  Aws aws;
  cloud::EcrLogin found = cloud::ecr_login(aws.ecr(region, place));
  std::string host = name.empty() ? found.host : name;
  if (!cloud::parse_ecr_host(host))
    fail(ErrorCode::kFailed, "ECR names a registry that is none: {}", quote(host));
  registry::SavedLogin saved =
      registry::save_login(host, {.user = found.user, .password = found.password, .source = "ECR"}, authfile);
  if (!saved.is_encrypted)
    print_warning(
        fmt::format("the token is stored unencrypted in {}: a credential helper would keep it better",
                    quote(saved.place)));
  fmt::print("Login Succeeded: {} until {}\n", host, format_rfc3339(found.expires_s));
  return 0;
}

int whoami(const Arguments& arguments) {
  std::string region, format = "table";
  CLI::App app("Says whose credentials these are: account, region, ARN, and which source gave them.",
               "ecr whoami");
  app.add_option("--format", format, "table or json");
  add_region_flag(app, region);
  parse_flags(app, arguments);
  check_format(format);
  Aws aws;
  auto [credentials, used] = aws.find(region, "");
  cloud::AwsContext context = aws.context();
  cloud::CallerIdentity identity =
      cloud::Sts{context.http, context.clock, context.environment, used}.caller_identity(credentials);
  std::string host = cloud::ecr_host(printable(identity.account), used);
  if (format == "json") {
    fmt::print("{}\n", Json::object({{"account", identity.account},
                                     {"region", used},
                                     {"arn", identity.arn},
                                     {"registry", host},
                                     {"source", credentials.source}})
                           .dump());
    return 0;
  }
  fmt::print("account:     {}\nregion:      {}\nidentity:    {}\nregistry:    {}\ncredentials: {}\n",
             printable(identity.account), used, printable(identity.arn), host, printable(credentials.source));
  return 0;
}

}  // namespace

int command_ecr(const Arguments& arguments) {
  std::string verb = arguments.empty() ? "" : arguments[0];
  Arguments rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (verb == "login") return login(rest);
  if (verb == "ensure") return ensure(rest);
  if (verb == "findings") return findings(rest);
  if (verb == "whoami") return whoami(rest);
  if (verb == "--help" || verb == "-h")
    throw HelpWanted{
        "Amazon ECR.\n"
        "Usage: corten ecr login|ensure|findings|whoami ...\n\n"
        "  login     keep a token of twelve hours for docker and others\n"
        "  ensure    make a repository that is missing, set scan on push, expiry, mutability; --preview\n"
        "  findings  what ECR's scanner found in an image\n"
        "  whoami    account, region and identity of the credentials\n\n"
        "Credentials are looked for where the AWS CLI looks: variables, a web identity, profiles, "
        "containers,\n"
        "the instance. Pushes and pulls to a registry of ECR use them by themselves.\n"};
  throw Error(ErrorCode::kUsage, verb.empty() ? "ecr: login, ensure, findings or whoami?"
                                              : fmt::format("ecr {}: no such command", quote(verb)))
      .with_hint("see 'corten ecr --help'");
}

}  // namespace corten::cli
