// What clouds answer, what their files say, and what a cleaning makes of a repository's manifests.
#include <algorithm>

#include "base/json.h"
#include "base/strings.h"
#include "fuzz/fuzz.h"
#include "oci/reference.h"
#include "registry/clean/cleaner.h"
#include "registry/clean/in_use.h"
#include "registry/cloud/answer.h"
#include "registry/cloud/aws_config.h"
#include "registry/cloud/ecr.h"
#include "registry/cloud/ecr_ensure.h"
#include "registry/cloud/sigv4.h"

namespace corten::fuzz {

namespace cloud = registry::cloud;
namespace clean = registry::clean;

// An error names the line and shows nothing of it: it may be a key.
FUZZ_TARGET(aws_file, "[default]\naws_access_key_id = A\n# x\ns3 =\n  a = b\n", "[profile \"a b\"]\nregion=x",
            "[\n=", "a=b") {
  try {
    for (const auto& [name, section] : cloud::parse_aws_file(input, "f"))
      for (const auto& [key, value] : section)
        REQUIRE(value.find('\n') == std::string::npos && key == to_lower(key));
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::kInvalid);
    REQUIRE(std::string_view(error.what()).size() < 80);
  }
}

// What is taken for a registry of Amazon is one, and goes to Amazon.
FUZZ_TARGET(ecr_name, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1",
            "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
            "app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a") {
  if (auto host = cloud::parse_ecr_host(input)) {
    REQUIRE(input.ends_with(".amazonaws.com") || input.ends_with(".amazonaws.com.cn"));
    REQUIRE(host->account.size() == 12 && input.starts_with(host->account + ".dkr.ecr"));
    REQUIRE(host->region.find_first_of("./:@") == std::string::npos);
  }
  tolerate({ErrorCode::kInvalid}, [&] {
    cloud::EcrImage image = cloud::parse_ecr_image(std::string(input));
    REQUIRE(oci::is_valid_repository(image.repository));
    REQUIRE(!image.tag.empty() || !image.digest.empty());
  });
}

FUZZ_TARGET(xml_text, "<R><Code>a&amp;b</Code></R>", "<Code><Code>", "</Code><Code></Code>",
            "<Code>&amp;lt;</Code>") {
  std::string text = cloud::xml_text(input, "Code");
  REQUIRE(text.size() <= input.size());
}

// A rule for all images with this number is in it, the last; setting it again changes nothing.
FUZZ_TARGET(
    lifecycle_policy,
    R"({"rules":[{"rulePriority":3,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]})",
    R"({"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":9}}]})",
    R"({"rules":[]})", "{}") {
  tolerate({ErrorCode::kInvalid, ErrorCode::kExists}, [&] {
    std::string with = cloud::with_expiry(std::string(input), 30);
    REQUIRE(cloud::with_expiry(with, 30) == with);
    REQUIRE(Json::parse(with).find("rules")->size() > 0);
  });
}

// Pure, and of one line for each of its six parts.
FUZZ_TARGET(signed_request, "/a/../b//c", "/%2F?x", "/.", "//", "a/../../b\n") {
  cloud::RequestToSign request{.path = std::string(input), .query = {{std::string(input), "v"}}};
  request.fields = {{"Host", "h"}, {"X-A", std::string(input)}};
  std::string canonical = cloud::canonical_request(request);
  REQUIRE(split(canonical, '\n').size() == 8);
  REQUIRE(canonical == cloud::canonical_request(request));
  std::string path = split(canonical, '\n')[1];
  REQUIRE(path.starts_with('/') && path.find("//") == std::string::npos);
}

// Whatever a manifest says: what the kept tag reaches is never among what goes.
FUZZ_TARGET(cleaned_manifest, R"({"manifests":[{"digest":"sha256:b"}]})",
            R"({"config":{"digest":"sha256:c","size":1},"layers":[],"subject":{"digest":"sha256:b"}})",
            R"({"fsLayers":[]})",
            R"({"manifests":[{"digest":"sha512:a"}],"layers":[{"digest":"","size":-1}]})") {
  clean::Snapshot snapshot;
  snapshot.nodes["sha512:a"] = clean::parse_node("sha512:a", input);
  snapshot.nodes["sha256:b"] = {.digest = "sha256:b"};
  snapshot.tags = {{"kept", "sha512:a"}, {"pr-1", "sha256:b"}};
  const clean::Node& node = snapshot.nodes["sha512:a"];
  bool reaches = node.subject == "sha256:b" ||
                 std::find(node.children.begin(), node.children.end(), "sha256:b") != node.children.end();
  clean::Plan plan = clean::plan_cleaning(snapshot, {.tags = {"pr-*"}, .untagged = true}, 0);
  for (const std::string& digest : plan.removals)
    REQUIRE(digest == "sha256:b" && node.is_readable && !reaches);
}

FUZZ_TARGET(in_use, "image: a.test/app:1\n",
            "a.test/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "docker-pullable://a.test/app:x", "sha256:sha256:") {
  clean::InUse used;
  clean::add_in_use(input, "a.test/app", used);
  for (const std::string& tag : used.tags) REQUIRE(oci::is_valid_tag(tag));
  for (const std::string& digest : used.digests) REQUIRE(digest.size() == 71 || digest.size() == 135);
}

}  // namespace corten::fuzz
