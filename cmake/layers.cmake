# govtrain_layer(name DEPENDS layer... LINK library... PRIVATE_LINK library... OPTIONS option... EXCLUDE folder...): a static
# library from all *.cpp of the calling folder, but for those of the excluded folders, which make targets of their own.
# Its headers are reachable as "name/header.h" by the layers that link it and by no other, because each layer
# exports its own include root, a folder that holds nothing but a link to the layer.

add_library(govtrain_flags INTERFACE)
target_compile_options(govtrain_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wunused-result
  -ffp-contract=off -fno-fast-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms on std::string's operator+ that come and go with the length of literals (GCC bug 105651).
  target_compile_options(govtrain_flags INTERFACE -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow)
endif()
if(GOVTRAIN_WERROR)
  target_compile_options(govtrain_flags INTERFACE -Werror)
endif()
if(GOVTRAIN_SANITIZE)
  target_compile_options(govtrain_flags INTERFACE -fsanitize=${GOVTRAIN_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all -Wno-maybe-uninitialized)  # gcc 12 warns falsely in instrumented <regex>
  target_link_options(govtrain_flags INTERFACE -fsanitize=${GOVTRAIN_SANITIZE})
endif()

if(GOVTRAIN_LAYERS AND NOT EXISTS ${GOVTRAIN_LAYERS}/core/libgovtrain_core.a)
  message(FATAL_ERROR "GOVTRAIN_LAYERS is '${GOVTRAIN_LAYERS}'; expected a build of this tree; run tools/cuda_build")
endif()

# The include root of a folder: <build>/include/<name>/<name> -> <source folder>.
function(govtrain_include_root name source_dir out)
  set(root ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${source_dir} ${root}/${name} SYMBOLIC)
  set(${out} ${root} PARENT_SCOPE)
endfunction()

# Compiled, or taken from GOVTRAIN_LAYERS: no layer knows what GOVTRAIN_CUDA is.
function(govtrain_layer name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LINK;PRIVATE_LINK;OPTIONS;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(folder IN LISTS arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "^${CMAKE_CURRENT_SOURCE_DIR}/${folder}/")
  endforeach()
  govtrain_include_root(${name} ${CMAKE_CURRENT_SOURCE_DIR} root)
  set(deps ${arg_DEPENDS})
  list(TRANSFORM deps PREPEND govtrain_)
  if(NOT sources)
    add_library(govtrain_${name} INTERFACE)
    target_include_directories(govtrain_${name} INTERFACE ${root})
    target_link_libraries(govtrain_${name} INTERFACE ${deps} ${arg_LINK})
    return()
  endif()
  if(GOVTRAIN_LAYERS)
    add_library(govtrain_${name} STATIC IMPORTED GLOBAL)
    set_target_properties(govtrain_${name} PROPERTIES
      IMPORTED_LOCATION ${GOVTRAIN_LAYERS}/${name}/libgovtrain_${name}.a)
    target_include_directories(govtrain_${name} INTERFACE ${root})
    target_link_libraries(govtrain_${name} INTERFACE ${deps} ${arg_LINK} ${arg_PRIVATE_LINK})
    return()
  endif()
  add_library(govtrain_${name} STATIC ${sources})
  target_include_directories(govtrain_${name} PUBLIC ${root})
  target_link_libraries(govtrain_${name} PUBLIC ${deps} ${arg_LINK} PRIVATE govtrain_flags ${arg_PRIVATE_LINK})
  target_compile_options(govtrain_${name} PRIVATE ${arg_OPTIONS})
endfunction()
