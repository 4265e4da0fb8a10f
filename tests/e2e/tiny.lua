-- A model of toy size on generated text: what the end-to-end suites train.
local hop = require "hop"

return hop.experiment {
  name = "tiny",
  seed = 7,
  model = hop.nn.opt { layers = 2, width = 32, heads = 2, max_len = 32, dropout = 0.1,
    attention = { softmax = "softmax1" } },
  data = hop.data.clm { train = "generated", tokens = "bytes", seq_len = 32, batch_size = 4 },
  optim = hop.optim.adamw { lr = 1e-3 },
  schedule = hop.optim.linear { warmup = 10 },
  train = { max_steps = 200, max_grad_norm = 1.0 },
  log = { every = 10 },
  eval = { every = 100, batches = 4 },
  save = { every = 10, keep = 3 },
  probe = { every = 50 },
}
