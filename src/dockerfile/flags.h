// The --flags of one instruction: which are known, which take a value, which may repeat. Private to the room.
#pragma once
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

enum class FlagKind { kBool, kString, kStrings };

class Flags {
 public:
  // Throws Error(kInvalid) with the flag's span: unknown (with the nearest name), duplicate, missing value,
  // no boolean.
  Flags(const std::vector<Word>& words,
        std::initializer_list<std::pair<const std::string_view, FlagKind>> known);

  std::optional<Word> string(std::string_view name) const;  // absent when not given; span is the value's
  std::optional<bool> boolean(std::string_view name) const;
  std::vector<Word> strings(std::string_view name) const;

 private:
  std::map<std::string, std::vector<Word>, std::less<>> values_;
};

}  // namespace corten::dockerfile
