// Inputs for tests of compression, the same on every machine and for ever: golden values depend on them.
#pragma once
#include <cstdint>
#include <string>

namespace corten::archive {

class Random {  // splitmix64
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  size_t below(size_t bound) { return static_cast<size_t>(next() % bound); }

 private:
  uint64_t state_;
};

inline std::string random_bytes(size_t size, uint64_t seed = 1) {
  Random random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random.next());
  return bytes;
}

// The same random bytes again and again.
inline std::string periodic_bytes(size_t size, size_t period) {
  std::string bytes = random_bytes(period);
  while (bytes.size() < size) bytes += bytes.substr(0, size - bytes.size());
  bytes.resize(size);
  return bytes;
}

// Words of a small vocabulary, the frequent ones short.
inline std::string text_bytes(size_t size, uint64_t seed = 1) {
  Random random(seed);
  std::string words[512];
  for (size_t i = 0; i < 512; i++)
    for (size_t n = 2 + i / 60 + random.below(3); n > 0; n--)
      words[i] += static_cast<char>('a' + random.below(26));
  std::string text;
  text.reserve(size + 32);
  while (text.size() < size) {
    size_t bound = 1 + random.below(512);
    text += words[random.below(bound)];
    text += random.below(9) == 0 ? '\n' : ' ';
  }
  text.resize(size);
  return text;
}

// Pieces of all kinds in a row.
inline std::string mixed_bytes(size_t size, uint64_t seed = 1) {
  Random random(seed);
  std::string bytes;
  while (bytes.size() < size) {
    size_t piece = 1 + random.below(40'000);
    switch (random.below(5)) {
      case 0:
        bytes += random_bytes(piece, random.next());
        break;
      case 1:
        bytes += text_bytes(piece, random.next());
        break;
      case 2:
        bytes.append(piece, static_cast<char>(random.next()));
        break;
      case 3:
        bytes += periodic_bytes(piece, 1 + random.below(70'000));
        break;
      default:
        if (!bytes.empty()) bytes += std::string(bytes.substr(random.below(bytes.size()), piece));
    }
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace corten::archive
