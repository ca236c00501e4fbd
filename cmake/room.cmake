# corten_room(NAME DEPENDS rooms... LIBS targets... SOURCES files... TESTS files...)
# declares src/NAME as a static library and its tests as one GoogleTest program.
# tools/check_rooms reads DEPENDS and refuses an include that is not in it.

add_compile_definitions(FMT_HEADER_ONLY=1 _FILE_OFFSET_BITS=64 GTEST_HAS_PTHREAD=1)
add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough
  -fno-strict-aliasing -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(CORTEN_PCH)
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)  # what ccache needs to cache files that use the header
endif()
add_link_options(-fuse-ld=lld)

add_library(corten_pch STATIC ${CMAKE_SOURCE_DIR}/src/pch.cc)
target_include_directories(corten_pch PUBLIC ${CMAKE_SOURCE_DIR}/src)
add_library(corten_test_pch STATIC ${CMAKE_SOURCE_DIR}/src/pch.cc)
target_include_directories(corten_test_pch PUBLIC ${CMAKE_SOURCE_DIR}/src)
if(CORTEN_PCH)
  target_precompile_headers(corten_pch PRIVATE <pch.h>)
  target_precompile_headers(corten_test_pch PRIVATE <pch_test.h>)
endif()

function(corten_use_pch target pch)
  if(CORTEN_PCH)
    target_precompile_headers(${target} REUSE_FROM ${pch})
  endif()
endfunction()

function(corten_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS;LIBS;SOURCES;TESTS" ${ARGN})
  add_library(corten_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(corten_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  list(TRANSFORM ROOM_DEPENDS PREPEND corten_)
  target_link_libraries(corten_${name} PUBLIC ${ROOM_DEPENDS} ${ROOM_LIBS})
  corten_use_pch(corten_${name} corten_pch)
  if(ROOM_TESTS)
    add_executable(test_${name} ${ROOM_TESTS})
    target_link_libraries(test_${name} PRIVATE corten_${name} GTest::gtest_main)
    corten_use_pch(test_${name} corten_test_pch)
    add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})  # tests find their data as tests/...
    set_tests_properties(${name} PROPERTIES TIMEOUT 600 LABELS "unit")
  endif()
endfunction()

# corten_program(TARGET [HELPER]) puts what users run where they find it: corten itself at the top of the build tree, its helper
# programs below libexec/corten/ beside it. `corten_programs` builds them and none of the tests.
add_custom_target(corten_programs)
function(corten_program target)
  set(folder ${CMAKE_BINARY_DIR})
  if("HELPER" IN_LIST ARGN)
    set(folder ${CMAKE_BINARY_DIR}/libexec/corten)
  endif()
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${folder})
  add_dependencies(corten_programs ${target})
endfunction()
