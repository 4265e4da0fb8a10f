# Compiler flags of the whole project (docs/numerics.md says why each numeric flag is there).
add_compile_options(
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall> $<$<COMPILE_LANGUAGE:C,CXX>:-Wextra>
  "$<$<COMPILE_LANGUAGE:C>:-Wshadow;-Wstrict-prototypes;-Wmissing-prototypes;-Wwrite-strings;-Wundef;-Wvla;-Wdouble-promotion;-Wformat=2;-fno-common;-fvisibility=hidden>"
  "$<$<COMPILE_LANGUAGE:C,CXX>:-fno-math-errno;-fno-trapping-math;-fno-signed-zeros>"
  "$<$<COMPILE_LANGUAGE:C>:-ffp-contract=fast>")
if(HOPLAB_WERROR)
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-Werror>)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Debug" OR HOPLAB_SANITIZE)
  add_compile_definitions(HL_DEBUG=1)
endif()
# With lines alone in the debug information compiling takes four fifths of the time that it takes
# with -g, and half of it at -O1.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1")
if(HOPLAB_SANITIZE)
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O1 -g1")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  # at -O1 these two do not see the ranges that -O2 sees
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-Wno-maybe-uninitialized>
                      $<$<COMPILE_LANGUAGE:C,CXX>:-Wno-format-truncation>)
  add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${HOPLAB_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer>")
  add_link_options(-fsanitize=${HOPLAB_SANITIZE})
endif()
find_package(Threads REQUIRED)
