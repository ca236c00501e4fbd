#include "build/owner.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::build {

using store::Accounts;

static Accounts sample() {
  return Accounts::parse(
      "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nweb:x:33:44::/var/www:\nbroken "
      "line\n",
      "root:x:0:\nwheel:x:10:root\nstaff:x:50:app,web\napp:x:1000:\n");
}

TEST(Owner, ChownIsForgivingAsBuildKits) {
  Accounts accounts = sample();
  EXPECT_EQ(owner_of(accounts, "web").gid, 44u);
  EXPECT_EQ(owner_of(accounts, "33").gid, 33u);
  EXPECT_EQ(owner_of(accounts, "nobody").uid, 0u);
  EXPECT_EQ(owner_of(accounts, "app:nogroup").gid, 1000u);
  EXPECT_EQ(owner_of(accounts, ":staff").uid, 0u);
  EXPECT_EQ(owner_of(accounts, ":staff").gid, 50u);
  EXPECT_THROW(owner_of(Accounts::parse("", ""), "app"), Error);
  EXPECT_EQ(owner_of(Accounts::parse("", ""), "root").uid, 0u);
}

}  // namespace corten::build
