#include "base/trace.h"

#include <gtest/gtest.h>

namespace corten {

TEST(Trace, AddsUpSpansByName) {
  { TraceSpan before("never seen"); }
  start_tracing();
  for (int i = 0; i < 3; i++) {
    TraceSpan outer("outer work");
    TraceSpan inner("inner work");
  }
  std::string report = trace_report();
  EXPECT_EQ(report.find("never seen"), report.npos);
  EXPECT_NE(report.find("       3  outer work\n"), report.npos) << report;
  EXPECT_NE(report.find("       3  inner work\n"), report.npos) << report;
  EXPECT_NE(report.find("  the whole command\n"), report.npos);
}

}  // namespace corten
