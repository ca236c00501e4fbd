// Finding stages by name; only the syntax tree is needed. Pure; thread-safe.
// Source: BuildKit frontend/dockerfile/dockerfile2llb/convert.go as measured (which comparisons mind the
// case).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

// COPY --from, --mount from=, --target: the case of letters does not matter; of two stages of one name the
// later wins. Only stages before `end` are looked at.
std::optional<size_t> find_stage(const std::vector<Stage>& stages, std::string_view name,
                                 size_t end = SIZE_MAX);

// FROM: the (expanded) text must be the name in lower case.
std::optional<size_t> find_base_stage(const std::vector<Stage>& stages, std::string_view name, size_t end);

// COPY --from=N. Nothing when the text is no number. Throws Error(kInvalid) `invalid stage index N`, when
// there is no such stage.
std::optional<size_t> find_stage_index(const std::vector<Stage>& stages, std::string_view text);

// The last stage for "". Throws Error(kNotFound) `target stage "bulid" could not be found (did you mean
// build?)`.
size_t find_target(const std::vector<Stage>& stages, std::string_view target);

// As in progress lines: the name, or "stage-2".
std::string stage_label(const std::vector<Stage>& stages, size_t index);

}  // namespace corten::dockerfile
