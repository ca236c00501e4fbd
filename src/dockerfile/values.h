// Texts that get their meaning only after variables were expanded: ports, modes, owners, durations, signals.
// All pure and thread-safe; all throw Error(kInvalid) without a span (the caller has the word's).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace corten::dockerfile {

// EXPOSE 80, 8000-8010/udp, 127.0.0.1:80:80/tcp (address and host port are ignored).
struct PortSpec {
  uint16_t first = 0;
  uint16_t last = 0;
  std::string protocol;             // "tcp", "udp", "sctp"
  std::string protocol_as_written;  // for the lint rule on its case; "" when none was given
  bool has_host_part = false;       // an address or host port was given

  std::vector<std::string> config_keys() const;  // "8000/udp", ... one for each port of the range
};
PortSpec parse_port_spec(std::string_view text);

// COPY --chmod: an octal mode, or chmod(1)'s symbolic clauses with a umask of 0.
class ModeChange {
 public:
  // "" gives the change that changes nothing.
  static ModeChange parse(std::string_view text);

  bool is_none() const { return !octal_ && clauses_.empty(); }
  std::optional<uint32_t> octal() const { return octal_; }
  // Permission bits with setuid, setgid, sticky (07777), in and out.
  uint32_t apply(uint32_t mode, bool is_directory) const;
  const std::string& text() const { return text_; }
  bool operator==(const ModeChange&) const = default;

 private:
  enum class Operation : char { kAdd = '+', kRemove = '-', kSet = '=' };
  struct Clause {
    uint32_t who = 0;  // the bits of the classes it touches
    Operation operation = Operation::kAdd;
    uint32_t bits = 0;
    bool conditional_execute = false;  // X
    int copied_shift = -1;             // 6, 3, 0: the permissions of user, group, others
    bool operator==(const Clause&) const = default;
  };
  static std::vector<Clause> parse_symbolic(std::string_view text);
  std::string text_;
  std::optional<uint32_t> octal_;
  std::vector<Clause> clauses_;
};

// COPY --chown: `user[:group]`, split at the first colon. A name is looked up in the stage's /etc/passwd,
// /etc/group by whoever has them.
struct OwnerSpec {
  std::string user;  // "" for ":group": user 0
  std::optional<std::string> group;
  std::optional<uint32_t> uid;  // set when the user is "root" or a number; never looked up then
  std::optional<uint32_t> gid;
};
OwnerSpec parse_owner(std::string_view text);

// Go's time.ParseDuration: "1h30m", "1.5s", "100ms", "-2us".
int64_t parse_duration_ns(std::string_view text);

// Go's Duration.String(): "1m30s", "0s", "1.5s": how history prints HEALTHCHECK.
std::string format_duration(int64_t nanoseconds);

// A number but 0, or a Linux signal's name with or without SIG, in any case. Fails with `invalid signal: X`.
void check_stop_signal(std::string_view text);
// Its number; 15 for the empty text (the default).
int stop_signal_number(std::string_view text);

}  // namespace corten::dockerfile
