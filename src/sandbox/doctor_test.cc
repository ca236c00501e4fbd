#include "sandbox/doctor.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/temp_dir.h"
#include "sandbox/spec.h"

namespace corten::sandbox {
namespace {

const Finding* find(const std::vector<Finding>& findings, const std::string& subject) {
  auto it =
      std::find_if(findings.begin(), findings.end(), [&](const Finding& f) { return f.subject == subject; });
  return it == findings.end() ? nullptr : &*it;
}

TEST(Doctor, TriesEverythingAndLeavesNothing) {
  TempDir store = TempDir::for_test();
  const auto findings = examine({store / "not/yet/there"});
  for (const char* subject : {"privilege", "store", "landlock", "cgroup"})
    EXPECT_NE(find(findings, subject), nullptr) << subject;
  for (const Finding& finding : findings) {
    EXPECT_FALSE(finding.what.empty()) << finding.subject;
    EXPECT_TRUE(finding.state != Finding::State::kOk || finding.climb.empty()) << finding.subject;
  }
  const Finding* privilege = find(findings, "privilege");
  ASSERT_NE(privilege, nullptr);
  if (privilege->state != Finding::State::kOk) return;
  for (const char* subject : {"ids", "file system", "proc", "kernel", "network", "sandbox"}) {
    ASSERT_NE(find(findings, subject), nullptr) << subject;
    EXPECT_NE(find(findings, subject)->state, Finding::State::kMissing) << find(findings, subject)->what;
  }
}

TEST(Doctor, AStoreThatCannotBeWrittenIsMissing) {
  const auto findings = examine({"/proc/store"});
  ASSERT_NE(find(findings, "store"), nullptr);
  EXPECT_EQ(find(findings, "store")->state, Finding::State::kMissing);
}

TEST(Capabilities, NamesInEveryForm) {
  EXPECT_EQ(parse_capability("CAP_NET_ADMIN"), 12);
  EXPECT_EQ(parse_capability("net_admin"), 12);
  EXPECT_EQ(parse_capability("SYS_ADMIN"), 21);
  EXPECT_FALSE(parse_capability("FLY"));
  EXPECT_FALSE(parse_capability("ALL"));
  EXPECT_EQ(default_capabilities().size(), 14u);
}

}  // namespace
}  // namespace corten::sandbox
