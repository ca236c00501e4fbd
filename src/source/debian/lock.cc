// The text form of a lock: one line a thing, fields apart by blanks, in an order that depends on nothing but
// the content, so that a change of versions is a short diff.
//
//   # corten base lock 1
//   suite bookworm
//   architecture amd64
//   variant minbase
//   include ca-certificates
//   release bookworm sha256:... Sat, 01 Jan 2000 00:00:00 UTC
//   package NAME VERSION ARCHITECTURE SIZE sha256:... SUITE PATH [essential]
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "source/debian/control.h"
#include "source/debian/recipe.h"

namespace corten::source::debian {

namespace {

constexpr std::string_view kFirstLine = "# corten base lock 1";
constexpr size_t kMaxLockBytes = 64 << 20;
constexpr uint64_t kMaxPackageBytes = uint64_t{4} << 30;

LockedPackage parse_package(const std::vector<std::string>& words) {
  if (words.size() != 8 && !(words.size() == 9 && words[8] == "essential"))
    fail(ErrorCode::kInvalid, "expected package NAME VERSION ARCHITECTURE SIZE DIGEST SUITE PATH");
  LockedPackage package;
  package.name = words[1];
  package.version = words[2];
  package.architecture = words[3];
  auto size = parse_int(words[4]);
  auto digest = Digest::try_parse(words[5]);
  package.suite = words[6];
  package.path = words[7];
  package.is_essential = words.size() == 9;
  if (!is_package_name(package.name)) fail(ErrorCode::kInvalid, "{} is no package name", quote(package.name));
  if (!is_package_version(package.version))
    fail(ErrorCode::kInvalid, "{} is no version", quote(package.version));
  if (!is_architecture(package.architecture))
    fail(ErrorCode::kInvalid, "{} is no architecture", quote(package.architecture));
  if (!size || *size <= 0 || static_cast<uint64_t>(*size) > kMaxPackageBytes)
    fail(ErrorCode::kInvalid, "{} is no size", quote(words[4]));
  if (!digest) fail(ErrorCode::kInvalid, "{} is no digest", quote(words[5]));
  if (!is_suite(package.suite)) fail(ErrorCode::kInvalid, "{} is no suite", quote(package.suite));
  if (!is_archive_path(package.path))
    fail(ErrorCode::kInvalid, "{} is no path of an archive", quote(package.path));
  package.size = static_cast<uint64_t>(*size);
  package.digest = *digest;
  return package;
}

LockedRelease parse_release(const std::vector<std::string>& words, std::string_view line) {
  auto digest = words.size() > 2 ? Digest::try_parse(words[2]) : std::nullopt;
  if (!digest || !is_suite(words[1])) fail(ErrorCode::kInvalid, "expected release SUITE DIGEST DATE");
  size_t date = line.find(words[2]) + words[2].size();
  return {words[1], std::string(trim(line.substr(date))), *digest};
}

void parse_line(std::string_view line, Lock& lock) {
  std::vector<std::string> words = split_words(line);
  const std::string& key = words[0];
  if (key == "package") {
    lock.packages.push_back(parse_package(words));
  } else if (key == "release") {
    lock.releases.push_back(parse_release(words, line));
  } else if (words.size() != 2) {
    fail(ErrorCode::kInvalid, "expected a keyword and its value, got {}", quote(line));
  } else if (key == "suite") {
    lock.suite = words[1];
  } else if (key == "architecture") {
    lock.architecture = words[1];
  } else if (key == "variant") {
    lock.variant = parse_variant(words[1]);
  } else if (key == "include") {
    lock.include.push_back(words[1]);
  } else {
    fail(ErrorCode::kInvalid, "unknown keyword {}", quote(key));
  }
}

}  // namespace

std::string emit_lock(const Lock& lock) {
  std::string text = fmt::format("{}\nsuite {}\narchitecture {}\nvariant {}\n", kFirstLine, lock.suite,
                                 lock.architecture, variant_name(lock.variant));
  for (const std::string& item : lock.include) text += "include " + item + "\n";
  for (const LockedRelease& r : lock.releases)
    text += fmt::format("release {} {} {}\n", r.suite, r.digest.to_string(), r.date);
  for (const LockedPackage& p : lock.packages)
    text += fmt::format("package {} {} {} {} {} {} {}{}\n", p.name, p.version, p.architecture, p.size,
                        p.digest.to_string(), p.suite, p.path, p.is_essential ? " essential" : "");
  return text;
}

Lock parse_lock(std::string_view text, std::string_view name) {
  if (text.size() > kMaxLockBytes) fail(ErrorCode::kInvalid, "{}: larger than {} bytes", name, kMaxLockBytes);
  Lock lock;
  int number = 0;
  for (const std::string& line : split(text, '\n')) {
    number++;
    if (number == 1 && line != kFirstLine)
      fail(ErrorCode::kInvalid, "{}:1: not a lock of `corten base lock`: the first line is not {}", name,
           quote(kFirstLine));
    if (trim(line).empty() || line.starts_with('#')) continue;
    try {
      parse_line(line, lock);
    } catch (Error& error) {
      error.add_context(fmt::format("{}:{}", name, number));
      throw;
    }
  }
  if (!is_suite(lock.suite)) fail(ErrorCode::kInvalid, "{}: suite is missing", name);
  platform_of(lock.architecture);
  for (size_t i = 1; i < lock.packages.size(); i++)
    if (lock.packages[i - 1].name >= lock.packages[i].name)
      fail(ErrorCode::kInvalid, "{}: package {} stands twice or out of order", name, lock.packages[i].name);
  return lock;
}

void check_lock_fits(const Recipe& recipe, const Lock& lock) {
  auto stale = [](std::string_view what, std::string_view recipe_says, std::string_view lock_says) {
    throw Error(ErrorCode::kInvalid,
                fmt::format("the lock was made for another recipe: {} is {}, the lock has {}", what,
                            quote(recipe_says), quote(lock_says)))
        .with_hint("make it anew with `corten base lock`");
  };
  std::vector<std::string> include = recipe.include;
  std::sort(include.begin(), include.end());
  include.erase(std::unique(include.begin(), include.end()), include.end());
  if (recipe.suite != lock.suite) stale("suite", recipe.suite, lock.suite);
  if (recipe.architecture != lock.architecture) stale("architecture", recipe.architecture, lock.architecture);
  if (recipe.variant != lock.variant)
    stale("variant", variant_name(recipe.variant), variant_name(lock.variant));
  if (include != lock.include) stale("include", join(include, ","), join(lock.include, ","));
}

}  // namespace corten::source::debian
