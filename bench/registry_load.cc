// Loads a registry: registry_load HOST PORT WORK CONNECTIONS SECONDS; prints operations per second. For bench/registry, which
// compiles it. One thread, one request at a time on each connection.
//   manifests  PUT of a new manifest under a new tag, then GET of it
//   pulls      GET of one of 50 manifests by its tag
//   blobs      POST, then PUT of a new blob of some 1,500 bytes
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

std::string host, prefix;
constexpr int kPulled = 50;
constexpr const char* kType = "application/vnd.oci.image.manifest.v1+json";

[[noreturn]] void fail(const std::string& what) {
  fprintf(stderr, "registry_load: %s\n", what.c_str());
  exit(1);
}

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::string digest_of(const std::string& bytes) {
  unsigned char hash[32];
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), hash, &size, EVP_sha256(), nullptr);
  std::string text = "sha256:";
  char hex[3];
  for (unsigned char byte : hash) {
    snprintf(hex, sizeof hex, "%02x", byte);
    text += hex;
  }
  return text;
}

struct Connection {
  int fd = -1, number = 0;
  long count = 0;
  int step = 0;
  std::string body, digest, in;

  void send_request(const std::string& method, const std::string& target, const std::string& content = "",
                    const std::string& type = "application/octet-stream") {
    std::string text = method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n";
    if (method == "GET") text += std::string("Accept: ") + kType + "\r\n";  // docker-registry has nothing for others
    if (method != "GET")
      text += "Content-Type: " + type + "\r\nContent-Length: " + std::to_string(content.size()) + "\r\n";
    text += "\r\n" + content;
    if (send(fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) fail("send");
  }
  // The answer's head once all of the answer is here, else "".
  std::string take_answer() {
    const size_t end = in.find("\r\n\r\n");
    if (end == std::string::npos) return "";
    std::string head = in.substr(0, end + 2);
    const size_t at = strcasestr(head.c_str(), "\r\nContent-Length:") ? static_cast<size_t>(strcasestr(head.c_str(), "\r\nContent-Length:") - head.c_str()) : std::string::npos;
    const size_t size = at == std::string::npos ? 0 : strtoul(head.c_str() + at + 17, nullptr, 10);
    if (in.size() < end + 4 + size) return "";
    in.erase(0, end + 4 + size);
    return head;
  }
  static std::string location_of(const std::string& head) {
    const char* found = strcasestr(head.c_str(), "\r\nLocation:");
    if (!found) fail("no Location: " + head);
    std::string location(found + 11, strchr(found + 2, '\r'));
    location.erase(0, location.find_first_not_of(' '));
    if (const size_t scheme = location.find("://"); scheme != std::string::npos)
      location.erase(0, location.find('/', scheme + 3));
    return location;
  }
};

int status_of(const std::string& head) {
  return atoi(head.c_str() + 9);
}

std::string unique(const Connection& c) {
  static const std::string kRun = std::to_string(time(nullptr)) + "-" + std::to_string(getpid());
  return kRun + "-" + std::to_string(c.number) + "-" + std::to_string(c.count);
}

std::string manifest_text(const std::string& note) {
  return std::string("{\"schemaVersion\":2,\"mediaType\":\"") + kType +
         "\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" + digest_of("{}") +
         "\",\"size\":2},\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"" +
         digest_of("layer") + "\",\"size\":5}],\"annotations\":{\"note\":\"" + note + "\"}}";
}

std::string with_digest(const std::string& location, const std::string& digest) {
  return location + (location.find('?') == std::string::npos ? "?" : "&") + "digest=" + digest;
}

// Sends the next request; true when an operation has ended with what came.
bool next(Connection& c, bool manifests, bool pulls, const std::string& head) {
  if (!head.empty() && status_of(head) >= 300) fail(head);
  if (pulls) {
    c.send_request("GET", prefix + "/manifests/pulled" + std::to_string(c.count++ % kPulled));
    return !head.empty();
  }
  switch (c.step) {
    case 0:
      c.count++;
      c.step = 1;
      if (manifests) {
        c.body = manifest_text(unique(c));
        c.send_request("PUT", prefix + "/manifests/t" + unique(c), c.body, kType);
      } else {
        c.body.clear();
        while (c.body.size() < 1500) c.body += unique(c);
        c.digest = digest_of(c.body);
        c.send_request("POST", prefix + "/blobs/uploads/");
      }
      return false;
    case 1:
      c.step = 2;
      if (manifests)
        c.send_request("GET", prefix + "/manifests/t" + unique(c));
      else
        c.send_request("PUT", with_digest(Connection::location_of(head), c.digest), c.body);
      return false;
    default:
      c.step = 0;
      next(c, manifests, false, "");
      return true;
  }
}

void connect_to(Connection& c, const sockaddr_in& address) {
  c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(c.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("connect");
}

std::string wait_answer(Connection& c) {
  while (true) {
    if (std::string head = c.take_answer(); !head.empty()) return head;
    char buffer[65536];
    const ssize_t n = recv(c.fd, buffer, sizeof buffer, 0);
    if (n <= 0) fail("the server closed a connection");
    c.in.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) fail("registry_load HOST PORT manifests|pulls|blobs CONNECTIONS SECONDS");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(atoi(argv[2])));
  if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) fail("a numeric address");
  host = std::string(argv[1]) + ":" + argv[2];
  prefix = "/v2/bench/load";
  const bool manifests = strcmp(argv[3], "manifests") == 0, pulls = strcmp(argv[3], "pulls") == 0;
  std::vector<Connection> connections(static_cast<size_t>(atoi(argv[4])));
  Connection first;
  connect_to(first, address);
  for (const std::string bytes : {"{}", "layer"}) {
    first.send_request("POST", prefix + "/blobs/uploads/");
    const std::string location = Connection::location_of(wait_answer(first));
    first.send_request("PUT", with_digest(location, digest_of(bytes)), bytes);
    if (const std::string head = wait_answer(first); status_of(head) != 201) fail(head);
  }
  for (int i = 0; pulls && i < kPulled; i++) {
    first.send_request("PUT", prefix + "/manifests/pulled" + std::to_string(i), manifest_text(std::to_string(i)), kType);
    if (const std::string head = wait_answer(first); status_of(head) != 201) fail(head);
  }
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  for (Connection& c : connections) {
    c.number = static_cast<int>(&c - connections.data());
    connect_to(c, address);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &c;
    epoll_ctl(poll, EPOLL_CTL_ADD, c.fd, &event);
    next(c, manifests, pulls, "");
  }
  const double begin = now(), end = begin + atof(argv[5]);
  long done = 0;
  char buffer[65536];
  while (now() < end) {
    epoll_event events[64];
    const int ready = epoll_wait(poll, events, 64, 1000);
    for (int i = 0; i < ready; i++) {
      auto& c = *static_cast<Connection*>(events[i].data.ptr);
      const ssize_t n = recv(c.fd, buffer, sizeof buffer, 0);
      if (n <= 0) fail("the server closed a connection");
      c.in.append(buffer, static_cast<size_t>(n));
      const std::string head = c.take_answer();
      if (!head.empty() && next(c, manifests, pulls, head)) done++;
    }
  }
  printf("%.0f\n", static_cast<double>(done) / (now() - begin));
  return 0;
}
