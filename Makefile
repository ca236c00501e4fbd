# make demo: installs what is missing, builds the release binary, runs the main job (examples/five-services).
# make test: installs, builds, tests; ends with ctest's summary. Either may run first, as root or as a user with sudo.
BUILD := build/release
CORTEN := $(abspath $(BUILD)/corten)
JOBS ?= $(shell nproc)
NO_CCACHE := $(if $(shell command -v ccache 2>/dev/null),,-DCMAKE_C_COMPILER_LAUNCHER= -DCMAKE_CXX_COMPILER_LAUNCHER=)

.PHONY: all build deps writable configure test mission demo check format bench reference clean

all: build

deps: writable
	@tools/install_deps.sh build test

writable:
	@if [ -e build ] && [ -n "$$(find build -maxdepth 2 ! -writable -print -quit 2>/dev/null)" ]; then \
	  echo "build/ was made by another user: sudo chown -R $$(id -un) build (or: make clean, as that user)" >&2; exit 1; fi

configure: writable
	@tools/install_deps.sh build
	@cmake --preset release $(NO_CCACHE) --log-level=WARNING

# Leaves $(BUILD)/corten and its helper programs in $(BUILD)/libexec/corten/.
build: configure
	@ninja -C $(BUILD) -j$(JOBS) corten_programs

test: deps configure
	@ninja -C $(BUILD) -j$(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j$(JOBS)

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

# Timings live here, never in tests: what a user waits for before anything happens.
bench: deps build
	@hyperfine -N --warmup 20 --runs 200 '$(CORTEN) version'

clean:
	rm -rf build
