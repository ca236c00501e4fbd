#include "cli/output_spec.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::cli {

TEST(OutputSpec, KnowsItsAttributes) {
  OutputSpec oci = parse_output(
      "type=oci,dest=x.tar,\"name=a:1,b:2\",compression=zstd,compression-level=22,force-compression,"
      "annotation-index.k=v,rewrite-timestamp=true,source-date-epoch=7");
  EXPECT_EQ(oci.names, (std::vector<std::string>{"a:1", "b:2"}));
  EXPECT_EQ(oci.compression.kind, oci::LayerCompression::kZstd);
  EXPECT_EQ(oci.compression.level, 22);
  EXPECT_TRUE(oci.compression.force);
  EXPECT_TRUE(oci.rewrite_timestamp);
  EXPECT_EQ(oci.source_date_epoch, 7);
  EXPECT_EQ(oci.annotations.at(0).key, "k");
  EXPECT_FALSE(parse_output("type=oci,dest=x").compression.level) << "the default is gz1";
  EXPECT_EQ(parse_output("type=oci,dest=x,compression-level=0").compression.level, 0);
  EXPECT_FALSE(parse_output("type=oci,tar=false,dest=x").as_tar);
  EXPECT_EQ(parse_output("type=oci").dest, "-");
  EXPECT_EQ(parse_output("-").type, "tar");
  EXPECT_TRUE(parse_output("type=local,dest=x,mode=delete").delete_others);
  EXPECT_EQ(parse_output("type=tar,dest=x,platform-split=false").platform_split, false);
}

TEST(OutputSpec, WhatGoesToARegistry) {
  EXPECT_TRUE(parse_output("type=registry,name=x").is_pushed);
  EXPECT_EQ(parse_output("type=registry").type, "image");
  EXPECT_TRUE(parse_output("type=image,push=true").is_pushed);
  EXPECT_FALSE(parse_output("type=image,push=false").is_pushed);
  EXPECT_TRUE(parse_output("type=image,name=x,push,push-by-digest=true").by_digest);
}

TEST(OutputSpec, RefusesByName) {
  for (const char* text :
       {"type=registry,dest=x", "type=oci,dest=x,push=true", "type=oci,dest=x,compression=estargz",
        "type=oci,dest=x,compression=lzma", "type=oci,dest=x,compression-level=10",
        "type=oci,dest=x,compresion=gzip", "type=oci,dest=x,compression=uncompressed,compression-level=1",
        "type=local", "type=local,dest=x,name=a", "type=local,dest=x,annotation.a=b", "type=oci,tar=false",
        "type=oci,dest=x,tar=perhaps", "type=oci,dest=x,oci-mediatypes=false,compression=zstd",
        "type=image,dest=x", "type=oci,dest=x,platform-split=true", "type=local,dest=x,mode=move",
        "type=docker,context=other", "type=oci,dest=x,prefer-nondist-layers=true"})
    EXPECT_THROW(parse_output(text), Error) << text;
}

TEST(OutputSpec, SaysWhatHasNoEffect) {
  EXPECT_EQ(parse_output("type=image,unpack=true").remarks.size(), 1u);
  EXPECT_EQ(parse_output("type=oci,dest=x,oci-artifact=false").remarks.size(), 1u);
  EXPECT_TRUE(parse_output("type=oci,dest=x").remarks.empty());
}

}  // namespace corten::cli
