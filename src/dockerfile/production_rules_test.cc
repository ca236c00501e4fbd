#include "dockerfile/production_rules.h"

#include <gtest/gtest.h>

#include "dockerfile/instructions.h"

namespace corten::dockerfile {
namespace {

using Lines = std::vector<std::string>;

// "line rule" for each finding.
Lines rules_of(std::string_view text, const ProductionOptions& options = {}) {
  Lines lines;
  for (const ProductionFinding& found : check_for_production(parse_dockerfile(text, "D"), text, options))
    lines.push_back(fmt::format("{} {}", found.span.line, found.rule));
  return lines;
}

constexpr std::string_view kBase =
    "debian:12@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(ProductionRules, AreSilentOnAGoodFile) {
  EXPECT_EQ(
      rules_of(fmt::format("FROM {} AS build\n"
                           "RUN apt-get update && apt-get install -y --no-install-recommends gcc=4:12 && "
                           "rm -rf /var/lib/apt/lists/*\n"
                           "RUN --mount=type=secret,id=t cat /run/secrets/t | head -n 1\n"
                           "FROM {}\nCOPY --from=build /x /x\nADD rootfs.tar.gz /\nUSER app:app\n"
                           "HEALTHCHECK CMD true\nCMD [\"/x\"]\n",
                           kBase, kBase)),
      Lines{});
}

TEST(ProductionRules, EachFindsItsFault) {
  struct Case {
    std::string text;
    Lines expected;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"FROM debian\nUSER a\nHEALTHCHECK NONE\n", {"1 DL3006"}},
           {"FROM debian:latest\n", {"1 DL3007", "1 CT1001", "1 DL3057"}},
           {"FROM debian:12\nUSER a\nHEALTHCHECK NONE\n", {"1 CT1002"}},
           {"FROM scratch AS a\nFROM a\n", {}},
           {"FROM scratch\nUSER app\nUSER root:root\n", {"3 DL3002"}},
           {"FROM scratch AS a\nUSER 0\nFROM a\nRUN x\n", {"2 DL3002"}},
           {"FROM scratch\nCMD [\"x\"]\n", {"1 CT1001", "1 DL3057"}},
           {"FROM scratch\nRUN apt-get update && apt-get install -y curl\n",
            {"2 DL3008", "2 DL3015", "2 DL3009"}},
           {"FROM scratch\nRUN <<E\napt-get update\napt-get install --no-install-recommends curl=1\nE\n",
            {"2 DL3009"}},
           {"FROM scratch\nRUN --mount=type=cache,target=/var/lib/apt apt-get update\n", {}},
           {"FROM scratch\nRUN apk add curl && apk add --no-cache -t deps jq=1\n", {"2 DL3018", "2 DL3019"}},
           {"FROM scratch\nRUN pip install -r x.txt\nRUN pip install --no-cache-dir x\n", {"2 DL3042"}},
           {"FROM scratch\nRUN dnf install -y x\n", {"2 DL3040"}},
           {"FROM scratch\nRUN yum install x; yum clean all\n", {}},
           {"FROM scratch\nRUN make && sudo make install\n", {"2 DL3004"}},
           {"FROM scratch\nADD file /\nADD https://x/y /\n", {"2 DL3020"}},
           {"FROM scratch\nCOPY .env conf/server.key /\n", {"2 CT1004", "2 CT1004"}},
           {"FROM scratch AS a\nFROM scratch\nCOPY --from=a x.pem /\n", {}},
           {"FROM scratch\nENV A=ghp_0123456789abcdefghij\nARG B=ghp_short\n", {"2 CT1005"}},
       })
    EXPECT_EQ(rules_of(c.text), c.expected) << c.text;
}

TEST(ProductionRules, OptionsAndComments) {
  EXPECT_EQ(rules_of("FROM scratch\nCOPY . /\n", {.has_ignore_file = false}), Lines{"2 CT1003"});
  EXPECT_EQ(rules_of(fmt::format("FROM {}\nUSER a\nHEALTHCHECK NONE\n", kBase),
                     {.trusted_registries = {"*.example.com"}}),
            Lines{"1 DL3026"});
  EXPECT_EQ(rules_of("FROM a.example.com/x:1\nUSER a\nHEALTHCHECK NONE\n",
                     {.trusted_registries = {"*.example.com"}}),
            Lines{"1 CT1002"});
  EXPECT_EQ(rules_of("# hadolint ignore=DL3006,DL3007\nFROM debian\nFROM debian\nUSER a\nHEALTHCHECK NONE\n"),
            Lines{"3 DL3006"});
  EXPECT_EQ(rules_of("FROM debian\n# hadolint global ignore=DL3006\nRUN sudo x\nUSER a\nHEALTHCHECK NONE\n"),
            Lines{"3 DL3004"});
}

}  // namespace
}  // namespace corten::dockerfile
