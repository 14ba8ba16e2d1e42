# lux_precompile(<target> <header>…) compiles heavy headers of others once for all sources of an executable;
# lux_precompile_as(<target> <other>) takes those of another one. Not under ccache and the like, which know a source
# again by its own bytes; so every source includes what it uses all the same.
function(lux_precompile target)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()

function(lux_precompile_as target other)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
    target_precompile_headers(${target} REUSE_FROM ${other})
  endif()
endfunction()
