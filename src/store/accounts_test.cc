#include "store/accounts.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten::store {

static Accounts sample() {
  return Accounts::parse(
      "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nweb:x:33:44::/var/www:\nbroken "
      "line\n",
      "root:x:0:\nwheel:x:10:root\nstaff:x:50:app,web\napp:x:1000:\n");
}

TEST(Accounts, RunUser) {
  Accounts accounts = sample();
  EXPECT_EQ(accounts.run_user("").groups, (std::vector<uint32_t>{0, 10}));
  EXPECT_EQ(accounts.run_user("").home, "/root");
  RunUser app = accounts.run_user("app");
  EXPECT_EQ(app.uid, 1000u);
  EXPECT_EQ(app.gid, 1000u);
  EXPECT_EQ(app.groups, (std::vector<uint32_t>{1000, 50}));
  EXPECT_EQ(accounts.run_user("1000").groups, app.groups);
  EXPECT_EQ(accounts.run_user("app:staff").groups, (std::vector<uint32_t>{50}));
  EXPECT_EQ(accounts.run_user("app:staff").gid, 50u);
  RunUser unknown = accounts.run_user("4321");
  EXPECT_EQ(unknown.gid, 0u);
  EXPECT_EQ(unknown.home, "/");
  EXPECT_EQ(accounts.run_user("1042:1043").gid, 1043u);
  EXPECT_THROW(accounts.run_user("nobody"), Error);
  EXPECT_THROW(accounts.run_user("app:nogroup"), Error);
}

}  // namespace corten::store
