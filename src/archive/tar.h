// Tar archives: what a member is, the reader of foreign archives, and the writer of our canonical ones.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"

namespace corten::archive {

enum class TarType { kFile, kDirectory, kSymlink, kHardlink, kCharDevice, kBlockDevice, kFifo };

struct TarHeader {
  std::string path;  // as the archive has it; the reader takes a directory's trailing slashes off
  TarType type = TarType::kFile;
  uint32_t mode = 0;  // the twelve permission bits
  uint32_t uid = 0, gid = 0;
  uint64_t size = 0;      // bytes of content (kFile); the expanded size of a sparse file
  int64_t mtime = 0;      // seconds since 1970, may be negative
  uint32_t mtime_ns = 0;  // 0..999,999,999, added to mtime
  std::string link;       // target of a symlink; path of the linked member of a hard link
  uint32_t device_major = 0, device_minor = 0;
  std::map<std::string, std::string> xattrs;  // name ("user.x") to binary value

  bool operator==(const TarHeader&) const = default;
};

// Whether the first 512 bytes are a tar header with a right checksum. An all-zero block is none.
bool looks_like_tar(std::string_view first_512_bytes);

// Limits of the reader: what a header claims never decides how much is allocated. A sparse file's holes cost
// an archive nothing, so who writes content out sets a limit of his own (LimitedSource).
inline constexpr size_t kMaxPaxBytes = 1 << 20;
// Of global headers, which every member is looked up in.
inline constexpr size_t kMaxGlobalPaxBytes = 64 << 10, kMaxGlobalPaxRecords = 256;
inline constexpr size_t kMaxNameBytes = 64 << 10;
inline constexpr uint64_t kMaxMemberBytes = uint64_t{1} << 53;

inline constexpr uint64_t kTarEndBytes = 1024;  // what TarWriter::finish() writes: two blocks of zeros

struct TarBlock;

// Reads a tar stream member by member: v7, ustar (POSIX.1-1988), GNU (long names, base-256 numbers), PAX
// (POSIX.1-2001, with SCHILY.xattr.*, LIBARCHIVE.xattr.* and GNU.sparse 0.0, 0.1, 1.0). A type it does not
// know is Error(kUnsupported) "unhandled tar header type N"; GNU's old sparse members ('S') are among them.
// Anything that is cut short or contradicts itself is Error(kCorrupt). The stream may hold more after the
// last member (padding): drain() the source to have read all of a blob.
class TarReader {
 public:
  explicit TarReader(ByteSource& from) : from_(from), data_(*this) {}
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  // Skips what is left of the current member; nothing after the end of the archive.
  std::optional<TarHeader> next();
  // The current member's content (holes of sparse files as zeros); valid until next(). Ends at once for all
  // but files.
  ByteSource& data() { return data_; }
  // Header blocks and content read so far.
  uint64_t offset() const { return offset_; }

 private:
  class Data : public ByteSource {
   public:
    explicit Data(TarReader& reader) : reader_(reader) {}
    size_t read(void* data, size_t size) override { return reader_.read_data(data, size); }

   private:
    TarReader& reader_;
  };
  using Records = std::map<std::string, std::string>;

  void read_stored(void* data, size_t size);
  std::string read_meta(uint64_t size, size_t limit);
  void skip_rest();
  size_t read_data(void* data, size_t size);
  TarHeader begin_member(const TarBlock& block, const Records& local, const std::string& long_name,
                         const std::string& long_link);
  void begin_sparse(const Records& records, uint64_t stored, TarHeader& header);
  std::vector<uint64_t> read_sparse_map();

  ByteSource& from_;
  Data data_;
  Records global_;
  uint64_t offset_ = 0;
  uint64_t stored_ = 0;   // bytes of the current member's content still in the stream
  uint64_t padding_ = 0;  // bytes between them and the next header
  bool ended_ = false;
  struct Extent {
    uint64_t offset, length;
  };
  bool sparse_ = false;
  std::vector<Extent> extents_;  // of a sparse file: where its stored bytes belong
  size_t extent_ = 0;
  uint64_t position_ = 0;  // in the expanded content
  uint64_t real_size_ = 0;
};

// Told by the writer where members lie, just before it writes the bytes in question. The gzip writer cuts by
// it.
class TarHints {
 public:
  virtual ~TarHints() = default;
  virtual void member_begins() = 0;             // the next byte is the first of a member's header(s)
  virtual void data_begins(uint64_t size) = 0;  // the next byte is the first of `size` > 0 bytes of content
};

// Writes canonical tar: the same members give the same bytes, always. tar_writer.cc has the rules.
// Throws Error(kInvalid) for what tar cannot say: an empty path, a NUL in a name, content that is not as long
// as told.
class TarWriter {
 public:
  explicit TarWriter(ByteSink& to, TarHints* hints = nullptr) : to_(to), hints_(hints) {}

  // Begins a member. Exactly header.size bytes of content must follow for kFile; size is ignored for other
  // types.
  void begin(const TarHeader& header);
  void write(std::string_view content);
  void add(const TarHeader& header, std::string_view content);
  void add(const TarHeader& header,
           ByteSource& content);  // Error(kCorrupt) when the source is shorter or longer
  // The same without the content: for who wants to know offsets only. The sink gets headers and padding.
  void pass(const TarHeader& header);
  // Ends the archive: two zero blocks. Nothing may follow.
  void finish();
  uint64_t offset() const { return offset_; }

 private:
  void end_member();
  void emit(std::string_view bytes);
  void pad();

  ByteSink& to_;
  TarHints* hints_;
  uint64_t offset_ = 0;
  uint64_t rest_ = 0;
  std::string path_;  // of the current member, for errors
  bool finished_ = false;
};

}  // namespace corten::archive
