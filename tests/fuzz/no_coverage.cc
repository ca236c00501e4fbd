// For programs that are built with coverage and have no driver (driver.cc): those that the build itself runs.
extern "C" __attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc() {}
