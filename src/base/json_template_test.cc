#include "base/json_template.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten {

TEST(JsonTemplate, FieldsAreFound) {
  Json value =
      Json::parse(R"({"Name":"/a","State":{"Health":{"Status":"healthy"},"ExitCode":3},"Args":["x","y"]})");
  EXPECT_EQ(expand_template("{{.State.Health.Status}}", value), "healthy");
  EXPECT_EQ(expand_template("{{ .Name }}\\t{{.State.ExitCode}}", value), "/a\t3");
  EXPECT_EQ(expand_template("{{json .State.Health}} {{.Args}}", value), "{\"Status\":\"healthy\"} [x y]");
  EXPECT_EQ(expand_template("plain", value), "plain");
}

TEST(JsonTemplate, WhatIsNotUnderstoodIsRefused) {
  Json value = Json::parse(R"({"Name":"/a"})");
  EXPECT_THROW(expand_template("{{.Nmae}}", value), Error);
  EXPECT_THROW(expand_template("{{range .Name}}{{end}}", value), Error);
  EXPECT_THROW(expand_template("{{.Name", value), Error);
}

}  // namespace corten
