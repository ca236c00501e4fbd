#include "source/debian/archive_index.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten::source::debian {
namespace {

const char* kSigned = "tests/debian/archive/dists/test/InRelease";
const char* kKeyring = "tests/debian/keyring.asc";

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(Release, Fields) {
  std::string line = " " + Digest::of("x").hex() + " 12 main/binary-amd64/Packages\n";
  ReleaseFile release =
      parse_release("Origin: Debian\nCodename: x\nAcquire-By-Hash: yes\nSHA256:\n" + line, "f");
  EXPECT_EQ(release.origin, "Debian");
  EXPECT_TRUE(release.has_by_hash);
  EXPECT_EQ(release.files.at("main/binary-amd64/Packages").size, 12u);
  EXPECT_EQ(code_of([&] { parse_release("Origin: Debian\n", "f"); }), ErrorCode::kInvalid);
  EXPECT_EQ(code_of([&] { parse_release("SHA256:\n abc 12 x\n", "f"); }), ErrorCode::kInvalid);
  EXPECT_EQ(code_of([&] { parse_release("Date: \x1b[31m\nSHA256:\n" + line, "f"); }), ErrorCode::kInvalid);
  EXPECT_TRUE(
      parse_release("SHA256:\n" + line + " " + Digest::of("y").hex() + " 1 ../../x\n", "f").files.size() ==
      1);
}

TEST(Signature, GoodOne) {
  std::string text = verify_clear_signed(read_file(kSigned), kKeyring, "f");
  EXPECT_TRUE(text.starts_with("Origin: Debian\n")) << text;
  EXPECT_EQ(text.find("BEGIN"), std::string::npos);
  // A key that stands in the source itself.
  EXPECT_EQ(verify_clear_signed(read_file(kSigned), read_file(kKeyring), "f"), text);
}

TEST(Signature, OthersAreRefused) {
  std::string text = read_file(kSigned);
  auto verify = [](const std::string& changed) {
    return code_of([&] { verify_clear_signed(changed, kKeyring, "f"); });
  };
  EXPECT_EQ(verify(replace_all(text, "Origin: Debian", "Origin: Mallory")), ErrorCode::kPermission);
  EXPECT_EQ(verify("Origin: Debian\n"), ErrorCode::kPermission);
  EXPECT_EQ(verify(""), ErrorCode::kPermission);
  EXPECT_EQ(verify(text.substr(0, text.find("-----BEGIN PGP SIGNATURE"))), ErrorCode::kPermission);
  // Text around the signed part is not given out as signed.
  std::string wrapped;
  try {
    wrapped = verify_clear_signed("Origin: Before\n\n" + text + "\nOrigin: After\n", kKeyring, "f");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kPermission);
  }
  EXPECT_EQ(wrapped.find("Before"), std::string::npos);
  EXPECT_EQ(wrapped.find("After"), std::string::npos);
  EXPECT_EQ(code_of([&] { verify_clear_signed(text, "/nonexistent.gpg", "f"); }), ErrorCode::kNotFound);
  EXPECT_EQ(code_of([&] { verify_clear_signed(text, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "f"); }),
            ErrorCode::kInvalid);
}

}  // namespace
}  // namespace corten::source::debian
