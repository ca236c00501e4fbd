# make demo: installs what is missing, builds the release binary, runs the main job (examples/five-services).
# make test: installs, builds, tests; ends with ctest's summary. Either may run first, as root or as a user with sudo.
BUILD := build/release
CORTEN := $(abspath $(BUILD)/corten)
JOBS ?= $(shell nproc)
NO_CCACHE := $(if $(shell command -v ccache 2>/dev/null),,-DCMAKE_C_COMPILER_LAUNCHER= -DCMAKE_CXX_COMPILER_LAUNCHER=)

.PHONY: all build deps writable configure test test-long test-sanitizers fuzz mission demo check format bench reference clean

all: build

deps: writable
	@tools/install_deps.sh build test

# Root and a user may take turns in one tree: who comes next takes the build over (stores below build/mission-UID stay their owner's).
writable:
	@if [ -n "$$(find build $(BUILD) -maxdepth 1 ! -name 'mission-*' ! -writable -print -quit 2>/dev/null)" ]; then \
	  echo "$(BUILD) was made by another user; taking it over"; \
	  sudo chown $$(id -u):$$(id -g) build && sudo chown -R $$(id -u):$$(id -g) $(BUILD); fi

configure: writable
	@tools/install_deps.sh build
	@cmake --preset release $(NO_CCACHE) --log-level=WARNING

# Leaves $(BUILD)/corten and its helper programs in $(BUILD)/libexec/corten/.
build: configure
	@ninja -C $(BUILD) -j$(JOBS) corten_programs

test: deps configure
	@ninja -C $(BUILD) -j$(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure --no-label-summary -j$(JOBS)

# What takes too long for every change: 500 kills, every call that can fail. `make test` has the short forms.
test-long: deps configure
	@ninja -C $(BUILD) -j$(JOBS)
	@ctest --test-dir $(BUILD) -C long -L long --output-on-failure --no-label-summary

# Two builds: clang's with AddressSanitizer and UndefinedBehaviorSanitizer (the preset `fuzz`, which tests/fuzz/run shares) for the unit tests of
# all rooms, the kept inputs of all fuzz targets and the tests of the whole program; g++'s with ThreadSanitizer for the rooms that have threads
# (without the tests that enter a user namespace: the sanitizer has a thread of its own, and the kernel refuses), and what builds side by side.
PARALLEL_ROOMS := base archive http store registry source image sandbox build cache
test-sanitizers:
	@tools/install_deps.sh build test check
	@cmake --preset fuzz $(NO_CCACHE) --log-level=WARNING && ninja -k 0 -C build/fuzz -j$(JOBS)
	@UBSAN_OPTIONS=print_stacktrace=1 ctest --test-dir build/fuzz -L unit --output-on-failure --no-label-summary -j$(JOBS)
	@tests/sanitized fuzz
	@cmake --preset tsan $(NO_CCACHE) --log-level=WARNING && ninja -k 0 -C build/tsan -j$(JOBS) corten_programs $(addprefix test_,$(PARALLEL_ROOMS))
	@TSAN_OPTIONS=suppressions=$(CURDIR)/tests/thread_sanitizer.suppressions:second_deadlock_stack=1 GTEST_FILTER='-PrivilegeLadder.*' \
	  ctest --test-dir build/tsan -R '^($(subst $(eval) ,|,$(PARALLEL_ROOMS)))$$' --output-on-failure --no-label-summary
	@tests/sanitized tsan

# libFuzzer over every target, three minutes each: tests/fuzz/run tells of single ones.
fuzz:
	@tools/install_deps.sh build check
	@tests/fuzz/run

mission: build
	@tests/mission/run --corten $(CORTEN)

demo: build
	@CORTEN=$(CORTEN) examples/five-services/demo

check:
	@tools/install_deps.sh build check
	@tools/check

format:
	@tools/install_deps.sh check
	@tools/format

reference: build
	@tools/gen_reference $(CORTEN) >docs/reference.md

# Timings live here, never in tests. Peers: bench/run --help.
bench: deps build
	@bench/run --corten $(CORTEN)

# Stores hold files of other ids and mounts: they are emptied by corten itself.
clean:
	@for store in build/mission-$$(id -u)/store; do \
	  [ ! -d $$store ] || [ ! -x $(CORTEN) ] || CORTEN_STORE=$(CURDIR)/$$store $(CORTEN) prune --everything --force; done
	rm -rf build
