-- The published sweep of arXiv 2311.15673: depth x even-odd x Anderson x HAM/CHN, five times each, with
-- the paper's hyper-parameters; all networks have 2000 units besides the input.
--   hoplab sweep deq_paper.lua --metric eval/accuracy --metric eval_loss --metric eval/deq/time \
--     --metric eval/deq/not_converged --metric step_seconds
--   hoplab sweep deq_paper.lua -s model.kind=ham -s train.epochs=2
--   hoplab export RUN RUN RUN RUN --svg figure.svg --figure trajectory
-- A trial that is done is not done again, so it can be stopped and started at will.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.sweep {
  base = hop.experiment {
    name = "deq-paper",
    tags = { "deq-paper" },
    seed = 1,
    model = nn.hopfield { layers = { 784, 1990, 10 },
      forward = { solver = "anderson", tol = 0, memory = 4, ridge = 1e-10 },
      backward = { method = "backprop", solver = "picard", tol = 0 } },
    data = data.images { batch_size = 64 },
    optim = optim.madam { lr = 0.01, p_scale = 1024, g_bound = 3 },
    schedule = optim.linear { per = "epoch", total = 9, final = 0.1 },
    train = { epochs = 10 },
    log = { every = 50 },
    eval = { every = 937 },
    save = { every = 937, keep = 1 },
    probe = { every = 500 },
  },
  zip = {
    ["model.layers"] = { { 784, 1990, 10 }, { 784, 1280, 510, 200, 10 },
      { 784, 1024, 512, 256, 128, 70, 10 } },
    ["optim.lr"] = { 0.01, 0.005, 0.005 },
  },
  grid = {
    ["model.kind"] = { "ham", "chn" },
    ["model.update"] = { "one_matrix", "even_odd" },
    ["model.forward.solver"] = { "picard", "anderson" },
    seed = { 1, 2, 3, 4, 5 },
  },
}
