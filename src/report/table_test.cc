#include "report/table.h"

#include <gtest/gtest.h>

namespace corten::report {

TEST(Table, AlignsByCharacters) {
  Table table({"NAME", "SIZE"});
  table.add({"é", "1"});
  table.add({"long-name", "22"});
  table.add({"evil\x1b[2J", "3"});
  EXPECT_EQ(table.text(), "NAME          SIZE\né             1\nlong-name     22\nevil\\x1b[2J   3\n");
}

TEST(Age, DockersWords) {
  EXPECT_EQ(age_text(0), "Less than a second ago");
  EXPECT_EQ(age_text(30), "30 seconds ago");
  EXPECT_EQ(age_text(100), "About a minute ago");
  EXPECT_EQ(age_text(86400 * 3), "3 days ago");
  EXPECT_EQ(age_text(86400 * 20), "2 weeks ago");
}

}  // namespace corten::report
