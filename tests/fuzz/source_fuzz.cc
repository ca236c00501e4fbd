// What comes from outside a build: names of repositories and addresses, servers, agents and keys.
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include <fmt/core.h>

#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "fuzz/fuzz.h"
#include "http/client.h"
#include "http/date.h"
#include "http/url.h"
#include "source/git_index.h"
#include "source/git_reference.h"
#include "source/git_submodules.h"
#include "source/http_files.h"
#include "source/ssh_agent.h"
#include "source/ssh_key.h"
#include "source/stat_cache.h"

namespace corten::fuzz {

using namespace corten::source;

namespace {

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
}

bool is_inside(std::string_view path) {
  std::vector<std::string> parts = split(path, '/');
  return !path.starts_with('/') &&
         std::none_of(parts.begin(), parts.end(), [](const auto& p) { return p == ".."; });
}

// What is given to git as an argument is no option to it, nor more than one line, and holds no password.
void check_git(const GitReference& git) {
  for (const std::string* text : {&git.remote, &git.ref, &git.host}) {
    REQUIRE(!text->starts_with('-'));
    REQUIRE(!has_control(*text));
  }
  REQUIRE(!git.remote.empty());
  REQUIRE(git.scheme == "file" || !git.host.empty());
  if (git.scheme == "file" || !git.remote.starts_with(git.scheme + "://")) return;
  size_t host = git.scheme.size() + 3;
  std::string authority = git.remote.substr(host, git.remote.find('/', host) - host);
  size_t at = authority.rfind('@');
  if (at == std::string::npos) return;
  REQUIRE(!git.scheme.starts_with("http"));
  REQUIRE(authority.substr(0, at).find(':') == std::string::npos);
}

}  // namespace

FUZZ_TARGET(
    git_reference, "https://u:p@host:8080/repo.git#v1.2:dir/../x", "git@host:owner/repo#refs/heads/x:y",
    "https://host/repo.git?ref=v1&subdir=a%2Fb&checksum=0123abcd&keep-git-dir=1&submodules=0&mtime=commit",
    "ssh://git@host/repo?branch=b", "github.com/o/r#:sub", "file:///srv/x.git?tag=v2&fetch-by-commit=true",
    "git://-host/x", "https://host/r.git#-x%0ay", "ssh://u:secret@h/r") {
  for (bool files : {false, true})
    tolerate({ErrorCode::kInvalid}, [&] {
      auto git = parse_git_reference(input, {.files = files});
      if (!git) return;
      REQUIRE(files || git->scheme != "file");
      check_git(*git);
      REQUIRE(is_inside(git->subdir));
      if (git->scheme == "file") return;
      GitReference again = parse_git_remote(git->remote);
      REQUIRE(again.remote == git->remote && again.host == git->host && again.scheme == git->scheme);
    });
  tolerate({ErrorCode::kInvalid}, [&] { check_git(parse_git_remote(input)); });
}

// The lines up to an empty one are `ls-tree`'s, the others `config`'s; a line's end stands for the zero byte,
// a | for the line's end.
FUZZ_TARGET(
    submodules,
    "160000 commit "
    "0123456789012345678901234567890123456789\tlib\n\nsubmodule.lib.path|lib\nsubmodule.lib.url|../lib.git\n",
    "160000 commit 01\ta/b\n160000 commit 02\tc\n\nsubmodule.a.b.path|a/b\nsubmodule.a.b.url|git@h:x\n"
    "submodule.c.path|c\nsubmodule.c.url|https://h/c\nsubmodule.c.update|none\n",
    "160000 commit 01\ta\n\nsubmodule.a.path|a\nsubmodule.a.url|-upload-pack=x\n") {
  size_t middle = std::min(input.find("\n\n"), input.size());
  std::string tree = replace_all(std::string(input.substr(0, middle)), "\n", std::string(1, '\0'));
  std::string settings = replace_all(std::string(input.substr(middle)), "\n", std::string(1, '\0'));
  settings = replace_all(settings, "|", "\n");
  for (const char* parent : {"https://host/group/repo.git", "git@host:group/repo", "ssh://u@host/a/b/c"})
    tolerate({ErrorCode::kInvalid}, [&] {
      for (const GitSubmodule& module : parse_submodules(tree, settings, parent)) {
        check_git(module.remote);
        REQUIRE(!module.path.starts_with('-'));
        REQUIRE(module.remote.scheme != "file");
      }
    });
}

// The first line is an address, the second a Location seen from there.
FUZZ_TARGET(url, "http://user:pw@Host:81/a?b#c\n../x?y", "https://[::1]:443/\n//other/z", "file:///a%20b\n/x",
            "copy:/x\nhttps://h", "http://h?q\n?r", "http://a@b@c/d%zz%4\nx:y") {
  size_t end = std::min(input.find('\n'), input.size());
  std::string text(input.substr(0, end));
  std::string shown = http::without_credentials(text);
  REQUIRE(http::without_credentials(shown) == shown);
  http::parse_date(input, 0);
  tolerate({ErrorCode::kInvalid}, [&] {
    std::string name = http_file_name(text);
    REQUIRE(!name.empty() && name.find('/') == std::string::npos && !has_control(name) && name != "..");
  });
  tolerate({ErrorCode::kInvalid}, [&] {
    http::Url url = http::parse_url(text);
    REQUIRE(!url.target.empty());
    if (url.is_file()) return;
    REQUIRE(!url.host.empty() && url.port != 0);
    REQUIRE(url.target.starts_with('/') && !has_control(url.target));
    REQUIRE(url.authority().find_first_of("@/?# \t\r\n") == std::string::npos);
    REQUIRE(http::parse_url(url.shown()).shown() == url.shown());
    if (end == input.size()) return;
    http::Url next = http::resolve_url(url, input.substr(end + 1));
    REQUIRE(next.is_file() || !next.host.empty());
  });
}

namespace {

// A server that has been recorded: it sends these bytes in pieces, however it is asked.
class Recorded : public http::Connection {
 public:
  Recorded(std::string_view bytes, std::string& asked) : bytes_(bytes), asked_(asked) {}
  size_t read(void* data, size_t size) override {
    size_t count = std::min({size, bytes_.size(), size_t{1} + piece_++ % 700});
    if (count) memcpy(data, bytes_.data(), count);
    bytes_.remove_prefix(count);
    return count;
  }
  void write(std::string_view bytes) override { asked_ += bytes; }

 private:
  std::string_view bytes_;
  std::string& asked_;
  size_t piece_ = 0;
};

}  // namespace

// A body is as long as was told and no longer than what was sent; a request is one request.
FUZZ_TARGET(
    http_answer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: /b?c\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 \r\n\r\nto the end",
    "HTTP/1.1 301 x\r\nLocation: http://u:p@other/\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 404 No\x1b[31m\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 304 x\r\nContent-Length: 9999999999999999999\r\n\r\n") {
  std::string asked;
  http::ClientOptions options{.proxies = {}};
  options.connector = [&](const std::string&, uint16_t) { return std::make_unique<Recorded>(input, asked); };
  try {
    http::Client client(options);
    http::Response response = client.open("http://user:secret@host/path");
    REQUIRE(response.status == 200 && response.url.find("secret") == std::string::npos);
    std::string body = archive::read_rest(*response.body, 1 << 20);
    REQUIRE(body.size() <= input.size());
    REQUIRE(!response.size || *response.size == body.size());
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::kInvalid || error.code() == ErrorCode::kNotFound ||
            error.code() == ErrorCode::kPermission || error.code() == ErrorCode::kIo ||
            error.code() == ErrorCode::kFailed);
    REQUIRE(is_terminal_text(printable(error.what())));
    REQUIRE(std::string_view(error.what()).find("secret") == std::string_view::npos);
  }
  REQUIRE(asked.starts_with("GET /path HTTP/1.1\r\n"));
  std::vector<std::string> requests = split(replace_all(asked, "\r\n\r\n", "\x01"), '\x01');
  REQUIRE(requests.back().empty() && requests.size() <= 2 * 11 + 1);
  requests.pop_back();
  for (const std::string& request : requests) {
    REQUIRE(request.starts_with("GET /"));
    for (const std::string& line : split(replace_all(request, "\r\n", "\n"), '\n'))
      REQUIRE(!has_control(line));
  }
}

namespace {

// Sees what a step's messages come to.
class Listening : public SshAgent {
 public:
  std::string answer(std::string_view message) override {
    std::lock_guard lock(mutex_);
    REQUIRE(!message.empty() && (message[0] == 11 || message[0] == 13));
    if (message.size() % 3 == 0) throw Error(ErrorCode::kIo, "the agent is gone");
    return std::string(1, message[0] == 11 ? 12 : 14) + std::string(message);
  }

 private:
  std::mutex mutex_;
};

UniqueFd connect_to_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

}  // namespace

// Of what a step sends only listing and signing come through; it is answered in whole messages that are a
// failure, a list or a signature, no more of them than it sent.
FUZZ_TARGET(ssh_agent_socket, std::string("\0\0\0\1\x0b", 5), std::string("\0\0\0\1\x13", 5),
            std::string("\0\0\0\x0e\x0d\0\0\0\1k\0\0\0\1d\0\0\0\4", 18),
            std::string("\0\0\0\1\x0b\0\0\0\1\x1b\0\0\0\2\x0d", 15), std::string("\xff\xff\xff\xff", 4)) {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  static SshAgentSocket socket(std::make_shared<Listening>(), place.path(), "agent",
                               {.mode = 0600, .uid = geteuid(), .gid = getegid()});
  UniqueFd fd = connect_to_socket(socket.path());
  for (std::string_view rest = input.substr(0, 32 << 10); !rest.empty();) {
    ssize_t n = send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n <= 0) break;  // let go already
    rest.remove_prefix(static_cast<size_t>(n));
  }
  shutdown(fd.get(), SHUT_WR);
  std::string answers;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = recv(fd.get(), buffer, sizeof buffer, 0)) > 0) answers.append(buffer, static_cast<size_t>(n));
  // Whoever is let go in the middle of what it sends may lose the end of an answer.
  if (n < 0) return;
  SshReader reader(answers);
  size_t count = 0;
  for (; !reader.at_end(); count++) {
    std::string_view answer = reader.string();
    REQUIRE(!answer.empty() && (answer[0] == 5 || answer[0] == 12 || answer[0] == 14));
  }
  REQUIRE(count * 5 <= input.size());
}

// A hostile agent: whatever it says is an answer of bounded size, or an Error.
FUZZ_TARGET(ssh_agent_forwarded, std::string("\0\0\0\5\x0c\0\0\0\0", 9),
            std::string("\xff\xff\xff\xff\x0c", 5), std::string("\0\0\0\0", 4), std::string("\0\4\0\0x", 5)) {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  static const std::string path = place / "agent";
  static UniqueFd listener = [] {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
            listen(fd.get(), 4) == 0);
    return fd;
  }();
  std::thread agent([&] {
    UniqueFd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    for (std::string_view rest = input; !rest.empty();) {
      ssize_t n = send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      rest.remove_prefix(static_cast<size_t>(n));
    }
    shutdown(fd.get(), SHUT_WR);
    char buffer[64];
    while (recv(fd.get(), buffer, sizeof buffer, 0) > 0) {
    }
  });
  tolerate({ErrorCode::kIo}, [&] {
    std::string answer = SshAgent::forwarded(path)->answer("\x0b");
    REQUIRE(answer.size() + 4 <= input.size());
  });
  agent.join();
}

namespace {

// PROTOCOL.key; the keys are nobody's: Ed25519's of a seed of zeros, ECDSA's number 1 with the curve's own
// point, RSA's of 3233 = 61 * 53.
std::string key_bytes(const std::string& kind, const std::string& fields) {
  std::string inside = ssh_number(7) + ssh_number(7) + ssh_string(kind) + fields + ssh_string("comment");
  while (inside.size() % 8) inside += static_cast<char>(inside.size() % 8);
  return std::string("openssh-key-v1\0", 15) + ssh_string("none") + ssh_string("none") + ssh_string("") +
         ssh_number(1) + ssh_string(ssh_string(kind)) + ssh_string(inside);
}
std::string ed25519_bytes() {
  std::string point =
      "\x3b\x6a\x27\xbc\xce\xb6\xa4\x2d\x62\xa3\xa8\xd0\x2a\x6f\x0d\x73"
      "\x65\x32\x15\x77\x1d\xe2\x43\xa6\x3a\xc0\x48\xa1\x8b\x59\xda\x29";
  return key_bytes("ssh-ed25519", ssh_string(point) + ssh_string(std::string(32, '\0') + point));
}
std::string ecdsa_bytes() {
  std::string point =
      "\x04\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
      "\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
      "\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16"
      "\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
  return key_bytes("ecdsa-sha2-nistp256", ssh_string("nistp256") + ssh_string(point) + ssh_string("\1"));
}
std::string rsa_bytes() {
  return key_bytes("ssh-rsa", ssh_string("\x0c\xa1") + ssh_string("\x11") + ssh_string("\x0a\xc1") +
                                  ssh_string("\x26") + ssh_string("\x3d") + ssh_string("\x35"));
}
std::string armored(std::string_view bytes) {
  return "-----BEGIN OPENSSH PRIVATE"
         " KEY-----\n" +
         base64_encode(bytes) +
         "\n-----END OPENSSH PRIVATE"
         " KEY-----\n";
}

void sign_with(const SshKey& key) {
  SshReader blob(key.public_blob());
  REQUIRE(!blob.string().empty());
  // A key may be read whose numbers sign nothing; what is signed is a kind and a signature.
  tolerate({ErrorCode::kFailed}, [&] {
    std::string signature = key.sign("data", 2);
    SshReader parts(signature);
    REQUIRE(!parts.string().empty());
    parts.string();
    REQUIRE(parts.at_end());
  });
}

}  // namespace

FUZZ_TARGET(ssh_key, armored(ed25519_bytes()), armored(ecdsa_bytes()),
            "-----BEGIN PRIVATE"
            " KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE"
            " KEY-----\n") {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported}, [&] { sign_with(SshKey::parse(input, "key")); });
}

// The inside of a key in OpenSSH's form: what the letters stand for is changed, not the letters.
FUZZ_TARGET(ssh_key_bytes, ed25519_bytes(), ecdsa_bytes(), rsa_bytes()) {
  tolerate({ErrorCode::kInvalid, ErrorCode::kUnsupported},
           [&] { sign_with(SshKey::parse(armored(input), "key")); });
}

// What an agent that holds keys says to any message.
FUZZ_TARGET(ssh_agent_keys, std::string("\x0b", 1), std::string("\x0d\0\0\0\1k\0\0\0\1d\0\0\0\4", 14),
            std::string("\x0d\0\0\0\0\0\0\0\0\0\0\0\0", 13)) {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  static const std::shared_ptr<SshAgent> agent = [] {
    write_file_atomic(place / "key", armored(ed25519_bytes()), 0600);
    return SshAgent::with_keys({place / "key"});
  }();
  tolerate({ErrorCode::kInvalid}, [&] {
    std::string answer = agent->answer(input);
    REQUIRE(answer[0] == 5 || answer[0] == 12 || answer[0] == 14);
  });
}

namespace {
std::string git_index(char version, const std::string& entries, char count) {
  return std::string("DIRC\0\0\0", 7) + version + std::string("\0\0\0", 3) + count + entries +
         std::string(20, 'h');
}
std::string git_entry(const std::string& before_path, const std::string& path) {
  std::string stat(62, '\0');
  stat[26] = '\x81';  // a regular file
  stat[27] = '\xa4';
  return stat + before_path + path + '\0';
}
}  // namespace

// Paths take no more memory than the file lets expect, whatever version 4 shares among them.
FUZZ_TARGET(git_index, git_index(2, git_entry("", "ab") + std::string(7, '\0'), 1),
            git_index(4, git_entry(std::string(1, '\0'), "dir/a") + git_entry("\1", "b"), 2), "DIRC") {
  tolerate({ErrorCode::kCorrupt, ErrorCode::kUnsupported}, [&] {
    size_t total = 0;
    for (const std::string& path : parse_git_index(input)) total += path.size();
    REQUIRE(total <= input.size() * 4096);
  });
}

namespace {
std::string stat_record(const std::string& path) {
  return std::string(1, static_cast<char>(path.size())) + std::string(3, '\0') + path +
         std::string(8 * 6 + 4 + 32, '\5');
}
}  // namespace

// A block of records, its digest mended: whatever is read does not get in the way of what is remembered for
// the next build.
FUZZ_TARGET(stat_cache, stat_record("a/b"), stat_record("") + stat_record("c"), "\xff\xff\xff\xff") {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  static const std::string file = place / "cache";
  uint32_t length = static_cast<uint32_t>(input.size());
  std::string block = std::string(reinterpret_cast<const char*>(&length), 4) + std::string(input);
  Digest sum = Digest::of(block);
  block.append(reinterpret_cast<const char*>(sum.bytes().data()), 32);
  write_file_atomic(file, "corten-stat-cache-2\n" + block, 0600, Durable::kNo);
  struct stat st = {};
  st.st_mtim.tv_sec = st.st_ctim.tv_sec = 1000;
  for (const char* text : {"first", "second"}) {
    Digest digest = Digest::of(text);
    StatCache cache(file);
    for (const char* name : {"a/b", "c", ""}) cache.find(name, st, INT64_MAX);
    cache.remember("a/b", st, digest, 2'000'000'000'000);
    cache.save();
    REQUIRE(StatCache(file).find("a/b", st, INT64_MAX) == digest);
  }
}

}  // namespace corten::fuzz
