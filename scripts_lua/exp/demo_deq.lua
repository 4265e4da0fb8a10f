-- The equilibrium part of `hoplab demo`: an even-odd Hopfield network that classifies digits, each
-- solved until it stands still.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "demo-hopfield",
  tags = { "demo" },
  seed = 1,

  model = nn.hopfield { layers = { 784, 512, 10 }, kind = "ham", update = "even_odd",
    forward = { solver = "anderson", tol = 1e-4 } },
  data = data.images { batch_size = 64, generated = 20000 },
  optim = optim.madam { lr = 0.01, p_scale = 1024, g_bound = 3 },
  train = { max_steps = 600 },

  log = { every = 5 },
  eval = { every = 300, batches = 30 },
  probe = { every = 20 },
}
