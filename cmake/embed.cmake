# hl_embed(<out.c> <symbol> <base dir> <file>...): the files become a table of (name, bytes, size).
# Names are relative to the base directory.
function(hl_embed out symbol base)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} "-DOUT=${out}" "-DSYMBOL=${symbol}" "-DBASE=${base}" "-DFILES=${ARGN}"
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_run.cmake
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/embed_run.cmake
    VERBATIM)
endfunction()
