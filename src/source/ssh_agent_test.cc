#include "source/ssh_agent.h"

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/temp_dir.h"
#include "source/ssh_key.h"

namespace corten::source {
namespace {

// OpenSSH's own programs speak with our agent.
class SshAgentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (find_program("ssh-add").empty()) {
      if (getenv("CORTEN_MUST_RUN")) FAIL() << "ssh-add is missing";
      GTEST_SKIP() << "ssh-add is missing";
    }
  }
  std::string key(std::vector<std::string> how, const std::string& passphrase = "") {
    std::string file = place_ / ("key" + std::to_string(count_++));
    how.insert(how.begin(), "ssh-keygen");
    how.insert(how.end(), {"-q", "-N", passphrase, "-C", "comment " + std::to_string(count_), "-f", file});
    EXPECT_EQ(run_subprocess(how).exit_code, 0);
    return file;
  }
  SubprocessResult ssh_add(const SshAgentSocket& socket, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "ssh-add");
    return run_subprocess(arguments, {.environment = {{"SSH_AUTH_SOCK", socket.path()}}});
  }
  SshAgentSocket::Options ours() { return {.mode = 0600, .uid = getuid(), .gid = getgid()}; }

  TempDir place_ = TempDir::for_test();
  int count_ = 0;
};

TEST_F(SshAgentTest, EveryKindOfKeySigns) {
  std::vector<std::string> files = {key({"-t", "ed25519"}),
                                    key({"-t", "rsa", "-b", "2048"}),
                                    key({"-t", "ecdsa", "-b", "256"}),
                                    key({"-t", "ecdsa", "-b", "384"}),
                                    key({"-t", "ecdsa", "-b", "521"}),
                                    key({"-t", "rsa", "-b", "2048", "-m", "PEM"}),
                                    key({"-t", "ecdsa", "-m", "PEM"}),
                                    key({"-t", "rsa", "-b", "2048", "-m", "PKCS8"})};
  SshAgentSocket socket(SshAgent::with_keys(files), place_.path(), "agent", ours());
  std::string list = ssh_add(socket, {"-l"}).output;
  EXPECT_EQ(split(std::string(trim(list)), '\n').size(), files.size()) << list;
  EXPECT_NE(list.find("comment 1"), std::string::npos);
  for (const std::string& file : files) {
    SubprocessResult tried = ssh_add(socket, {"-T", file + ".pub"});
    EXPECT_EQ(tried.exit_code, 0) << file << ": " << tried.error_output;
  }
}

TEST_F(SshAgentTest, ForwardedAndReadOnly) {
  std::string first = key({"-t", "ed25519"}), second = key({"-t", "ed25519"});
  SshAgentSocket users(SshAgent::with_keys({first}), place_.path(), "users", ours());
  SshAgentSocket socket(SshAgent::forwarded(users.path()), place_.path(), "agent", ours());
  EXPECT_EQ(ssh_add(socket, {"-T", first + ".pub"}).exit_code, 0);
  EXPECT_NE(ssh_add(socket, {"-T", second + ".pub"}).exit_code, 0);
  EXPECT_NE(ssh_add(socket, {second}).exit_code, 0) << "a key was added";
  EXPECT_NE(ssh_add(socket, {"-D"}).exit_code, 0) << "keys were removed";
  EXPECT_NE(ssh_add(socket, {"-l"}).output.find("comment 1"), std::string::npos);
  SshAgentSocket dead(SshAgent::forwarded(place_ / "nobody"), place_.path(), "dead", ours());
  EXPECT_NE(ssh_add(dead, {"-l"}).exit_code, 0);
}

TEST_F(SshAgentTest, KeysThatCannotBe) {
  std::string locked = key({"-t", "ed25519"}, "passphrase"),
              pem = key({"-t", "rsa", "-m", "PEM"}, "passphrase");
  for (const std::string& file : {locked, pem}) {
    try {
      SshAgent::with_keys({file});
      FAIL() << "taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      EXPECT_NE(error.hint().find("--ssh default"), std::string::npos);
    }
  }
  std::string good = read_file(key({"-t", "ed25519"}));
  EXPECT_THROW(SshKey::parse("hello", "x"), Error);
  for (size_t cut = 0; cut < good.size(); cut += 7)
    EXPECT_THROW(SshKey::parse(good.substr(0, cut), "x"), Error);
}

TEST_F(SshAgentTest, MessagesThatCannotBe) {
  SshAgentSocket socket(SshAgent::with_keys({key({"-t", "ed25519"})}), place_.path(), "agent", ours());
  struct stat st;
  ASSERT_EQ(stat(socket.path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  auto say = [&](const std::string& bytes) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, socket.path().c_str(), socket.path().size() + 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    shutdown(fd.get(), SHUT_WR);
    std::string answer;
    char buffer[100];
    while (ssize_t n = recv(fd.get(), buffer, sizeof buffer, 0)) {
      if (n < 0) break;
      answer.append(buffer, static_cast<size_t>(n));
    }
    return answer;
  };
  std::string failure = ssh_string("\x05");
  EXPECT_EQ(say(ssh_number(0)), "");
  EXPECT_EQ(say(ssh_number(1 << 30)), "");
  EXPECT_EQ(say(ssh_string("\x0d")), failure);
  EXPECT_EQ(say(ssh_string("\x1b" + ssh_string("session-bind@openssh.com"))), failure);
  EXPECT_EQ(say(ssh_string("\x0d" + ssh_string("no key") + ssh_string("data") + ssh_number(0))), failure);
  EXPECT_EQ(say("ab"), "");
  EXPECT_EQ(say(ssh_string("\x0b")).substr(4, 5), std::string("\x0c\0\0\0\x01", 5));
}

}  // namespace
}  // namespace corten::source
