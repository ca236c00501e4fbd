// Failure is an exception of one type. It says what went wrong, where, and what to do about it.
#pragma once
#include <cerrno>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

namespace corten {

// What kind of failure it is; the command line maps kinds to exit codes.
enum class ErrorCode {
  kInvalid,      // the input (a file, an argument, a message) is wrong
  kNotFound,     // a thing that was named is not there
  kExists,       // a thing that must not be there is
  kPermission,   // the system or a policy said no
  kUnsupported,  // this machine, or this version, cannot do it
  kCorrupt,      // bytes do not have the digest, size or form that they must have
  kNoSpace,      // disk, inodes or a limit is used up
  kLost,         // what was known to lie elsewhere is not to be had there any more
  kCancelled,    // the user, or a failure elsewhere, ended it
  kIo,           // the system failed otherwise; see errno
  kFailed,       // a child process (a RUN step, a helper) failed
  kUsage,        // the command line is wrong (exit code 2)
  kInternal,     // a promise of our own code was broken
};

// A place in a text. Lines and columns count from 1, columns in bytes; 0 means unknown.
struct SourceSpan {
  std::string file;
  int line = 0;
  int column = 0;
  int end_line = 0;    // the last line of the span; 0: the same as line
  int end_column = 0;  // one past the last column; 0: to the end of the line
  bool operator==(const SourceSpan&) const = default;
};

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) { compose(); }

  // What is wrong, in lower case, with the operand named and the contexts in front.
  const char* what() const noexcept override { return what_.c_str(); }

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  int system_errno() const { return errno_; }
  const std::optional<SourceSpan>& span() const { return span_; }

  // What to do about it; shown on a line of its own.
  Error&& with_hint(std::string hint) && {
    hint_ = std::move(hint);
    return std::move(*this);
  }
  Error&& with_errno(int value) && {
    errno_ = value;
    return std::move(*this);
  }
  Error&& with_span(SourceSpan span) && {
    span_ = std::move(span);
    return std::move(*this);
  }
  // Puts "context: " before the message, on the way up.
  Error&& with_context(std::string_view context) && {
    add_context(context);
    return std::move(*this);
  }
  void add_context(std::string_view context);
  void set_span(SourceSpan span) { span_ = std::move(span); }
  void set_hint(std::string hint) { hint_ = std::move(hint); }

 private:
  void compose();
  ErrorCode code_;
  std::string message_;
  std::string hint_;
  std::vector<std::string> contexts_;
  int errno_ = 0;
  std::optional<SourceSpan> span_;
  std::string what_;
};

// `fail(ErrorCode::kInvalid, "tag {}: too long", tag)` throws.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// An Error from errno: "<message>: <the system's words>", with a code that fits the value.
Error errno_error(int value, std::string_view message);

// Throws errno_error for the current errno.
template <typename... Args>
[[noreturn]] void fail_errno(fmt::format_string<Args...> format, Args&&... args) {
  int value = errno;
  throw errno_error(value, fmt::format(format, std::forward<Args>(args)...));
}

std::string errno_text(int value);

}  // namespace corten
