#include "cli/build_flags.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::cli {

TEST(BuildFlags, AsBuildxReadsThem) {
  BuildFlags flags = parse_build_flags({"-t", "a", "--tag=b:1", "--build-arg", "X=1", "--build-arg=Y", "-f",
                                        "-", "--output", "type=oci,dest=/tmp/x", "-o", "dir", "."},
                                       "build");
  EXPECT_EQ(flags.tags, (std::vector<std::string>{"a", "b:1"}));
  EXPECT_EQ(flags.build_args, (std::vector<std::string>{"X=1", "Y"}));
  EXPECT_EQ(flags.context, ".");
  ASSERT_EQ(flags.outputs.size(), 2u);
  EXPECT_EQ(flags.outputs[0].type, "oci");
  EXPECT_EQ(flags.outputs[0].dest, "/tmp/x");
  EXPECT_EQ(flags.outputs[1].type, "local");
}

TEST(BuildFlags, PushAndPull) {
  BuildFlags flags = parse_build_flags({"--push", "--pull", "."}, "build");
  ASSERT_EQ(flags.outputs.size(), 1u);
  EXPECT_TRUE(flags.outputs[0].is_pushed);
  EXPECT_EQ(flags.pull, Pull::kAlways);
  EXPECT_EQ(flags.context, ".");
  EXPECT_EQ(parse_build_flags({"--pull=never", "."}, "build").pull, Pull::kNever);
  EXPECT_EQ(parse_build_flags({"."}, "build").pull, Pull::kMissing);
  flags = parse_build_flags({"--push", "-o", "type=image,name=x", "-o", "out", "."}, "build");
  ASSERT_EQ(flags.outputs.size(), 2u);
  EXPECT_TRUE(flags.outputs[0].is_pushed);
}

TEST(BuildFlags, RefusesByName) {
  EXPECT_THROW(parse_build_flags({".", "--pull=perhaps"}, "build"), Error);
  EXPECT_THROW(parse_build_flags({"--no-such-flag", "."}, "build"), Error);
  EXPECT_THROW(parse_build_flags({}, "build"), Error);
  EXPECT_THROW(parse_build_flags({"--network", "bridge", "."}, "build"), Error);
  EXPECT_THROW(parse_output("type=oic,dest=x"), Error);
  EXPECT_THROW(parse_output("dest=x"), Error);
}

TEST(Attributes, AreCsv) {
  EXPECT_EQ(parse_attributes("type=oci,\"dest=/a,b\""),
            (std::map<std::string, std::string>{{"type", "oci"}, {"dest", "/a,b"}}));
}

}  // namespace corten::cli
