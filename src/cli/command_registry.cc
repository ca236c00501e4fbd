// corten registry clean: takes away what nothing needs, and nothing that anything reaches.
#include <stdio.h>
#include <stdlib.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "registry/access.h"
#include "registry/clean/acr_repository.h"
#include "registry/clean/cleaner.h"
#include "registry/clean/ecr_repository.h"
#include "registry/clean/github_repository.h"
#include "registry/clean/in_use.h"
#include "registry/cloud/acr.h"
#include "registry/cloud/cloud_credentials.h"
#include "report/table.h"

namespace corten::cli {

namespace {

namespace clean = registry::clean;
namespace cloud = registry::cloud;

constexpr size_t kMaxInUseBytes = 64 << 20;

struct CleanFlags {
  std::vector<std::string> repositories, tags, in_use_files;
  std::string older_than, api, format = "table";
  int keep_last = -1;
  bool untagged = false, yes = false, all = false;
};

// "30d", "2w", and Go's "12h".
int64_t parse_age(const std::string& text) {
  std::string_view number = std::string_view(text).substr(0, text.empty() ? 0 : text.size() - 1);
  int64_t unit = text.ends_with('w') ? 7 * 86'400 : text.ends_with('d') ? 86'400 : 0;
  if (auto count = parse_int(number); unit > 0 && count && *count >= 0 && *count < 100'000)
    return *count * unit;
  auto duration = parse_duration(text);
  if (!duration || *duration < 0)
    fail(ErrorCode::kUsage, "--older-than {}: write it as 30d, 2w or 12h", quote(text));
  return *duration / 1'000'000'000;
}

// Everything that outlives one repository.
class Cleaning {
 public:
  explicit Cleaning(const CleanFlags& flags) : flags_(flags) {
    credentials_.add_provider(cloud::cloud_provider());
    rules_.tags = flags.tags;
    if (!flags.older_than.empty()) rules_.older_than_s = parse_age(flags.older_than);
    if (flags.keep_last >= 0) rules_.keep_last = flags.keep_last;
    rules_.untagged = flags.untagged;
  }

  // False when something that was to go could not be deleted.
  bool clean_one(const std::string& name) {
    oci::Reference reference = oci::Reference::parse(name);
    if (!reference.tag().empty() || reference.digest())
      throw Error(ErrorCode::kUsage,
                  fmt::format("{}: a repository is meant, without tag or digest", quote(name)))
          .with_hint("--tags PATTERN says which tags");
    clean::Rules rules = rules_with_use(reference.name());
    std::unique_ptr<clean::Repository> repository = open(reference);
    clean::Snapshot snapshot = clean::read_snapshot(*repository, rules);
    clean::Plan plan = clean::plan_cleaning(snapshot, rules, clock_.now_s());
    if (flags_.format == "table") print_plan(reference.familiar(), plan);
    clean::Cleaned cleaned;
    if (flags_.yes) cleaned = carry_out(*repository, rules, snapshot, plan);
    if (flags_.format == "json") print_json(reference.familiar(), plan, cleaned);
    if (!plan.blocked_by.empty())
      throw Error(ErrorCode::kFailed,
                  fmt::format("{}: {} stays and cannot be understood, so nobody can say what it "
                              "reaches: nothing is deleted",
                              reference.familiar(), printable(plan.blocked_by)));
    return cleaned.failed.empty();
  }

 private:
  clean::Rules rules_with_use(const std::string& repository) const {
    clean::Rules rules = rules_;
    for (const std::string& file : flags_.in_use_files) {
      clean::InUse used;
      clean::add_in_use(read_file(file, kMaxInUseBytes), repository, used);
      if (!used.names_images)
        throw Error(ErrorCode::kInvalid, fmt::format("--in-use-file {}: it names no image", quote(file)))
            .with_hint("an empty list of what is in use would let everything go");
      rules.in_use_digests.insert(used.digests.begin(), used.digests.end());
      rules.in_use_tags.insert(used.tags.begin(), used.tags.end());
    }
    return rules;
  }

  std::unique_ptr<clean::Repository> open(const oci::Reference& reference) {
    const std::string& host = reference.registry();
    registry::Endpoint endpoint = hosts_.origin(host);
    std::string name = reference.repository();
    if (auto ecr = cloud::parse_ecr_host(host)) {
      cloud::AwsContext context{http_, clock_};
      return std::make_unique<clean::EcrRepository>(
          access(), endpoint, name,
          cloud::Ecr(context, cloud::require_credentials(context, ecr->region), ecr->region, ecr->account));
    }
    if (flags_.api == "github" || (flags_.api.empty() && host == "ghcr.io"))
      return std::make_unique<clean::GithubRepository>(access(), endpoint, name, http_, github(name));
    if (flags_.api == "acr" || (flags_.api.empty() && cloud::is_acr_host(host)))
      return std::make_unique<clean::AcrRepository>(access(), endpoint, name);
    if (flags_.untagged)
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format(
              "--untagged: {} has no list of untagged manifests (the distribution protocol knows none)",
              host))
          .with_hint("its own garbage collection finds them; ECR, GitHub and ACR have such lists");
    return std::make_unique<clean::DistributionRepository>(access(), endpoint, name);
  }

  clean::GithubApi github(const std::string& repository) const {
    clean::GithubApi api;
    cloud::Environment get = cloud::system_environment();
    if (std::string url = get("GITHUB_API_URL"); !url.empty()) api.url = url;
    for (const char* variable : {"GH_TOKEN", "GITHUB_TOKEN"})
      if (api.token.empty()) api.token = get(variable);
    if (api.token.empty()) api.token = credentials_.find("ghcr.io", repository).password;
    return api;
  }

  registry::Access& access() {
    if (!access_)
      access_ = std::make_unique<registry::Access>(
          registry::Access::Options{.http = {}, .credentials = credentials_, .clock = nullptr});
    return *access_;
  }

  clean::Cleaned carry_out(clean::Repository& repository, const clean::Rules& rules,
                           const clean::Snapshot& snapshot, const clean::Plan& plan) {
    auto* github = dynamic_cast<clean::GithubRepository*>(&repository);
    bool is_table = flags_.format == "table";
    clean::Cleaned cleaned =
        clean::carry_out(repository, rules, snapshot, plan, clock_, [&](const clean::Verdict& done) {
          std::string restore = github ? github->restore_url(done.name) : "";
          if (is_table)
            fmt::print("deleted {}{}\n", printable(done.name),
                       restore.empty() ? "" : "; to bring it back within 30 days: POST " + restore);
        });
    if (is_table) {
      for (const clean::Verdict& kept : cleaned.kept)
        fmt::print("kept {}: {}\n", printable(kept.name), printable(kept.reason));
      for (const clean::Verdict& failed : cleaned.failed)
        print_error(Error(ErrorCode::kFailed, failed.name + ": " + failed.reason));
      fmt::print("{}: {} manifests and {} tags deleted, {}\n", repository.name(), cleaned.removed,
                 cleaned.untagged, human_size(cleaned.bytes));
    }
    return cleaned;
  }

  void print_plan(const std::string& name, const clean::Plan& plan) const {
    report::Table table({"", "NAME", "WHY"});
    size_t rows = 0;
    for (const auto* verdicts : {&plan.tags, &plan.manifests})
      for (const clean::Verdict& verdict : *verdicts)
        if (verdict.is_deleted || flags_.all) {
          table.add({verdict.is_deleted ? "delete" : "keep", verdict.name, verdict.reason});
          rows++;
        }
    if (rows > 0) fputs(table.text().c_str(), stdout);
    size_t kept_tags = 0;
    for (const clean::Verdict& verdict : plan.tags) kept_tags += verdict.is_deleted ? 0 : 1;
    fmt::print("{}: {} of {} manifests and {} of {} tags would go, {}\n", name, plan.removals.size(),
               plan.manifests.size(), plan.tags.size() - kept_tags, plan.tags.size(), human_size(plan.bytes));
    if (!flags_.yes && (!plan.removals.empty() || !plan.untags.empty()))
      fmt::print("nothing is deleted yet: --yes does it\n");
  }

  void print_json(const std::string& name, const clean::Plan& plan, const clean::Cleaned& cleaned) const {
    auto list = [](const std::vector<clean::Verdict>& verdicts) {
      Json array = Json::array();
      for (const clean::Verdict& verdict : verdicts)
        array.push_back(Json::object(
            {{"name", verdict.name}, {"delete", verdict.is_deleted}, {"reason", verdict.reason}}));
      return array;
    };
    fmt::print("{}\n", Json::object({{"repository", name},
                                     {"dryRun", !flags_.yes},
                                     {"tags", list(plan.tags)},
                                     {"manifests", list(plan.manifests)},
                                     {"bytes", plan.bytes},
                                     {"removed", static_cast<uint64_t>(cleaned.removed)},
                                     {"kept", list(cleaned.kept)},
                                     {"failed", list(cleaned.failed)}})
                           .dump());
  }

  const CleanFlags& flags_;
  clean::Rules rules_;
  SystemClock clock_;
  http::Client http_;
  registry::Credentials credentials_ = registry::Credentials::from_system();
  registry::Hosts hosts_ = registry::Hosts::from_system();
  std::unique_ptr<registry::Access> access_;
};

int clean_repositories(const Arguments& arguments) {
  CleanFlags flags;
  CLI::App app(
      "Deletes tags by rules, with everything that only they reach; keeps whatever a tag that stays, or a "
      "digest in use, reaches: platforms of an index, signatures, SBOMs. Shows what it would do; --yes does "
      "it.",
      "registry clean");
  app.add_option("REPOSITORY", flags.repositories, "HOST/NAME, without a tag; several")->required();
  app.add_option("--tags", flags.tags, "only tags that this pattern names ('pr-*'); repeatable")
      ->allow_extra_args(false);
  app.add_option("--older-than", flags.older_than, "only what is older (30d, 2w, 12h)");
  app.add_option("--keep-last", flags.keep_last, "keep the newest N images of those that the patterns name");
  app.add_flag("--untagged", flags.untagged, "delete what no tag reaches, too (ECR, GitHub, ACR)");
  app.add_option(
         "--in-use-file", flags.in_use_files,
         "keep what this file names: Kubernetes manifests, a digest record, kubectl's output; repeatable")
      ->allow_extra_args(false);
  app.add_option("--api", flags.api,
                 "what the registry understands where its name does not say it: acr, github, distribution");
  app.add_flag("--yes", flags.yes, "delete; without it nothing is changed");
  app.add_flag("--all", flags.all, "show what stays, too, and why");
  app.add_option("--format", flags.format, "table or json");
  parse_flags(app, arguments);
  if (flags.format != "table" && flags.format != "json")
    fail(ErrorCode::kUsage, "--format {}: it is table or json", quote(flags.format));
  if (!flags.api.empty() && flags.api != "acr" && flags.api != "github" && flags.api != "distribution")
    fail(ErrorCode::kUsage, "--api {}: it is acr, github or distribution", quote(flags.api));
  if (flags.tags.empty() && flags.older_than.empty() && flags.keep_last < 0 && !flags.untagged)
    throw Error(ErrorCode::kUsage, "no rule says what may go")
        .with_hint("--tags PATTERN, --older-than 30d, --keep-last N, --untagged; several are joined");
  Cleaning cleaning(flags);
  bool is_good = true;
  for (const std::string& name : flags.repositories) is_good = cleaning.clean_one(name) && is_good;
  return is_good ? 0 : 1;
}

}  // namespace

int command_registry(const Arguments& arguments) {
  std::string verb = arguments.empty() ? "" : arguments[0];
  Arguments rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (verb == "serve") {
    rest.insert(rest.begin(), "registry");
    return command_serve(rest);
  }
  if (verb == "clean" || verb == "--help" || verb == "-h")
    return clean_repositories(verb == "clean" ? rest : arguments);
  throw Error(ErrorCode::kUsage, verb.empty() ? "registry: clean or serve?"
                                              : fmt::format("registry {}: no such command", quote(verb)))
      .with_hint("see 'corten registry clean --help'");
}

}  // namespace corten::cli
