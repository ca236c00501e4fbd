#include "cache/spec.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/strings.h"

namespace corten::cache {
namespace {

Variables variables(std::map<std::string, std::string> values = {}) {
  return [values = std::move(values)](const std::string& name) {
    auto found = values.find(name);
    return found == values.end() ? "" : found->second;
  };
}
Spec from(std::string_view text) {
  ParsedSpec parsed = parse_cache_from(text, variables());
  EXPECT_TRUE(parsed.remarks.empty());
  return parsed.spec.value();
}
Spec to(std::string_view text) {
  ParsedSpec parsed = parse_cache_to(text, variables());
  EXPECT_TRUE(parsed.remarks.empty());
  return parsed.spec.value();
}
// Message and hint of the refusal.
std::string refusal(const std::function<void()>& action, ErrorCode code = ErrorCode::kUsage) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return std::string(error.what()) + "\n" + error.hint();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}
std::string refused_from(std::string_view text, ErrorCode code = ErrorCode::kUsage) {
  return refusal([&] { from(text); }, code);
}
std::string refused_to(std::string_view text, ErrorCode code = ErrorCode::kUsage) {
  return refusal([&] { to(text); }, code);
}
bool has(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

TEST(CacheSpec, ABareReferenceIsARegistry) {
  EXPECT_EQ(from("user/app:cache").type, Spec::Type::kRegistry);
  EXPECT_EQ(from("user/app:cache").reference.to_string(), "docker.io/user/app:cache");
  EXPECT_EQ(to("localhost:5000/app").reference.to_string(), "localhost:5000/app:latest");
  EXPECT_EQ(to("localhost:5000/app").name(), "registry localhost:5000/app:latest");
  const ParsedSpec insecure = parse_cache_from("type=registry,ref=x.io/a,registry.insecure=true",
                                               [](const std::string&) { return std::string(); });
  ASSERT_EQ(insecure.remarks.size(), 1u);
  EXPECT_NE(insecure.remarks[0].find("registries.conf"), std::string::npos);
  EXPECT_EQ(from("TYPE=registry,Ref=x.io/a").reference.repository(), "a")
      << "buildx ignores the case of keys";
  EXPECT_EQ(from("\"type=registry\",\"ref=x.io/a\"").reference.repository(), "a");
}

TEST(CacheSpec, LocalDirectories) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  Spec source = from("type=local,src=/srv/c,tag=main,digest=" + digest);
  EXPECT_EQ(source.directory, "/srv/c");
  EXPECT_EQ(source.tag, "main");
  EXPECT_EQ(source.digest->to_string(), digest);
  Spec target = to("type=local,dest=c,mode=max");
  EXPECT_EQ(target.tag, "latest");
  EXPECT_EQ(target.max_bytes, kLocalMaxBytes) << "a directory on a disk has a limit";
  EXPECT_EQ(to("type=local,dest=c,max-size=2GB").max_bytes, 2'000'000'000u);
  EXPECT_EQ(to("type=local,dest=c,max-size=0").max_bytes, 0u);
  EXPECT_TRUE(to("type=local,dest=c,reset=1").is_reset);
  EXPECT_EQ(to("type=local,dest=c,tag=main").name(), "local c:main");
  EXPECT_EQ(to("type=local,\"dest=/a,b\"").directory, "/a,b");
  EXPECT_EQ(to("type=local,\"dest=/a,b\"").name(), "local /a,b");
}

TEST(CacheSpec, Buckets) {
  Spec plain = to("type=s3,bucket=b,region=eu-west-1");
  EXPECT_EQ(plain.s3.blobs_prefix, "blobs/");
  EXPECT_EQ(plain.s3.manifests_prefix, "manifests/");
  EXPECT_EQ(plain.s3.names, std::vector<std::string>{"buildkit"});
  EXPECT_EQ(plain.s3.upload_parallelism, 4u);
  EXPECT_FALSE(plain.s3.use_path_style);
  EXPECT_EQ(plain.max_bytes, 0u);
  Spec full = from(
      "type=s3,bucket=b,region=r,endpoint_url=http://127.0.0.1:9000,use_path_style=true,access_key_id=AK,"
      "secret_access_key=SK,session_token=ST,prefix=p/,blobs_prefix=x/,manifests_prefix=y/,name=a;b,"
      "upload_parallelism=8");
  EXPECT_TRUE(full.s3.use_path_style);
  EXPECT_EQ(full.s3.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(full.s3.secret_access_key, "SK");
  EXPECT_EQ(full.s3.session_token, "ST");
  EXPECT_EQ(full.name(), "s3 127.0.0.1:9000/b/p/:a;b");
  EXPECT_EQ(plain.name(), "s3 b");
  EXPECT_EQ(parse_cache_to("type=s3,region=r", variables({{"AWS_BUCKET", "of-env"}})).spec->s3.bucket,
            "of-env");
  EXPECT_EQ(
      parse_cache_to("type=s3,bucket=b,touch_refresh=1h,retry_mode=standard", variables()).remarks.size(),
      2u);
}

TEST(CacheSpec, WhatAnExportSays) {
  Spec plain = to("type=registry,ref=a");
  EXPECT_FALSE(plain.is_max);
  EXPECT_FALSE(plain.has_mounts);
  EXPECT_FALSE(plain.ignores_errors);
  EXPECT_EQ(plain.max_bytes, 0u);
  EXPECT_EQ(plain.timeout_s, 600);
  EXPECT_EQ(plain.compression.kind, oci::LayerCompression::kGzip);
  EXPECT_FALSE(plain.compression.level);
  Spec full =
      to("type=registry,ref=a,mode=max,compression-level=22,compression=zstd,force-compression=true,"
         "ignore-error=true,oci-mediatypes=true,image-manifest=true,mounts=true,max-size=1.5GB,timeout=5m");
  EXPECT_TRUE(full.is_max && full.has_mounts && full.ignores_errors && full.compression.force);
  EXPECT_EQ(full.compression.level, 22);
  EXPECT_EQ(full.compression.kind, oci::LayerCompression::kZstd);
  EXPECT_EQ(full.max_bytes, 1'500'000'000u);
  EXPECT_EQ(full.timeout_s, 300);
  EXPECT_FALSE(to("type=registry,ref=a,compression=zstd,compression-level=0").compression.level);
  EXPECT_EQ(to("type=registry,ref=a,compression-level=0").compression.level, 0);
  EXPECT_EQ(to("type=registry,ref=a,compression=uncompressed").compression.kind,
            oci::LayerCompression::kNone);
  EXPECT_EQ(parse_cache_to("type=registry,ref=a,image-manifest=false", variables()).remarks.size(), 1u);
}

TEST(CacheSpec, Inline) {
  EXPECT_EQ(to("type=inline").name(), "inline");
  ParsedSpec max = parse_cache_to("type=inline,mode=max", variables());
  EXPECT_EQ(max.remarks.size(), 1u);
  EXPECT_FALSE(max.spec->is_max);
  EXPECT_TRUE(has(refused_from("type=inline"), "type=registry,ref=IMAGE"));
  EXPECT_TRUE(has(refused_to("type=inline,mounts=true"), "no attribute mounts"));
}

TEST(CacheSpec, RefusesByName) {
  EXPECT_TRUE(has(refused_to("type=registry,ref=a,mod=max"), "\"mod\" is not known (did you mean mode?)"));
  EXPECT_TRUE(has(refused_from("type=registry,ref=a,mode=max"), "has no attribute mode"));
  EXPECT_TRUE(has(refused_from("type=local,dest=a"), "has no attribute dest"));
  EXPECT_TRUE(has(refused_from("type=regsitry,ref=a"), "did you mean registry?"));
  EXPECT_TRUE(has(refused_to("type=registry,ref=a,compression=estargz", ErrorCode::kUnsupported), "estargz"));
  EXPECT_TRUE(has(refused_from("type=azblob,account_url=u", ErrorCode::kUnsupported), "azurecr.io"));
  EXPECT_TRUE(has(refused_from("a,mode=max"), "\"a\" is no key=value"));
  for (const char* text :
       {"", " ", "ref=a", "type=registry", "type=registry,ref=A", "type=local", "type=s3,region=r",
        "type=local,src=a,tag=a b", "type=local,src=a,digest=sha256:1", "type=s3,bucket=b,name=;",
        "type=s3,bucket=b,access_key_id=a", "type=s3,bucket=b,secret_access_key=a",
        "type=s3,bucket=b,session_token=a", "type=s3,bucket=b,endpoint_url=ftp://x",
        "type=s3,bucket=b,endpoint_url=file:///x", "type=s3,bucket=b,upload_parallelism=0", "\"a",
        "type=local,src=a\nb", "type=local,src=\xFF"})
    refused_from(text);
  for (const char* text :
       {"type=registry,ref=a,mode=all", "type=registry,ref=a,compression=lzma",
        "type=registry,ref=a,compression-level=10", "type=registry,ref=a,compression-level=",
        "type=registry,ref=a,compression=uncompressed,compression-level=1", "type=registry,ref=a,timeout=5",
        "type=registry,ref=a,timeout=0s", "type=registry,ref=a,timeout=-1m",
        "type=registry,ref=a,max-size=big", "type=local,src=a"})
    refused_to(text);
  refused_to("a@sha256:" + std::string(64, 'a'));
  from("a@sha256:" + std::string(64, 'a'));
}

TEST(CacheSpec, KeysAreInNoError) {
  for (const char* text :
       {"type=s3,bucket=b,secret_access_key=HIDDEN,HIDDEN", "type=s3,bucket=b,secret_access_key=x,HIDDEN=y",
        "type=s3,secret_access_key=HIDDEN,access_key_id=HIDDEN", "secret_access_key=HIDDEN",
        "type=s3,bucket=b,\"secret_access_key=HIDDEN", "type=s3,bucket=b,SECRET_ACCESS_KEY=x,HIDDEN",
        "type=s3,bucket=b,session_token=HIDDEN", "type=s3,bucket=b,endpoint_url=http://u:HIDDEN@x:y",
        "type=ftp,token=HIDDEN"})
    EXPECT_FALSE(has(to_lower(refused_from(text)), "hidden")) << text;
  Spec spec = from(
      "type=s3,bucket=b,access_key_id=HIDDEN,secret_access_key=HIDDEN,session_token=HIDDEN,"
      "endpoint_url=https://u:HIDDEN@x");
  EXPECT_FALSE(has(spec.name(), "HIDDEN"));
}

TEST(CacheSpec, GitHubsCacheIsLeftOutWithAWord) {
  const Variables offered = variables({{"ACTIONS_RUNTIME_TOKEN", "HIDDEN"}});
  for (const char* text : {"type=gha", "type=gha,scope=main"}) {
    ParsedSpec absent = parse_cache_from(text, variables());
    EXPECT_FALSE(absent.spec);
    ASSERT_EQ(absent.remarks.size(), 1u);
    EXPECT_TRUE(has(absent.remarks[0], "no job of GitHub Actions"));
    EXPECT_FALSE(parse_cache_to(text, variables()).spec);
    EXPECT_EQ(parse_cache_from(text, offered).remarks.size(), 1u) << "reading never fails a build";
    EXPECT_FALSE(parse_cache_from(text, offered).spec);
    std::string words = refusal([&] { parse_cache_to(text, offered); }, ErrorCode::kUnsupported);
    EXPECT_TRUE(has(words, "ghcr.io"));
    EXPECT_FALSE(has(words, "HIDDEN"));
  }
  EXPECT_FALSE(parse_cache_to("type=gha,ignore-error=true", offered).spec);
}

}  // namespace
}  // namespace corten::cache
