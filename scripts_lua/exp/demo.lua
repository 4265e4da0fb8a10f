-- The job of `hoplab demo`: a small OPT on bytes. The command sets the attention and the text.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "demo",
  tags = { "demo" },
  seed = 1,

  model = nn.opt { layers = 3, width = 128, heads = 4, max_len = 128, dropout = 0,
    attn_init = "model" },
  data = data.clm { train = "generated", seq_len = 128, batch_size = 16 },
  optim = optim.adamw { lr = 3e-3, weight_decay = 0.1, betas = { 0.9, 0.95 } },
  schedule = optim.linear { warmup = 40 },
  train = { max_steps = 400, max_grad_norm = 1.0 },

  log = { every = 5 },
  eval = { every = 200, batches = 40 },
  probe = { every = 20 },
}
