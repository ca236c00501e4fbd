// For tests: speaks raw HTTP with a server in this process, on a free port of the loopback.
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "registry/server/server.h"

namespace corten::registry::serving {

struct RawAnswer {
  unsigned status = 0;  // 0: the connection ended without an answer
  Fields fields;
  std::string body;
  std::string field(std::string_view name) const {
    for (const auto& [key, value] : fields)
      if (iequals(key, name)) return value;
    return {};
  }
};

// One connection.
class RawClient {
 public:
  explicit RawClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const timeval limit{20, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      fail_errno("connect to port {}", port);
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  RawAnswer receive(bool is_head = false) {
    RawAnswer answer;
    size_t end;
    while ((end = read_.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return answer;
    const std::vector<std::string> lines = split(read_.substr(0, end), '\n');
    answer.status = static_cast<unsigned>(parse_int(lines[0].substr(9, 3)).value_or(0));
    for (size_t i = 1; i < lines.size(); i++) {
      const size_t colon = lines[i].find(':');
      answer.fields.emplace_back(lines[i].substr(0, colon),
                                 trim(std::string_view(lines[i]).substr(colon + 1)));
    }
    read_.erase(0, end + 4);
    const auto size = static_cast<size_t>(parse_int(answer.field("Content-Length")).value_or(0));
    if (is_head || answer.status == 304 || answer.status < 200) return answer;
    while (read_.size() < size)
      if (!more()) break;
    answer.body = read_.substr(0, size);
    read_.erase(0, size);
    return answer;
  }
  void end_sending() { shutdown(socket_.get(), SHUT_WR); }
  // Whether the server closes the connection (and sends nothing more).
  bool is_ended() {
    while (read_.empty())
      if (!more()) return true;
    return false;
  }
  RawAnswer ask(std::string_view method, std::string_view target, std::string_view body = {},
                const Fields& fields = {}) {
    std::string request = fmt::format("{} {} HTTP/1.1\r\nHost: test\r\n", method, target);
    for (const auto& [name, value] : fields) request += name + ": " + value + "\r\n";
    if (!body.empty() || method == "POST" || method == "PUT" || method == "PATCH")
      request += fmt::format("Content-Length: {}\r\n", body.size());
    send(request + "\r\n" + std::string(body));
    return receive(method == "HEAD");
  }

  // Waits for bytes; false at the end.
  bool more() {
    char buffer[65536];
    const ssize_t n = recv(socket_.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return false;
    read_.append(buffer, static_cast<size_t>(n));
    return true;
  }
  const std::string& unread() const { return read_; }

 private:
  UniqueFd socket_;
  std::string read_;
};

inline std::string sha256_text(std::string_view bytes) {
  return ContentDigest::of(Algorithm::kSha256, bytes).to_string();
}

inline std::string descriptor_text(std::string_view media_type, std::string_view bytes) {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", media_type, sha256_text(bytes),
                     bytes.size());
}

inline constexpr std::string_view kManifestType = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kConfigType = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kLayerType = "application/vnd.oci.image.layer.v1.tar+gzip";

// An image manifest over these bytes.
inline std::string manifest_text(std::string_view config, std::string_view layer,
                                 std::string_view more = {}) {
  return fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]{}}})", kManifestType,
                     descriptor_text(kConfigType, config), descriptor_text(kLayerType, layer), more);
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { options_.listen = "127.0.0.1:0"; }
  void start() {
    options_.service.root = directory_ / "registry";
    options_.service.log = [this](const std::string& line) {
      std::lock_guard lock(failures_mutex_);
      failures_ += line + "\n";
    };
    server_ = std::make_unique<Server>(options_);
  }
  void stop() { server_.reset(); }
  RawClient client() { return RawClient(server_->port()); }
  RawAnswer ask(std::string_view method, std::string_view target, std::string_view body = {},
                const Fields& fields = {}) {
    if (!server_) start();
    return client().ask(method, target, body, fields);
  }
  std::string push_blob(const std::string& repository, std::string_view bytes) {
    const std::string digest = sha256_text(bytes);
    const RawAnswer answer =
        ask("POST", fmt::format("/v2/{}/blobs/uploads/?digest={}", repository, digest), bytes);
    EXPECT_EQ(answer.status, 201u) << answer.body;
    return digest;
  }
  RawAnswer put_manifest(const std::string& repository, const std::string& reference,
                         std::string_view manifest, std::string_view media_type = kManifestType) {
    return ask("PUT", fmt::format("/v2/{}/manifests/{}", repository, reference), manifest,
               {{"Content-Type", std::string(media_type)}});
  }
  // An image with a tag; gives the manifest.
  std::string push_image(const std::string& repository, const std::string& tag,
                         std::string_view layer = "layer", std::string_view more = {}) {
    push_blob(repository, "{}");
    push_blob(repository, layer);
    std::string manifest = manifest_text("{}", layer, more);
    const RawAnswer answer = put_manifest(repository, tag, manifest);
    EXPECT_EQ(answer.status, 201u) << answer.body;
    return manifest;
  }
  std::string begin_upload(const std::string& repository) {
    const RawAnswer answer = ask("POST", fmt::format("/v2/{}/blobs/uploads/", repository));
    EXPECT_EQ(answer.status, 202u);
    return answer.field("Location");
  }
  // What the server has written to its log.
  std::string failures() {
    std::lock_guard lock(failures_mutex_);
    return failures_;
  }
  std::string root() const { return directory_ / "registry"; }

  TempDir directory_ = TempDir::for_test();
  ServerOptions options_;

 private:
  std::mutex failures_mutex_;
  std::string failures_;

 protected:
  std::unique_ptr<Server> server_;  // the last: its threads write to what stands above
};

}  // namespace corten::registry::serving
