-- A small Hopfield network on generated digits, for the driver's and the end-to-end suites.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "equilibrium",
  seed = 3,
  model = nn.hopfield { layers = { 784, 40, 30, 20, 10 }, forward = { tol = 1e-4, max_iter = 25 },
    backward = { max_iter = 6 } },
  data = data.images { set = "generated", generated = 700, generated_eval = 150, batch_size = 64 },
  optim = optim.madam { lr = 0.01, p_scale = 1024, g_bound = 3 },
  train = { max_steps = 60 },
  log = { every = 5 },
  probe = { every = 7 },
}
