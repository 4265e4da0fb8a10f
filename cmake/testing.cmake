# hl_unit_test(<name> <library>... SOURCES <file>... [LABELS <label>...] [JOBS <n>]): one Criterion
# binary. JOBS: tests side by side, where they mostly wait.
# hl_thread_test(...) the same for a plain main() program, labelled "threads" (run under TSan).
# hl_header_test(FOLDERS <folder>... INCLUDES <directory>...): one test, "headers": every header
# under the folders compiles alone.
if(HOPLAB_TESTS)
  find_package(PkgConfig)
  if(PkgConfig_FOUND AND NOT HOPLAB_SANITIZE MATCHES "thread")
    pkg_check_modules(CRITERION IMPORTED_TARGET criterion)
  endif()
endif()

set(HL_TEST_ENVIRONMENT "HOPLAB_SOURCE=${CMAKE_SOURCE_DIR}"
    "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")

if(HOPLAB_SANITIZE)
  list(APPEND HL_TEST_ENVIRONMENT "HOPLAB_SANITIZED=1") # shadow memory: no memory plan holds
endif()

function(hl_unit_test name)
  if(NOT HOPLAB_TESTS OR NOT CRITERION_FOUND)
    return()
  endif()
  cmake_parse_arguments(T "" "JOBS" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT T_JOBS)
    set(T_JOBS 1)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE ${T_LIBS} PkgConfig::CRITERION)
  add_test(NAME ${name} COMMAND ${name} --jobs ${T_JOBS})
  set_tests_properties(${name} PROPERTIES LABELS "unit;${T_LABELS}" TIMEOUT 600
    ENVIRONMENT "${HL_TEST_ENVIRONMENT}")
endfunction()

function(hl_thread_test name)
  if(NOT HOPLAB_TESTS)
    return()
  endif()
  cmake_parse_arguments(T "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE ${T_LIBS})
  if(NOT TARGET thread_tests) # all that a build under the thread sanitizer is for
    add_custom_target(thread_tests)
  endif()
  add_dependencies(thread_tests ${name})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "threads" TIMEOUT 300
    ENVIRONMENT "${HL_TEST_ENVIRONMENT}")
endfunction()

function(hl_header_test)
  cmake_parse_arguments(T "" "" "FOLDERS;INCLUDES" ${ARGN})
  find_program(HL_CXX_FOR_HEADERS NAMES g++ clang++)
  set(cxx ${HL_CXX_FOR_HEADERS})
  if(NOT cxx)
    set(cxx "") # C++ is checked where there is a compiler for it
  endif()
  add_test(NAME headers COMMAND ${CMAKE_COMMAND}
    "-DTOP=${CMAKE_SOURCE_DIR}" "-DWORK=${CMAKE_CURRENT_BINARY_DIR}/headers"
    "-DCC=${CMAKE_C_COMPILER}" "-DCXX=${cxx}" "-DFOLDERS=${T_FOLDERS}" "-DINCLUDES=${T_INCLUDES}"
    -P ${CMAKE_SOURCE_DIR}/tests/headers.cmake)
  set_tests_properties(headers PROPERTIES LABELS "tree" TIMEOUT 300)
endfunction()
