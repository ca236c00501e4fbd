#include "base/error.h"

#include <string.h>

namespace corten {

void Error::add_context(std::string_view context) {
  contexts_.insert(contexts_.begin(), std::string(context));
  compose();
}

void Error::compose() {
  what_.clear();
  for (const std::string& context : contexts_) what_ += context + ": ";
  what_ += message_;
}

std::string errno_text(int value) {
  char buffer[128];
  std::string text = strerror_r(value, buffer, sizeof buffer);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z' && (text.size() < 2 || text[1] >= 'a'))
    text[0] += 'a' - 'A';
  return text;
}

static ErrorCode code_of_errno(int value) {
  switch (value) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EEXIST:
      return ErrorCode::kExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermission;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return ErrorCode::kNoSpace;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorCode::kUnsupported;
    default:
      return ErrorCode::kIo;
  }
}

Error errno_error(int value, std::string_view message) {
  return Error(code_of_errno(value), fmt::format("{}: {}", message, errno_text(value))).with_errno(value);
}

}  // namespace corten
