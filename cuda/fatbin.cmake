# cmake -DPYTHON= -DRECIPE= -DNVCC= -DFOLDER= -DINSIST= -P fatbin.cmake: make FOLDER/qtheory.fatbin.
# A failure is an error only if INSIST is set. What nvcc said is in FOLDER/fatbin.log.
execute_process(
  COMMAND "${PYTHON}" "${RECIPE}" "${FOLDER}" --nvcc "${NVCC}"
  RESULT_VARIABLE failed OUTPUT_VARIABLE words ERROR_VARIABLE words)
file(WRITE "${FOLDER}/fatbin.log" "${words}")
if(failed)
  file(REMOVE "${FOLDER}/qtheory.fatbin" "${FOLDER}/qtheory.json")
  if(INSIST)
    message(FATAL_ERROR "QT_CUDA is ON and nvcc failed:\n${words}")
  endif()
  message("gpu: nvcc failed, ${FOLDER}/fatbin.log says why; NVRTC compiles on first use of a GPU")
endif()
