-- A small OPT on the bytes of a book: 4 layers, width 256, blocks of 128, 16 of them a step.
--   hoplab run opt_small.lua -s data.train=book.txt
--   hoplab run opt_small.lua -s data.train=book.txt -s model.attention.method=outeffhop

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "opt-small",
  seed = 1,

  model = nn.opt { layers = 4, width = 256, heads = 4, max_len = 128, dropout = 0,
    attn_init = "model" },
  data = data.clm { train = "generated", tokens = "bytes", seq_len = 128, batch_size = 16 },
  optim = optim.adamw { lr = 1e-3, weight_decay = 0.1, betas = { 0.9, 0.95 } },
  schedule = optim.linear { warmup = 50 },
  train = { max_steps = 600, max_grad_norm = 1.0 },

  log = { every = 5 },
  eval = { every = 200 },
  save = { every = 100, keep = 2 },
  probe = { every = 20 },
}
