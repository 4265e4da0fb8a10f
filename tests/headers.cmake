# Every header compiles alone, and twice in one file. Run by the test "headers" (hl_header_test) with
# TOP, WORK, CC, FOLDERS, INCLUDES, and CXX if there is a C++ compiler, for the headers of kernels/
# that CUDA sources share. Their *_body.h and hl_*.h stay in the common subset of C11 and C++17; hl_isa.h,
# tile.h, pairs*.h, dot.h, amx.h and attn_*.h belong to the C sources that are compiled once per instruction set.
set(flags -fsyntax-only -Wall -Wextra -Wundef -Werror -I${TOP})
foreach(dir IN LISTS INCLUDES)
  list(APPEND flags -isystem ${dir})
endforeach()
set(n 0)
set(n_bad 0)

function(compile_alone compiler language std header)
  file(WRITE ${WORK}/alone "#include \"${header}\"\n#include \"${header}\"\n")
  execute_process(
    COMMAND ${compiler} ${flags} -std=${std} ${ARGN} -x ${language} ${WORK}/alone
    RESULT_VARIABLE failed ERROR_VARIABLE messages)
  math(EXPR n "${n} + 1")
  set(n ${n} PARENT_SCOPE)
  if(failed)
    message("${header} does not compile alone as ${std}:\n${messages}")
    math(EXPR n_bad "${n_bad} + 1")
    set(n_bad ${n_bad} PARENT_SCOPE)
  endif()
endfunction()

foreach(folder IN LISTS FOLDERS)
  file(GLOB_RECURSE headers RELATIVE ${TOP} ${TOP}/${folder}/*.h)
  list(FILTER headers EXCLUDE REGEX "_test\\.h$|^kernels/cuda/") # those are CUDA only
  foreach(header IN LISTS headers)
    compile_alone(${CC} c c11 ${header} -DHL_ISA=generic)
    if(CXX AND header MATCHES "^kernels/" AND NOT header MATCHES "/(hl_isa|tile|pairs|pairs_block|dot|amx|attn_[a-z]+)\\.h$")
      compile_alone(${CXX} c++ c++17 ${header})
    endif()
  endforeach()
endforeach()
message("${n} compilations, ${n_bad} failed")
if(n_bad OR n EQUAL 0)
  message(FATAL_ERROR "headers must stand alone")
endif()
