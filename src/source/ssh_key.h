// A private key of ssh that signs: what an agent holds.
//
// Read are OpenSSH's own form ("openssh-key-v1", PROTOCOL.key) and PEM (PKCS#1, SEC 1, PKCS#8), without a
// passphrase; RSA, ECDSA on the NIST curves, Ed25519.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace corten::source {

// Thread-safe.
class SshKey {
 public:
  // `name` is for errors, and the comment where the key has none. Error(kInvalid) for what is no key,
  // Error(kUnsupported) for a passphrase and for other kinds, with what to do.
  static SshKey parse(std::string_view text, const std::string& name);
  SshKey(SshKey&&) noexcept;
  ~SshKey();

  const std::string& public_blob() const { return public_blob_; }  // RFC 4253, 6.6
  const std::string& comment() const { return comment_; }
  // A signature blob (RFC 4253, 5656, 8332, 8709); `flags` as in a request to an agent: 2 asks for SHA-256,
  // 4 for SHA-512, of RSA alone.
  std::string sign(std::string_view data, uint32_t flags) const;

 private:
  struct Secret;
  SshKey();
  std::unique_ptr<Secret> secret_;
  std::string kind_, public_blob_, comment_;
};

// The wire's forms: a four-byte length before a string, a number without leading zeros.
std::string ssh_string(std::string_view bytes);
std::string ssh_number(uint32_t value);

// Reads them; Error(kInvalid) when there is less than what is said.
class SshReader {
 public:
  explicit SshReader(std::string_view bytes) : bytes_(bytes) {}
  uint8_t byte();
  uint32_t number();
  std::string_view string();
  bool at_end() const { return bytes_.empty(); }
  std::string_view rest() const { return bytes_; }

 private:
  std::string_view take(size_t size);
  std::string_view bytes_;
};

}  // namespace corten::source
