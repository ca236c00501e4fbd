#include "archive/gz1_block_writer.h"

#include <algorithm>
#include <array>

namespace corten::archive::gz1 {

namespace {
constexpr int kLiteralLimit = 14;  // four literals and seven waiting bits fit one store of 64 bits
constexpr int kDistanceLimit = 15;
constexpr int kPrecodeLimit = 7;
constexpr size_t kMaxStored = 65535;
constexpr size_t kPrecodeSymbols = 19;
constexpr std::array<uint8_t, kPrecodeSymbols> kPrecodeOrder = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                                11, 4,  12, 3, 13, 2, 14, 1, 15};
constexpr int kStored = 0, kStatic = 1, kDynamic = 2;  // BTYPE

struct StaticCodes {
  std::array<Code, 288> literals;
  std::array<Code, 32> distances;
};

// RFC 1951, section 3.2.6.
StaticCodes make_static_codes() {
  StaticCodes codes;
  for (uint32_t symbol = 0; symbol < 288; symbol++) {
    uint8_t length = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
    uint32_t code = symbol < 144   ? 0x30 + symbol
                    : symbol < 256 ? 0x190 + symbol - 144
                    : symbol < 280 ? symbol - 256
                                   : 0xc0 + symbol - 280;
    codes.literals[symbol] = {reversed_bits(code, length), length};
  }
  for (uint32_t symbol = 0; symbol < 32; symbol++) codes.distances[symbol] = {reversed_bits(symbol, 5), 5};
  return codes;
}

const StaticCodes& static_codes() {
  static const StaticCodes kCodes = make_static_codes();
  return kCodes;
}

// The bits of all symbols with their extra bits, under these codes.
uint64_t coded_bits(const SymbolCounts& counts, std::span<const Code> literals,
                    std::span<const Code> distances) {
  uint64_t bits = literals[kEndOfBlock].length;
  for (size_t i = 0; i < kLiteralSymbols; i++) bits += uint64_t{counts.literals[i]} * literals[i].length;
  for (size_t i = 0; i < kDistanceSymbols; i++)
    bits += uint64_t{counts.distances[i]} * (distances[i].length + kDistanceExtra[i]);
  for (size_t i = 0; i < kLengthExtra.size(); i++)
    bits += uint64_t{counts.literals[kFirstLengthSymbol + i]} * kLengthExtra[i];
  return bits;
}

// The header of a dynamic block (RFC 1951, section 3.2.7).
struct DynamicHeader {
  struct Item {
    uint8_t symbol, extra, extra_bits;
  };
  std::vector<Item> items;
  std::array<Code, kPrecodeSymbols> precode;
  size_t literals = 257, distances = 1, precodes = 4;
  uint64_t bits = 0;
};

// Runs of equal code lengths: 16 repeats the one before 3..6 times, 17 and 18 are 3..10 and 11..138 zeros.
std::vector<DynamicHeader::Item> run_lengths(const std::vector<uint8_t>& lengths) {
  std::vector<DynamicHeader::Item> items;
  for (size_t i = 0; i < lengths.size();) {
    size_t run = 1;
    while (i + run < lengths.size() && lengths[i + run] == lengths[i]) run++;
    i += run;
    uint8_t length = lengths[i - 1];
    if (length != 0) {
      items.push_back({length, 0, 0});
      run--;
    }
    while (run >= 3) {
      size_t most = length != 0 ? 6 : 138, part = std::min(run, most);
      if (length != 0) {
        items.push_back({16, static_cast<uint8_t>(part - 3), 2});
      } else if (part <= 10) {
        items.push_back({17, static_cast<uint8_t>(part - 3), 3});
      } else {
        items.push_back({18, static_cast<uint8_t>(part - 11), 7});
      }
      run -= part;
    }
    for (; run > 0; run--) items.push_back({length, 0, 0});
  }
  return items;
}

DynamicHeader make_header(std::span<const Code> literals, std::span<const Code> distances) {
  DynamicHeader header;
  for (size_t i = 0; i < literals.size(); i++)
    if (literals[i].length) header.literals = std::max(header.literals, i + 1);
  for (size_t i = 0; i < distances.size(); i++)
    if (distances[i].length) header.distances = std::max(header.distances, i + 1);
  std::vector<uint8_t> lengths;
  for (size_t i = 0; i < header.literals; i++) lengths.push_back(literals[i].length);
  for (size_t i = 0; i < header.distances; i++) lengths.push_back(distances[i].length);
  header.items = run_lengths(lengths);

  std::array<uint32_t, kPrecodeSymbols> counts{};
  for (const auto& item : header.items) counts[item.symbol]++;
  make_codes(counts, kPrecodeLimit, header.precode);
  for (size_t i = 0; i < kPrecodeSymbols; i++)
    if (header.precode[kPrecodeOrder[i]].length) header.precodes = std::max(header.precodes, i + 1);
  header.bits = 5 + 5 + 4 + 3 * header.precodes;
  for (const auto& item : header.items)
    header.bits += uint64_t{header.precode[item.symbol].length} + item.extra_bits;
  return header;
}

// From a byte position of `bit_offset` bits on; the first piece pays for its alignment, later ones begin
// aligned.
uint64_t stored_bits(size_t size, int bit_offset) {
  uint64_t pieces = std::max<uint64_t>(1, (size + kMaxStored - 1) / kMaxStored);
  uint64_t first = 3 + static_cast<uint64_t>((8 - (bit_offset + 3) % 8) % 8) + 32;
  return first + (pieces - 1) * 40 + uint64_t{size} * 8;
}
}  // namespace

void BlockWriter::write(std::string_view raw, std::span<const Sequence> sequences,
                        const SymbolCounts& counts) {
  std::array<Code, kLiteralSymbols> literals;
  std::array<Code, kDistanceSymbols> distances;
  SymbolCounts ended = counts;
  ended.literals[kEndOfBlock] = 1;
  make_codes(ended.literals, kLiteralLimit, literals);
  make_codes(ended.distances, kDistanceLimit, distances);
  DynamicHeader header = make_header(literals, distances);

  uint64_t stored = stored_bits(raw.size(), bits_);
  uint64_t fixed = 3 + coded_bits(counts, static_codes().literals, static_codes().distances);
  uint64_t dynamic = 3 + header.bits + coded_bits(counts, literals, distances);
  reserve(std::min({stored, fixed, dynamic}));
  if (stored <= fixed && stored <= dynamic) {
    write_stored(raw);
  } else if (fixed <= dynamic) {
    put(kStatic << 1, 3);
    write_coded(raw, sequences, static_codes().literals, static_codes().distances);
  } else {
    put(kDynamic << 1, 3);
    put(header.literals - 257, 5);
    put(header.distances - 1, 5);
    put(header.precodes - 4, 4);
    for (size_t i = 0; i < header.precodes; i++) put(header.precode[kPrecodeOrder[i]].length, 3);
    for (const auto& item : header.items) {
      put(header.precode[item.symbol].bits, header.precode[item.symbol].length);
      put(item.extra, item.extra_bits);
    }
    write_coded(raw, sequences, literals, distances);
  }
}

void BlockWriter::flush() {
  reserve(stored_bits(0, bits_));
  write_stored({});
}

void BlockWriter::write_stored(std::string_view raw) {
  do {
    size_t part = std::min(raw.size(), kMaxStored);
    put(kStored, 3);
    align();
    put(part | (~part & 0xffff) << 16, 32);
    if (part) memcpy(bytes_.data() + size_, raw.data(), part);
    size_ += part;
    raw.remove_prefix(part);
  } while (!raw.empty());
}

// The buffer is a local here: it stays in a register, and each step stores eight bytes and keeps those that
// are whole.
void BlockWriter::write_coded(std::string_view raw, std::span<const Sequence> sequences,
                              std::span<const Code> literals, std::span<const Code> distances) {
  // A length's code and extra bits in one.
  struct LengthCode {
    uint32_t bits;
    uint32_t count;
  };
  std::array<LengthCode, kMaxMatch + 1> lengths;
  for (size_t length = 3; length <= kMaxMatch; length++) {
    size_t slot = kLengthSlot[length];
    const Code& code = literals[kFirstLengthSymbol + slot];
    lengths[length] = {code.bits | static_cast<uint32_t>(length - kLengthBase[slot]) << code.length,
                       uint32_t{code.length} + kLengthExtra[slot]};
  }
  const uint8_t* at = reinterpret_cast<const uint8_t*>(raw.data());
  uint8_t* out = bytes_.data() + size_;
  uint64_t buffer = buffer_;
  int bits = bits_;
  auto add = [&](uint64_t value, uint32_t count) {
    buffer |= value << bits;
    bits += static_cast<int>(count);
  };
  auto store = [&] {
    store_64(out, buffer);
    out += bits >> 3;
    buffer >>= bits & ~7;
    bits &= 7;
  };
  for (const Sequence& sequence : sequences) {
    size_t run = sequence.run;
    for (; run >= 4; run -= 4, at += 4) {
      for (int i = 0; i < 4; i++) add(literals[at[i]].bits, literals[at[i]].length);
      store();
    }
    for (; run > 0; run--, at++) add(literals[*at].bits, literals[*at].length);
    store();
    if (sequence.length == 0) continue;
    const LengthCode& length = lengths[sequence.length];
    const Code& distance = distances[sequence.distance_slot];
    add(length.bits, length.count);
    add(distance.bits, distance.length);
    add(sequence.distance - uint32_t{kDistanceBase[sequence.distance_slot]},
        kDistanceExtra[sequence.distance_slot]);
    store();
    at += sequence.length;
  }
  add(literals[kEndOfBlock].bits, literals[kEndOfBlock].length);
  store();
  size_ = static_cast<size_t>(out - bytes_.data());
  buffer_ = buffer;
  bits_ = bits;
}

void BlockWriter::put(uint64_t bits, int count) {
  buffer_ |= bits << bits_;
  bits_ += count;
  store_64(bytes_.data() + size_, buffer_);
  size_ += static_cast<size_t>(bits_ >> 3);
  buffer_ >>= bits_ & ~7;
  bits_ &= 7;
}

void BlockWriter::align() {
  if (bits_ != 0) put(0, 8 - bits_);
}

void BlockWriter::reserve(uint64_t bits) {
  // A store writes up to eight bytes beyond the last whole one.
  size_t need = size_ + static_cast<size_t>(bits / 8) + 16;
  if (bytes_.size() < need) bytes_.resize(std::max(need, bytes_.size() * 2));
}

}  // namespace corten::archive::gz1
