# The shipped binary is as hard as the linker and the compiler can make it. Arguments: READELF, BINARY.
execute_process(COMMAND ${READELF} -W --file-header --program-headers --dynamic --dyn-syms ${BINARY}
  OUTPUT_VARIABLE elf COMMAND_ERROR_IS_FATAL ANY)
foreach(wanted
    "position independent=Type: +DYN"
    "all symbols bound at start=FLAGS[^\n]*NOW"
    "read-only relocations=GNU_RELRO"
    "stack without code=GNU_STACK[^\n]* RW  "
    "stack canaries=__stack_chk_fail"
    "checked functions of the C library=_chk@")
  string(REGEX MATCH "^([^=]+)=(.+)$" matched "${wanted}")
  set(property ${CMAKE_MATCH_1})
  set(pattern ${CMAKE_MATCH_2})
  if(NOT elf MATCHES "${pattern}")
    message(SEND_ERROR "${BINARY}: lacks ${property}")
  endif()
endforeach()
if(elf MATCHES "RPATH|RUNPATH")
  message(SEND_ERROR "${BINARY}: has a search path for libraries")
endif()
