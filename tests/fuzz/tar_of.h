// A tar in few bytes, so that changes of an input move members and not checksums.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "archive/tar.h"

namespace corten::fuzz {

// Two bytes a member: the type and the name, the link and the mode. There are 16 names and 8 links.
inline std::string tar_of(std::string_view program, std::span<const std::string_view, 16> names,
                          std::span<const std::string_view, 8> links) {
  using archive::TarType;
  archive::StringSink sink;
  archive::TarWriter writer(sink);
  for (size_t i = 0; i + 1 < program.size(); i += 2) {
    auto first = static_cast<uint8_t>(program[i]), second = static_cast<uint8_t>(program[i + 1]);
    archive::TarHeader header;
    header.path = names[first & 15];
    header.type = static_cast<TarType>((first >> 4) % 7);
    header.mode = second;
    header.mtime = second & 1 ? 99'999'999'999'999'999 : second;
    header.device_major = second & 7;
    std::string content(header.type == TarType::kFile ? second & 3 : 0, 'x');
    header.size = content.size();
    if (header.type == TarType::kSymlink || header.type == TarType::kHardlink)
      header.link = links[second >> 5];
    writer.add(header, content);
  }
  writer.finish();
  return sink.take();
}

}  // namespace corten::fuzz
