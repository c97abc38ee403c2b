# Run at build time: writes OUT, a C string literal with the commit of the source tree, when it has changed.
execute_process(COMMAND git -C ${SOURCE} describe --always --abbrev=12 --exclude=* --dirty=+changes
                OUTPUT_VARIABLE id OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(id "unknown")
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "\"${id}\"\n")
