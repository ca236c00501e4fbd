// A machine for tests: variables, files and a clock of its own.
#pragma once
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/temp_dir.h"
#include "http/server_test.h"
#include "registry/cloud/aws_credentials.h"

namespace corten::registry::cloud {

// No variable but those of the test, no metadata service.
class Machine {
 public:
  Machine() {
    set("HOME", dir_.path());
    set("AWS_CONFIG_FILE", dir_.path() + "/config");
    set("AWS_SHARED_CREDENTIALS_FILE", dir_.path() + "/credentials");
    set("AWS_EC2_METADATA_DISABLED", "true");
  }
  void set(const std::string& name, const std::string& value) { variables_[name] = value; }
  std::string file(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name)) << text;
    return path(name);
  }
  // Below the directory in which files are made: HOME.
  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  FakeClock& clock() { return clock_; }
  AwsContext context() {
    return {client_, clock_, [this](const std::string& name) {
              auto at = variables_.find(name);
              return at == variables_.end() ? std::string() : at->second;
            }};
  }
  CredentialSearch search() { return search_credentials(context(), "eu-west-1"); }
  // What is said of that source.
  std::string why(const std::string& name) {
    for (const TriedSource& source : search().tried)
      if (source.name == name) return source.why;
    return "(nothing)";
  }

 private:
  TempDir dir_ = TempDir::for_test();
  http::Client client_{http::quick()};
  FakeClock clock_{int64_t{1'700'000'000} * 1'000'000'000};
  std::map<std::string, std::string> variables_;
};

inline bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace corten::registry::cloud
