# The CUDA engine, where there is a toolkit. The runtime is linked statically and opens the driver
# itself, cuBLASLt is opened by us: the program starts on machines that have neither.
option(HOPLAB_CUDA "build the CUDA engine where a toolkit is found" ON)
if(HOPLAB_CUDA AND NOT HOPLAB_SANITIZE)
  include(CheckLanguage)
  if(NOT CMAKE_CUDA_COMPILER AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc) # where installers put it, often not on PATH
  endif()
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80) # and its PTX, which newer drivers compile for newer GPUs
    endif()
    enable_language(CUDA)
  endif()
endif()
