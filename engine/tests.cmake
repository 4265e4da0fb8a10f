# Unit suites of graph, pass and exec, and what they share.
if(HOPLAB_TESTS)
  add_library(hl_engine_trial STATIC exec/trial_test.c exec/sketch_test.c)
  target_link_libraries(hl_engine_trial PUBLIC hl_engine)
endif()
hl_unit_test(engine_graph_test LIBS hl_engine_trial SOURCES graph/graph_test.c graph/build_test.c
  graph/body_test.c)
hl_unit_test(engine_pass_test LIBS hl_engine_trial SOURCES pass/autodiff_test.c
  pass/fuse_pair_test.c pass/fuse_test.c pass/fuse_backward_test.c pass/fuse_ew_test.c pass/bf16_test.c pass/codes_test.c)
hl_unit_test(engine_program_test LIBS hl_engine_trial SOURCES exec/program_test.c
  exec/program_state_test.c exec/program_memory_test.c exec/program_cache_test.c)
hl_unit_test(engine_plan_test LIBS hl_engine_trial SOURCES exec/plan_test.c exec/train_test.c)
hl_unit_test(engine_optim_test LIBS hl_engine SOURCES optim/schedule_test.c)
hl_unit_test(engine_ckpt_test LIBS hl_engine SOURCES ckpt/ckpt_test.c
  ckpt/weights_test.c)
hl_unit_test(engine_probe_test LIBS hl_engine SOURCES probe/trajectory_test.c)
hl_unit_test(engine_solve_test LIBS hl_engine_trial SOURCES solve/fewer_test.c)
hl_unit_test(engine_quant_test LIBS hl_engine SOURCES quant/int8_gemm_test.c quant/method_test.c quant/quantizer_test.c quant/range_test.c
  quant/range_golden_test.c quant/saved_test.c)
