-- Hopfield networks as deep equilibrium models on MNIST: the recipe of arXiv 2311.15673.
--   hoplab run deq_hopfield.lua
--   hoplab run deq_hopfield.lua -s model.update=one_matrix -s model.forward.solver=picard
-- Digits are generated where no MNIST is found. With tol = 0 every solve takes its 40 evaluations, as in the
-- paper; -s model.forward.tol=1e-4 stops each sample when it is done.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "deq-hopfield",
  seed = 1,

  model = nn.hopfield { layers = { 784, 1990, 10 }, kind = "ham", update = "even_odd",
    forward = { solver = "anderson", tol = 0 },
    backward = { method = "backprop", solver = "picard", tol = 0 } },
  data = data.images { batch_size = 64 },
  optim = optim.madam { lr = 0.01, p_scale = 1024, g_bound = 3 },
  schedule = optim.linear { per = "epoch", total = 9, final = 0.1 },
  train = { epochs = 10 },

  log = { every = 10 },
  eval = { every = 937 },
  save = { every = 937, keep = 2, best = "eval/accuracy:max" },
  probe = { every = 100 },
}
