// Blobs that go out while they come from another registry.
#include "registry/server/coming_blob.h"

#include <poll.h>

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <thread>

#include "base/beneath.h"
#include "registry/server/raw_client_test.h"

namespace corten::registry::serving {
namespace {

// A registry with one blob, which it sends as far as it is told to. Each connection has one request.
class SteppedOrigin {
 public:
  SteppedOrigin() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_.get(), 16) != 0 ||
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      fail_errno("origin");
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { work(); });
  }
  ~SteppedOrigin() {
    {
      std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    shutdown(listener_.get(), SHUT_RDWR);
    accepting_.join();
  }
  uint16_t port() const { return port_; }
  // Sends up to that place of the blob; then waits, or ends the connection.
  void allow(size_t until, bool then_cut = false) {
    {
      std::lock_guard lock(mutex_);
      allowed_ = until;
      cuts_ = then_cut;
    }
    changed_.notify_all();
  }
  std::vector<std::string> heads() const {
    std::lock_guard lock(mutex_);
    return heads_;
  }

  struct Way {
    std::string blob;
    bool tells_size = true, has_ranges = true;
    unsigned status = 200;
  };
  Way way() const {
    std::lock_guard lock(mutex_);
    return way_;
  }
  void set(Way way) {
    std::lock_guard lock(mutex_);
    way_ = std::move(way);
  }

 private:
  void work() {
    std::deque<std::thread> threads;
    while (true) {
      UniqueFd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer) break;
      threads.emplace_back([this, fd = std::move(peer)] { answer(fd.get()); });
    }
    for (std::thread& thread : threads) thread.join();
  }
  void answer(int peer) {
    std::string head;
    char buffer[4096];
    while (head.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = recv(peer, buffer, sizeof buffer, 0);
      if (n <= 0) return;
      head.append(buffer, static_cast<size_t>(n));
    }
    std::unique_lock lock(mutex_);
    const auto& [blob, tells_size, has_ranges, status] = way_;
    size_t at = 0;
    if (const size_t found = head.find("Range: bytes="); found != std::string::npos && has_ranges)
      at = static_cast<size_t>(strtoull(head.c_str() + found + 13, nullptr, 10));
    heads_.push_back(head);
    std::string text = status == 200 ? at > 0 ? "HTTP/1.1 206 Part\r\n" : "HTTP/1.1 200 OK\r\n"
                                     : fmt::format("HTTP/1.1 {} No\r\n", status);
    if (at > 0) text += fmt::format("Content-Range: bytes {}-{}/{}\r\n", at, blob.size() - 1, blob.size());
    if (tells_size || status != 200)
      text += fmt::format("Content-Length: {}\r\n", status == 200 ? blob.size() - at : 0);
    text += "Connection: close\r\n\r\n";
    send(peer, text.data(), text.size(), MSG_NOSIGNAL);
    while (status == 200 && at < blob.size()) {
      if (at < allowed_) {
        const ssize_t n = send(peer, blob.data() + at, std::min(allowed_, blob.size()) - at, MSG_NOSIGNAL);
        if (n <= 0) return;
        at += static_cast<size_t>(n);
        continue;
      }
      if (ends_ || cuts_) return;
      changed_.wait(lock);
    }
  }

  UniqueFd listener_;
  uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Way way_;
  size_t allowed_ = 0;
  bool cuts_ = false, ends_ = false;
  std::vector<std::string> heads_;
  std::thread accepting_;
};

// A client that takes an answer's bytes as they come.
class Reading {
 public:
  Reading(uint16_t port, const std::string& path, const std::string& fields = "") : client_(port) {
    client_.send(fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", path, fields));
  }
  // The body so far once it has that many bytes, or what there is when the connection has ended.
  const std::string& until(size_t size) {
    while (body().size() < size)
      if (!client_.more()) break;
    return body();
  }
  std::string head() {
    until(1);
    return client_.unread().substr(0, client_.unread().find("\r\n\r\n") + 2);
  }
  bool is_cut() {
    while (client_.more()) {
    }
    return body().size() < size();
  }

 private:
  const std::string& body() {
    const size_t end = client_.unread().find("\r\n\r\n");
    body_ = end == std::string::npos ? "" : client_.unread().substr(end + 4);
    return body_;
  }
  size_t size() {
    const size_t at = client_.unread().find("Content-Length: ");
    return at == std::string::npos ? 1 : strtoull(client_.unread().c_str() + at + 16, nullptr, 10);
  }
  RawClient client_;
  std::string body_;
};

class ComingBlobTest : public ServerTest {
 protected:
  void SetUp() override {
    setenv("CORTEN_SYSTEM_CONFIG", directory_.path().c_str(), 1);
    setenv("REGISTRY_AUTH_FILE", (directory_ / "auth.json").c_str(), 1);
    write_file_atomic(directory_ / "auth.json", "{}");
    unsetenv("http_proxy");
    options_.service.proxy = fmt::format("http://127.0.0.1:{}", origin_.port());
    for (size_t i = 0; i < 3'000'000; i++) blob_ += static_cast<char>(i * i >> 7);
    path_ = "/v2/a/b/blobs/" + sha256_text(blob_);
    origin_.set({.blob = blob_});
    start();
  }
  void TearDown() override {
    stop();
    unsetenv("CORTEN_SYSTEM_CONFIG");
    unsetenv("REGISTRY_AUTH_FILE");
  }
  Reading read(const std::string& fields = "") { return {server_->port(), path_, fields}; }
  std::string part(size_t begin, size_t end) const { return blob_.substr(begin, end - begin); }
  bool is_kept() const {
    const std::string hex = sha256_text(blob_).substr(7);
    return path_exists(root() + "/blobs/sha256/" + hex.substr(0, 2) + "/" + hex);
  }
  size_t uploads() const {
    size_t count = 0;
    if (path_exists(root() + "/repositories/a/b/_uploads"))
      for ([[maybe_unused]] const auto& entry :
           std::filesystem::directory_iterator(root() + "/repositories/a/b/_uploads"))
        count++;
    return count;
  }
  SteppedOrigin origin_;
  std::string blob_, path_;
};

TEST_F(ComingBlobTest, GoesOutWhileItComes) {
  Reading first = read();
  origin_.allow(1'000'000);
  EXPECT_TRUE(first.until(1'000'000) == part(0, 1'000'000)) << "while the other registry waits";
  EXPECT_FALSE(is_kept());
  Reading second = read();
  EXPECT_TRUE(second.until(1'000'000) == part(0, 1'000'000)) << "along with the first";
  origin_.allow(2'000'000);
  EXPECT_TRUE(first.until(2'000'000) == part(0, 2'000'000));
  EXPECT_EQ(first.head().find("HTTP/1.1 200 "), 0u);
  EXPECT_NE(first.head().find("Content-Length: 3000000\r\n"), std::string::npos);
  origin_.allow(3'000'000);
  EXPECT_TRUE(first.until(3'000'000) == blob_);
  EXPECT_TRUE(second.until(3'000'000) == blob_);
  EXPECT_TRUE(is_kept());
  EXPECT_TRUE(read().until(3'000'000) == blob_);
  EXPECT_EQ(origin_.heads().size(), 1u) << "fetched once";
  EXPECT_EQ(uploads(), 0u);
}

TEST_F(ComingBlobTest, PartsOfIt) {
  Reading whole = read();
  Reading front = read("Range: bytes=10-19\r\n"), middle = read("Range: bytes=1500000-1500009\r\n");
  origin_.allow(1'000'000);
  EXPECT_EQ(front.until(9), part(10, 19));
  EXPECT_NE(front.head().find("Content-Range: bytes 10-19/3000000\r\n"), std::string::npos);
  EXPECT_EQ(read("Range: bytes=3000000-\r\n").head().find("HTTP/1.1 416 "), 0u);
  origin_.allow(2'000'000);
  EXPECT_EQ(middle.until(9), part(1'500'000, 1'500'009));
  origin_.allow(3'000'000);
  EXPECT_EQ(front.until(10), part(10, 20));
  EXPECT_EQ(middle.until(10), part(1'500'000, 1'500'010));
  EXPECT_TRUE(whole.until(3'000'000) == blob_);
  EXPECT_EQ(origin_.heads().size(), 1u);
}

TEST_F(ComingBlobTest, WrongBytesAreNeverAWholeAnswer) {
  std::string wrong = blob_;
  wrong[2'500'000]++;
  origin_.set({.blob = wrong});
  Reading first = read(), end = read("Range: bytes=-10\r\n"), front = read("Range: bytes=0-9\r\n");
  origin_.allow(3'000'000);
  EXPECT_TRUE(first.is_cut());
  EXPECT_TRUE(end.is_cut());
  EXPECT_TRUE(front.is_cut()) << "nobody knows which of the bytes are wrong";
  EXPECT_NE(failures().find("the other registry sent other bytes"), std::string::npos) << failures();
  EXPECT_EQ(uploads(), 0u);
  EXPECT_FALSE(is_kept());
  origin_.set({.blob = blob_});
  EXPECT_TRUE(read().until(3'000'000) == blob_) << "fetched anew";
}

TEST_F(ComingBlobTest, AConnectionThatEndsIsMadeAgainForTheRest) {
  origin_.allow(1'000'000, true);
  Reading first = read();
  EXPECT_TRUE(first.until(1'000'000) == part(0, 1'000'000));
  origin_.allow(3'000'000);
  EXPECT_TRUE(first.until(3'000'000) == blob_);
  const std::vector<std::string> heads = origin_.heads();
  EXPECT_EQ(heads.front().find("Range: "), std::string::npos);
  EXPECT_NE(heads.back().find("Range: bytes=1000000-\r\n"), std::string::npos) << heads.back();
  EXPECT_EQ(failures(), "");
}

TEST_F(ComingBlobTest, AnOtherRegistryWithoutRanges) {
  origin_.set({.blob = blob_, .has_ranges = false});
  origin_.allow(1'000'000, true);
  Reading first = read();
  EXPECT_TRUE(first.until(1'000'000) == part(0, 1'000'000));
  origin_.allow(3'000'000);
  EXPECT_TRUE(first.until(3'000'000) == blob_);
}

TEST_F(ComingBlobTest, WhatFailsForGoodIsCutAndFetchedAnew) {
  origin_.allow(1'000'000, true);
  Reading first = read(), second = read();
  EXPECT_TRUE(first.is_cut());
  EXPECT_TRUE(second.is_cut());
  EXPECT_EQ(uploads(), 0u);
  EXPECT_EQ(ask("GET", path_ + "0").status, 400u) << "it goes on with others";
  origin_.allow(3'000'000);
  EXPECT_TRUE(read().until(3'000'000) == blob_);
  EXPECT_TRUE(is_kept());
}

TEST_F(ComingBlobTest, BeforeTheFirstByte) {
  origin_.set({.blob = blob_, .status = 503});
  EXPECT_EQ(ask("GET", path_).status, 502u);
  origin_.set({.blob = blob_, .status = 404});
  EXPECT_EQ(ask("GET", path_).status, 404u);
  origin_.set({.blob = blob_});
  origin_.allow(3'000'000);
  EXPECT_TRUE(ask("GET", path_).body == blob_);
}

TEST_F(ComingBlobTest, WithoutASizeItGoesOutWhenItIsWhole) {
  origin_.set({.blob = blob_, .tells_size = false});
  origin_.allow(3'000'000);
  EXPECT_TRUE(ask("GET", path_).body == blob_);
}

TEST_F(ComingBlobTest, AskedWhetherItIsThere) {
  std::thread later([this] {
    while (origin_.heads().empty()) std::this_thread::yield();
    origin_.allow(3'000'000);
  });
  const RawAnswer answer = ask("HEAD", path_);
  later.join();
  EXPECT_EQ(answer.status, 200u);
  EXPECT_EQ(answer.field("Content-Length"), "3000000");
}

TEST_F(ComingBlobTest, MoreThanMayBeHere) {
  stop();
  options_.service.max_bytes = 1'500'000;
  start();
  origin_.allow(3'000'000);
  EXPECT_TRUE(read().is_cut());
  EXPECT_EQ(uploads(), 0u);
  blob_.resize(1'400'000);
  path_ = "/v2/a/b/blobs/" + sha256_text(blob_);
  origin_.set({.blob = blob_});
  EXPECT_TRUE(read().until(1'400'000) == blob_) << "what was dropped does not count";
}

TEST_F(ComingBlobTest, TheServerEndsMeanwhile) {
  stop();
  options_.limits.end_s = 0;
  start();
  Reading first = read();
  origin_.allow(1'000'000);
  EXPECT_EQ(first.until(1'000'000).size(), 1'000'000u);
  stop();
  EXPECT_TRUE(first.is_cut());
  EXPECT_EQ(uploads(), 0u);
}

}  // namespace
}  // namespace corten::registry::serving
