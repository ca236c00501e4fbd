// Errors get the place that they are about.
#pragma once
#include "base/error.h"

namespace corten::dockerfile {

// What `act` gives; an Error that has no place gets this one on its way.
template <typename F>
auto with_span(const SourceSpan& span, F&& act) {
  try {
    return act();
  } catch (Error& error) {
    if (!error.span()) error.set_span(span);
    throw;
  }
}

}  // namespace corten::dockerfile
