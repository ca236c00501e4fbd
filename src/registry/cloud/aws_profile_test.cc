// What profiles give: keys, roles, SSO, programs. The loopback servers refuse what Amazon's would refuse.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "registry/cloud/aws_machine_test.h"
#include "registry/cloud/aws_process.h"
#include "registry/cloud/ecr.h"

namespace corten::registry::cloud {
namespace {

using http::answer;

constexpr const char* kId = "AKIAIOSFODNN7EXAMPLE";
constexpr const char* kSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

TEST(AwsProfile, ProfilesOfBothFiles) {
  Machine machine;
  machine.file("credentials",
               fmt::format("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", kId, kSecret));
  machine.file("config",
               "[profile dev]\naws_access_key_id = AKIADEVDEVDEVDEVDEV1\naws_secret_access_key = d\n"
               "[profile sso]\nsso_session = s\n[profile empty]\nregion = x\n");
  EXPECT_EQ(machine.search().found->access_key, kId);
  machine.set("AWS_PROFILE", "dev");
  EXPECT_EQ(machine.search().found->access_key, "AKIADEVDEVDEVDEVDEV1");
  machine.set("AWS_PROFILE", "gone");
  EXPECT_FALSE(machine.search().found);
  EXPECT_TRUE(has(machine.why("profile"), "\"gone\" is neither in"));
  machine.set("AWS_PROFILE", "sso");
  EXPECT_TRUE(has(machine.why("profile"), "sso_session, and neither sso_account_id"));
  machine.set("AWS_PROFILE", "empty");
  EXPECT_TRUE(has(machine.why("profile"), "no aws_access_key_id"));
}

TEST(AwsProfile, ARoleWithASourceProfile) {
  std::string seen;
  http::Server sts([&](const std::string& request) {
    seen = request;
    return answer("200 OK",
                  "<R><Credentials><AccessKeyId>ASIAROLEROLEROLEROLE</AccessKeyId><SecretAccessKey>r&amp;s"
                  "</SecretAccessKey><SessionToken>t</SessionToken></Credentials></R>");
  });
  Machine machine;
  machine.set("AWS_ENDPOINT_URL_STS", sts.url(""));
  machine.file("credentials",
               fmt::format("[keys]\naws_access_key_id = {}\naws_secret_access_key = {}\n", kId, kSecret));
  machine.file(
      "config",
      "[default]\nrole_arn = arn:aws:iam::123456789012:role/push\nsource_profile = keys\nexternal_id = x\n");
  auto found = machine.search().found;
  ASSERT_TRUE(found) << machine.why("profile");
  EXPECT_EQ(found->access_key, "ASIAROLEROLEROLEROLE");
  EXPECT_EQ(found->secret_key, "r&s");
  EXPECT_TRUE(
      has(seen,
          "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpush"
          "&RoleSessionName=corten&ExternalId=x"));
  EXPECT_TRUE(has(
      seen,
      "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20231114/eu-west-1/sts/aws4_request"));
}

TEST(AwsProfile, ARoleOfARoleOfAProgram) {
  std::vector<std::string> seen;
  http::Server sts([&](const std::string& request) {
    seen.push_back(request);
    return answer("200 OK", fmt::format("<Credentials><AccessKeyId>ASIAROLEROLEROLEROL{}</AccessKeyId>"
                                        "<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
                                        "<Expiration>2023-11-14T23:13:20Z</Expiration></Credentials>",
                                        seen.size()));
  });
  Machine machine;
  machine.set("AWS_ENDPOINT_URL_STS", sts.url(""));
  const std::string program = machine.file(
      "keys.json", fmt::format(R"({{"Version":1,"AccessKeyId":"{}","SecretAccessKey":"{}"}})", kId, kSecret));
  machine.file("config", fmt::format("[default]\nrole_arn = arn:b\nsource_profile = a\n"
                                     "[profile a]\nrole_arn = arn:a\nsource_profile = program\n"
                                     "[profile program]\ncredential_process = cat {}\n",
                                     program));
  auto found = machine.search().found;
  ASSERT_TRUE(found) << machine.why("profile");
  EXPECT_EQ(found->access_key, "ASIAROLEROLEROLEROL2");
  EXPECT_EQ(found->expires_s, 1'700'003'600);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_TRUE(has(seen[0], "RoleArn=arn%3Aa&") && has(seen[0], "Credential=AKIAIOSFODNN7EXAMPLE/"));
  EXPECT_TRUE(has(seen[1], "RoleArn=arn%3Ab&") && has(seen[1], "Credential=ASIAROLEROLEROLEROL1/"));
}

TEST(AwsProfile, RolesThatLeadNowhere) {
  Machine machine;
  machine.file("config",
               "[default]\nrole_arn = arn:a\nsource_profile = other\n"
               "[profile other]\nrole_arn = arn:b\nsource_profile = default\n"
               "[profile self]\nrole_arn = arn:a\nsource_profile = self\n"
               "[profile none]\nrole_arn = arn:a\n"
               "[profile both]\nrole_arn = arn:a\nsource_profile = self\ncredential_source = Environment\n"
               "[profile gone]\nrole_arn = arn:a\nsource_profile = nowhere\n"
               "[profile empty]\nregion = x\n"
               "[profile of-empty]\nrole_arn = arn:a\nsource_profile = empty\n"
               "[profile odd]\nrole_arn = arn:a\ncredential_source = Moon\n"
               "[profile variables]\nrole_arn = arn:a\ncredential_source = Environment\n");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"default", "leads back to it"},
      {"self", "leads back to it"},
      {"none", "none of source_profile"},
      {"both", "more than one of"},
      {"gone", "\"nowhere\" is in neither file"},
      {"of-empty", "\"empty\" has no credentials"},
      {"odd", "credential_source \"Moon\""},
      {"variables", "AWS_ACCESS_KEY_ID is not set"}};
  for (const auto& [name, part] : cases) {
    machine.set("AWS_PROFILE", name);
    EXPECT_TRUE(has(machine.why("profile"), part)) << name << ": " << machine.why("profile");
    EXPECT_EQ(machine.search().tried.back().name, "profile") << "nothing later may be asked";
  }
}

TEST(AwsProfile, ARoleWithTheInstancesCredentials) {
  http::Server sts([&](const std::string& request) {
    EXPECT_TRUE(has(request, "Credential=ASIAINSTANCEINSTANCE/"));
    return answer("200 OK",
                  "<Credentials><AccessKeyId>ASIAROLEROLEROLEROLE</AccessKeyId><SecretAccessKey>s"
                  "</SecretAccessKey><SessionToken>t</SessionToken></Credentials>");
  });
  http::Server metadata([&](const std::string& request) {
    if (request.starts_with("PUT ")) return answer("200 OK", "imds-token");
    if (request.starts_with("GET /latest/meta-data/iam/security-credentials/ "))
      return answer("200 OK", "builder");
    return answer("200 OK", R"({"AccessKeyId":"ASIAINSTANCEINSTANCE","SecretAccessKey":"s","Token":"t"})");
  });
  Machine machine;
  machine.set("AWS_ENDPOINT_URL_STS", sts.url(""));
  machine.set("AWS_EC2_METADATA_DISABLED", "");
  machine.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url(""));
  machine.file("config", "[default]\nrole_arn = arn:a\ncredential_source = Ec2InstanceMetadata\n");
  auto found = machine.search().found;
  ASSERT_TRUE(found) << machine.why("profile");
  EXPECT_EQ(found->access_key, "ASIAROLEROLEROLEROLE");
}

TEST(AwsProcess, CommandsAreCutAsTheAwsCliCutsThem) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(split_command("a  b\tc\n"), (Words{"a", "b", "c"}));
  EXPECT_EQ(split_command(R"("/opt/my tool/x" 'a "b"' c\ d "e\"f\\g\h" '' i"j"'k')"),
            (Words{"/opt/my tool/x", "a \"b\"", "c d", "e\"f\\g\\h", "", "ijk"}));
  EXPECT_EQ(split_command("a $HOME ~ ; | # `b`"), (Words{"a", "$HOME", "~", ";", "|", "#", "`b`"}));
  EXPECT_EQ(split_command(""), Words{});
  for (const char* bad : {"a 'b", "a \"b", "a \"b\\\"", "a\\"})
    EXPECT_THROW(split_command(bad), Error) << bad;
}

TEST(AwsProcess, WhatMayBeAKeyIsNotShown) {
  EXPECT_EQ(without_keys("Traceback\n  ...\nError: session of dev expired at 2023-01-01T00:00:00Z\n"),
            "Error: session of dev expired at 2023-01-01T00:00:00Z");
  EXPECT_EQ(without_keys(fmt::format("bad key {} of {}!", kSecret, kId)), "bad key *** of ***!");
  EXPECT_EQ(without_keys("\x1b[31mred\x1b[0m").find('\x1b'), std::string::npos);
  EXPECT_LE(without_keys(std::string(100'000, 'x')).size(), 510u);
}

// A machine whose default profile has that program; the program is a shell script.
struct ProcessMachine : Machine {
  explicit ProcessMachine(const std::string& script) {
    file("program", "#!/bin/sh\n" + script);
    chmod(path("program").c_str(), 0755);
    file("config",
         fmt::format("[default]\ncredential_process = \"{}\" --token 'se cret'\n", path("program")));
  }
};

TEST(AwsProcess, KeysOfAProgram) {
  ProcessMachine machine(fmt::format(
      "[ $# -eq 2 ] && [ \"$2\" = 'se cret' ] && [ -z \"$(cat)\" ] || exit 9\necho noise >&2\n"
      R"(echo '{{"Version":1,"AccessKeyId":"{}","SecretAccessKey":"{}","SessionToken":"t","Expiration":"2023-11-14T23:13:20Z"}}')",
      kId, kSecret));
  auto found = machine.search().found;
  ASSERT_TRUE(found) << machine.why("profile");
  EXPECT_EQ(found->access_key, kId);
  EXPECT_EQ(found->session_token, "t");
  EXPECT_EQ(found->source, "credential_process of profile \"default\"");
  EXPECT_EQ(found->expires_s, 1'700'003'600);
  EXPECT_FALSE(is_expiring(*found, machine.clock()));
  machine.clock().advance_ns(int64_t{3'550} * 1'000'000'000);
  EXPECT_TRUE(is_expiring(*found, machine.clock()));
}

// What fails ends the search, and no argument, no output and no key is in what is said.
TEST(AwsProcess, WhatAProgramDoesWrong) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"echo wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY; exit 0", "its output is no JSON"},
      {"echo '{\"Version\":2}'", "not of Version 1"},
      {"echo '[]'", "not of Version 1"},
      {"echo '{\"Version\":1,\"AccessKeyId\":\"AKIAIOSFODNN7EXAMPLE\"}'", "lacks AccessKeyId or"},
      {"echo '{\"Version\":1,\"AccessKeyId\":5}'", "expected a string, found a number"},
      {"echo '{\"Version\":1,\"AccessKeyId\":\"AKIAIOSFODNN7EXAMPLE\",\"SecretAccessKey\":\"wJalr\","
       "\"Expiration\":\"2023-11-14T22:13:20Z\"}'",
       "expired at 2023-11-14T22:13:20Z"},
      {"echo '{\"Version\":1,\"AccessKeyId\":\"AKIAIOSFODNN7EXAMPLE\",\"SecretAccessKey\":\"wJalr\","
       "\"Expiration\":\"soon\"}'",
       "is no time"},
      {"echo '{\"Version\":1,\"AccessKeyId\":\"AKIA\",\"SecretAccessKey\":\"wJalr\"}'", "key id is none"},
      {"echo \"with wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY you are not logged in\" >&2; exit 4",
       "exit code 4: with *** you are not logged in"},
      {"head -c 300000 /dev/zero", "more than"}};
  for (const auto& [script, part] : cases) {
    ProcessMachine machine(script + "\n");
    machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/must-not-be-asked");
    const std::string why = machine.why("profile");
    EXPECT_TRUE(has(why, part)) << script << ": " << why;
    for (const char* secret : {"se cret", "wJalr"}) EXPECT_FALSE(has(why, secret)) << why;
    EXPECT_EQ(machine.search().tried.back().name, "profile");
  }
  Machine machine;
  machine.file("config",
               "[default]\ncredential_process = /nowhere/at-all x\n[profile q]\n"
               "credential_process = a 'b\n");
  EXPECT_TRUE(has(machine.why("profile"), "/nowhere/at-all: program not found"));
  machine.set("AWS_PROFILE", "q");
  EXPECT_TRUE(has(machine.why("profile"), "a quote of the command is not closed"));
}

TEST(AwsProcess, ItsPlaceAmongKeys) {
  Machine machine;
  const std::string keys = machine.file(
      "keys.json", R"({"Version":1,"AccessKeyId":"AKIAPROGRAMPROGRAM00","SecretAccessKey":"p"})");
  machine.file("config", fmt::format("[default]\naws_access_key_id = AKIACONFIGCONFIGCONF\n"
                                     "aws_secret_access_key = c\ncredential_process = cat {}\n",
                                     keys));
  EXPECT_EQ(machine.search().found->access_key, "AKIAPROGRAMPROGRAM00");
  machine.file("credentials",
               fmt::format("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", kId, kSecret));
  EXPECT_EQ(machine.search().found->access_key, kId);
}

// A long command goes on with new keys when the old ones end.
TEST(AwsProcess, IsAskedAgainWhenItsKeysEnd) {
  ProcessMachine machine("exec cat \"$0.json\"\n");
  auto give = [&](int number, const char* until) {
    machine.file("program.json",
                 fmt::format(R"({{"Version":1,"AccessKeyId":"AKIAPROGRAMPROGRAM0{}","SecretAccessKey":"s",)"
                             R"("Expiration":"{}"}})",
                             number, until));
  };
  std::vector<std::string> seen;
  http::Server server([&](const std::string& request) {
    seen.push_back(request.substr(request.find("Credential=") + 11, 20));
    return answer("200 OK", "{}");
  });
  machine.set("AWS_ENDPOINT_URL_ECR", server.url(""));
  give(1, "2023-11-14T23:13:20Z");
  const Ecr ecr(machine.context(), *machine.search().found, "eu-west-1");
  give(2, "2023-11-15T00:13:20Z");
  ecr.call("DescribeRepositories", Json::object());
  machine.clock().advance_ns(int64_t{3'590} * 1'000'000'000);
  ecr.call("DescribeRepositories", Json::object());
  ecr.call("DescribeRepositories", Json::object());
  EXPECT_EQ(seen, (std::vector<std::string>{"AKIAPROGRAMPROGRAM01", "AKIAPROGRAMPROGRAM02",
                                            "AKIAPROGRAMPROGRAM02"}));
}

// IAM Identity Center as it answers: GetRoleCredentials without a signature, CreateToken as JSON.
class SsoMachine : public Machine {
 public:
  SsoMachine()
      : portal_([this](const std::string& request) { return role(request); }),
        oidc_([this](const std::string& request) { return token(request); }) {
    set("AWS_ENDPOINT_URL_SSO", portal_.url(""));
    set("AWS_ENDPOINT_URL_SSO_OIDC", oidc_.url(""));
    set("AWS_PROFILE", "dev");
    file("config",
         "[profile dev]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Push & Pull\n"
         "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.invalid/start\n"
         "sso_registration_scopes = sso:account:access\n"
         "[profile old]\nsso_account_id = 123456789012\nsso_role_name = Push & Pull\n"
         "sso_region = eu-west-1\nsso_start_url = https://corp.invalid/start\n");
  }
  std::string good_token = "aoaAAAA.good";
  std::vector<std::string> asked;  // at the portal
  int renewals = 0;
  std::string renewal = "200 OK";

 private:
  std::string role(const std::string& request) {
    asked.push_back(request);
    if (!request.starts_with(
            "GET /federation/credentials?role_name=Push%20%26%20Pull&account_id=123456789012 "))
      return answer("400 Bad Request", R"({"message":"Invalid request","__type":"InvalidRequestException"})");
    if (has(request, "Authorization:")) return answer("403 Forbidden", "");
    if (!has(to_lower(request), "x-amz-sso_bearer_token: " + to_lower(good_token) + "\r\n"))
      return answer("401 Unauthorized",
                    R"({"message":"Session token not found or invalid","__type":"UnauthorizedException"})");
    return answer(
        "200 OK",
        R"({"roleCredentials":{"accessKeyId":"ASIASSOSSOSSOSSOSSO1","secretAccessKey":"sso-secret",)"
        R"("sessionToken":"sso-token","expiration":1700003600000}})");
  }
  std::string token(const std::string& request) {
    renewals++;
    EXPECT_TRUE(request.starts_with("POST /token "));
    EXPECT_TRUE(has(to_lower(request), "content-type: application/json"));
    const Json input = Json::parse(request.substr(request.find("\r\n\r\n") + 4));
    EXPECT_EQ(input.get_string("grantType"), "refresh_token");
    EXPECT_EQ(input.get_string("clientId"), "client");
    EXPECT_EQ(input.get_string("clientSecret"), "client-secret");
    EXPECT_EQ(input.get_string("refreshToken"), "refresh-1");
    if (renewal != "200 OK")
      return answer(renewal, R"({"error":"invalid_grant","error_description":"no more refresh-1"})");
    return answer("200 OK", fmt::format(R"({{"accessToken":"{}","tokenType":"Bearer","expiresIn":28800,)"
                                        R"("refreshToken":"refresh-2"}})",
                                        good_token));
  }
  http::Server portal_, oidc_;
};

// SHA-1 of "corp", and of the start address.
constexpr const char* kOfSession = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
constexpr const char* kOfStart = ".aws/sso/cache/991e16bf7d00c657d7099cb3208e45e03b5cd0ca.json";

TEST(AwsSso, TheTokenOfASessionBuysTheKeysOfARole) {
  SsoMachine machine;
  machine.file(kOfSession, R"({"accessToken":"aoaAAAA.good","expiresAt":"2023-11-15T06:00:00Z"})");
  auto found = machine.search().found;
  ASSERT_TRUE(found) << machine.why("profile");
  EXPECT_EQ(found->access_key, "ASIASSOSSOSSOSSOSSO1");
  EXPECT_EQ(found->secret_key, "sso-secret");
  EXPECT_EQ(found->session_token, "sso-token");
  EXPECT_EQ(found->expires_s, 1'700'003'600);
  EXPECT_EQ(found->source, "SSO of profile \"dev\"");
  EXPECT_EQ(machine.renewals, 0);
}

TEST(AwsSso, TheOlderFormHasTheTokenOfItsStartAddress) {
  SsoMachine machine;
  machine.set("AWS_PROFILE", "old");
  machine.file(kOfStart, R"({"accessToken":"aoaAAAA.good","expiresAt":"2023-11-15T06:00:00UTC"})");
  EXPECT_TRUE(machine.search().found) << machine.why("profile");
  // It is not renewed: it has nothing to be renewed with.
  machine.file(kOfStart, R"({"accessToken":"aoaAAAA.good","expiresAt":"2023-11-14T22:13:20UTC",)"
                         R"("refreshToken":"refresh-1"})");
  EXPECT_TRUE(has(machine.why("profile"), "expired at 2023-11-14T22:13:20Z"));
  EXPECT_EQ(machine.search().run, "aws sso login --profile old");
  EXPECT_EQ(machine.renewals, 0);
}

TEST(AwsSso, WhoIsNotLoggedInIsToldWhatToRunAndNothingIsSent) {
  SsoMachine machine;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "nobody is logged in"},
      {R"({"accessToken":"aoaAAAA.good","expiresAt":"2023-11-14T22:13:20Z"})",
       "expired at 2023-11-14T22:13:20Z, and was not renewed: no clientId was kept"},
      {R"({"accessToken":"aoaAAAA.good"})", "holds no token"},
      {R"({"accessToken":"a\r\nX-Evil: 1","expiresAt":"2023-11-15T06:00:00Z"})", "holds no token"},
      {R"({"accessToken":5,"expiresAt":"2023-11-15T06:00:00Z"})", "holds no token"},
      {"aoaAAAA.good", "holds no token"}};
  for (const auto& [text, part] : cases) {
    if (!text.empty()) machine.file(kOfSession, text);
    try {
      require_credentials(machine.context(), "eu-west-1");
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_TRUE(has(error.what(), "environment: ") && has(error.what(), part)) << error.what();
      EXPECT_TRUE(has(error.what(), "profile: profile \"dev\": SSO session \"corp\"")) << error.what();
      EXPECT_FALSE(has(error.what(), "aoaAAAA"));
      EXPECT_EQ(error.hint(), "Please run: aws sso login --profile dev");
    }
  }
  EXPECT_TRUE(machine.asked.empty());
}

TEST(AwsSso, ATokenThatIsRefusedIsNotShown) {
  SsoMachine machine;
  machine.file(kOfSession, R"({"accessToken":"aoaAAAA.other","expiresAt":"2023-11-15T06:00:00Z"})");
  const std::string why = machine.why("profile");
  EXPECT_TRUE(has(why, "SSO role \"Push & Pull\" in account \"123456789012\": 401")) << why;
  EXPECT_TRUE(has(why, "Session token not found or invalid"));
  EXPECT_FALSE(has(why, "aoaAAAA"));
  EXPECT_EQ(machine.search().run, "aws sso login --profile dev");
}

constexpr const char* kEnding =
    R"({"startUrl":"https://corp.invalid/start","region":"eu-west-1","accessToken":"aoaAAAA.old",)"
    R"("expiresAt":"2023-11-14T22:20:00Z","clientId":"client","clientSecret":"client-secret",)"
    R"("registrationExpiresAt":"2024-01-01T00:00:00Z","refreshToken":"refresh-1","other":"kept"})";

TEST(AwsSso, ATokenThatEndsSoonIsRenewedAndKept) {
  SsoMachine machine;
  machine.file(kOfSession, kEnding);
  ASSERT_TRUE(machine.search().found) << machine.why("profile");
  EXPECT_EQ(machine.renewals, 1);
  const Json kept = Json::parse(read_file(machine.path(kOfSession)));
  EXPECT_EQ(kept.get_string("accessToken"), "aoaAAAA.good");
  EXPECT_EQ(kept.get_string("expiresAt"), "2023-11-15T06:13:20Z");
  EXPECT_EQ(kept.get_string("refreshToken"), "refresh-2");
  EXPECT_EQ(kept.get_string("clientSecret"), "client-secret");
  EXPECT_EQ(kept.get_string("other"), "kept");
  struct stat status {};
  ASSERT_EQ(stat(machine.path(kOfSession).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_TRUE(machine.search().found);
  EXPECT_EQ(machine.renewals, 1);
}

TEST(AwsSso, ATokenThatIsNotRenewedServesUntilItsEnd) {
  SsoMachine machine;
  machine.renewal = "400 Bad Request";
  machine.good_token = "aoaAAAA.old";
  machine.file(kOfSession, kEnding);
  EXPECT_TRUE(machine.search().found) << machine.why("profile");
  machine.clock().advance_ns(int64_t{600} * 1'000'000'000);
  const std::string why = machine.why("profile");
  EXPECT_TRUE(
      has(why, "expired at 2023-11-14T22:20:00Z, and was not renewed: 400 invalid_grant: no more ***"))
      << why;
  EXPECT_EQ(machine.search().run, "aws sso login --profile dev");
}

TEST(AwsSso, SettingsThatAreIncompleteOrContradict) {
  SsoMachine machine;
  machine.file(
      "config",
      "[profile a]\nsso_session = gone\nsso_account_id = 1\nsso_role_name = r\n"
      "[profile b]\nsso_session = corp\nsso_account_id = 1\nsso_region = us-east-1\n"
      "[profile c]\nsso_account_id = 1\nsso_start_url = https://corp.invalid\n"
      "[profile d]\nsso_account_id = 1\nsso_role_name = r\nsso_start_url = x\nsso_region = evil.org/\n"
      "[sso-session corp]\nsso_region = eu-west-1\n");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a", "its sso_session \"gone\" is in no"},
      {"b", "its sso_region is not the one of sso-session \"corp\""},
      {"c", "is for SSO and lacks sso_role_name, sso_region"},
      {"d", "sso_region: \"evil.org/\" is no region"}};
  for (const auto& [name, part] : cases) {
    machine.set("AWS_PROFILE", name);
    EXPECT_TRUE(has(machine.why("profile"), part)) << name << ": " << machine.why("profile");
  }
  EXPECT_TRUE(machine.asked.empty());
}

}  // namespace
}  // namespace corten::registry::cloud
