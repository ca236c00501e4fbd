// For tests: a client before a registry that misbehaves.
#pragma once
#include <fcntl.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "http/server_test.h"
#include "oci/media_type.h"
#include "registry/fault_proxy_test.h"
#include "registry/remote.h"

namespace corten::registry {

inline constexpr size_t kLarge = 5 << 20;  // sent by PATCH; what is smaller, with the PUT

inline std::string pattern(size_t size) {
  std::string bytes(size, 'x');
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<char>(i * 31 + i / 997);
  return bytes;
}

inline OutgoingBlob outgoing(const std::string& bytes) {
  OutgoingBlob blob;
  blob.descriptor = oci::describe("application/octet-stream", bytes);
  blob.open = [bytes](uint64_t offset) { return http::RequestBody::of(bytes.substr(offset)).open(); };
  return blob;
}

// A client with what it needs.
struct Puller {
  explicit Puller(int silence_ms = 20'000, Hosts hosts_of = Hosts(), Credentials credentials = {},
                  std::shared_ptr<const Clock> clock = {})
      : hosts(std::move(hosts_of)),
        access({.http = {.proxies = {}, .timeouts = {.silence_ms = silence_ms}, .slowest_bytes_per_s = 0},
                .credentials = std::move(credentials),
                .clock = std::move(clock)}),
        remote(access, hosts,
               {.retry = {.first_pause_ms = 1, .longest_pause_ms = 3},
                .warn = [this](const std::string& line) { warnings.push_back(line); }}) {}
  Hosts hosts;
  Access access;
  std::vector<std::string> warnings;
  Remote remote;
};

class RemoteFaults : public serving::ServerTest {
 protected:
  void SetUp() override {
    start();
    proxy_ = std::make_unique<FaultProxy>(server_->port());
    settle(puller_);
  }
  void TearDown() override { puller_.reset(); }
  // How the host is spoken to is found out by its first request: that is not what is tested here.
  void settle(std::unique_ptr<Puller>& puller, int silence_ms = 20'000) {
    puller = std::make_unique<Puller>(silence_ms);
    puller->remote.has_blob(name("app"), Digest::of("nothing"));
    proxy_->play({});
  }
  Remote& remote() { return puller_->remote; }
  oci::Reference name(const std::string& rest) const {
    return oci::Reference::parse(fmt::format("127.0.0.1:{}/{}", proxy_->port(), rest));
  }
  std::string fetch(const oci::Descriptor& blob) { return fetch(remote(), blob); }
  std::string fetch(Remote& remote, const oci::Descriptor& blob) {
    UniqueFd file = open_file(place_ / "fetched", O_RDWR | O_CREAT, 0644);
    remote.fetch_blob(name("app"), blob, file.get());
    return read_file(place_ / "fetched", 1 << 30);
  }
  oci::Descriptor stored(const std::string& bytes) {
    push_blob("app", bytes);
    return oci::describe("application/octet-stream", bytes);
  }
  bool is_stored(const std::string& bytes) {
    return ask("GET", "/v2/app/blobs/" + serving::sha256_text(bytes)).body == bytes;
  }
  // The error of a pull or push through these faults.
  ErrorCode error(std::vector<Fault> faults, const std::function<void()>& action) {
    proxy_->play(std::move(faults));
    words_.clear();
    return http::code_of(action, &words_);
  }
  bool says(std::string_view text) const { return words_.find(text) != std::string::npos; }

  TempDir place_ = TempDir::for_test();
  std::unique_ptr<FaultProxy> proxy_;
  std::unique_ptr<Puller> puller_;
  std::string words_;
};

}  // namespace corten::registry
