// Unix `ar` archives as Debian packages are (deb(5): debian-binary, control.tar.*, data.tar.*).
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "archive/source.h"

namespace corten::archive {

struct ArMember {
  std::string name;  // without the padding and GNU's trailing slash
  uint64_t size = 0;
  int64_t mtime = 0;
  uint32_t uid = 0, gid = 0, mode = 0;
};

// Reads an ar stream member by member. GNU and BSD long names, which no Debian package has, are
// Error(kUnsupported); a wrong magic, a malformed header or a truncated member is Error(kCorrupt).
class ArReader {
 public:
  explicit ArReader(ByteSource& from) : from_(from), data_(*this) {}
  ArReader(const ArReader&) = delete;
  ArReader& operator=(const ArReader&) = delete;

  // Skips what is left of the current member.
  std::optional<ArMember> next();
  ByteSource& data() { return data_; }  // the current member's content, valid until next()

 private:
  class Data : public ByteSource {
   public:
    explicit Data(ArReader& reader) : reader_(reader) {}
    size_t read(void* data, size_t size) override { return reader_.read_data(data, size); }

   private:
    ArReader& reader_;
  };
  size_t read_data(void* data, size_t size);

  ByteSource& from_;
  Data data_;
  uint64_t rest_ = 0;
  bool odd_ = false;
  bool begun_ = false;
};

}  // namespace corten::archive
