# What GOVTRAIN_CUDA asks for. on: nvcc compiles kernels/cuda. emulated: the host compiler compiles the same files against
# kernels/simt. auto becomes on or off.
if(GOVTRAIN_CUDA STREQUAL "auto")
  find_program(GOVTRAIN_NVCC nvcc PATHS /usr/local/cuda/bin)
  set(GOVTRAIN_CUDA off)
  if(GOVTRAIN_NVCC)
    set(GOVTRAIN_CUDA on)
  endif()
  message(STATUS "GOVTRAIN_CUDA: ${GOVTRAIN_CUDA}")
endif()
if(NOT GOVTRAIN_CUDA MATCHES "^(on|off|emulated)$")
  message(FATAL_ERROR "GOVTRAIN_CUDA is '${GOVTRAIN_CUDA}'; expected auto, on, off or emulated")
endif()

if(GOVTRAIN_CUDA STREQUAL "on")
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(GOVTRAIN_NVCC nvcc PATHS /usr/local/cuda/bin REQUIRED)
    set(CMAKE_CUDA_COMPILER ${GOVTRAIN_NVCC})
  endif()
  enable_language(CUDA)
  # CMake 3.25 does not know this flag of nvcc 13.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  find_package(CUDAToolkit REQUIRED)
  # Under <NAME>_ROOT, beside the toolkit, or in CMAKE_PREFIX_PATH, where NVIDIA's Python packages have only versioned
  # names. The header is the one beside the library that was found.
  function(govtrain_find_library NAME library header)
    list(TRANSFORM ARGN PREPEND lib${library}.so. OUTPUT_VARIABLE versioned)
    find_library(GOVTRAIN_${NAME}_LIBRARY NAMES ${library} ${versioned} NAMES_PER_DIR NO_DEFAULT_PATH
      HINTS ${${NAME}_ROOT}/lib $ENV{${NAME}_ROOT}/lib ${CUDAToolkit_LIBRARY_DIR})
    find_library(GOVTRAIN_${NAME}_LIBRARY NAMES ${library} ${versioned} NAMES_PER_DIR)
    cmake_path(GET GOVTRAIN_${NAME}_LIBRARY PARENT_PATH folder)
    find_path(GOVTRAIN_${NAME}_INCLUDE ${header} NO_DEFAULT_PATH HINTS ${folder}/../include)
    find_path(GOVTRAIN_${NAME}_INCLUDE ${header} HINTS ${CUDAToolkit_INCLUDE_DIRS})
  endfunction()
  govtrain_find_library(CUDNN cudnn cudnn.h 9 8)
  if(GOVTRAIN_CUDNN_INCLUDE AND GOVTRAIN_CUDNN_LIBRARY)
    message(STATUS "cuDNN: ${GOVTRAIN_CUDNN_LIBRARY}")
  else()
    message(STATUS "cuDNN: not found; expected cudnn.h and libcudnn.so beside the CUDA toolkit or under CUDNN_ROOT. "
      "Convolutions on the device are an error in this build, all else is there")
  endif()
  if(NOT TARGET CUDA::cublasLt)
    govtrain_find_library(CUBLAS cublasLt cublasLt.h 13 12)
    if(NOT GOVTRAIN_CUBLAS_INCLUDE OR NOT GOVTRAIN_CUBLAS_LIBRARY)
      message(FATAL_ERROR "cuBLASLt: not found; expected cublasLt.h and libcublasLt.so beside the CUDA toolkit or under "
        "CUBLAS_ROOT")
    endif()
    message(STATUS "cuBLASLt: ${GOVTRAIN_CUBLAS_LIBRARY}")
    add_library(CUDA::cublasLt UNKNOWN IMPORTED GLOBAL)
    set_target_properties(CUDA::cublasLt PROPERTIES IMPORTED_LOCATION ${GOVTRAIN_CUBLAS_LIBRARY}
      INTERFACE_INCLUDE_DIRECTORIES ${GOVTRAIN_CUBLAS_INCLUDE})
  endif()
endif()

# The host compiles what kernels need for speed: fused multiply-add as one instruction where this machine has it.
if(GOVTRAIN_CUDA STREQUAL "emulated")
  include(CheckCXXSourceRuns)
  set(CMAKE_REQUIRED_FLAGS "-mavx2 -mfma")
  check_cxx_source_runs("int main() { return __builtin_cpu_supports(\"fma\") ? 0 : 1; }" GOVTRAIN_HOST_HAS_FMA)
  unset(CMAKE_REQUIRED_FLAGS)
  set(govtrain_emulation_options)
  if(GOVTRAIN_HOST_HAS_FMA)
    set(govtrain_emulation_options -mavx2 -mfma)
  endif()
endif()

# govtrain_kernel_sources(target file.cu...): compiles kernel files as the mode asks.
function(govtrain_kernel_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  if(GOVTRAIN_CUDA STREQUAL "emulated")
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX
      COMPILE_OPTIONS "-x;c++;${govtrain_emulation_options}" SKIP_PRECOMPILE_HEADERS ON)
  endif()
endfunction()
