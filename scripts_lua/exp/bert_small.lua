-- A small BERT on the words of a text: 6 layers, width 256, blocks of 128, 16 of them a step.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "bert-small",
  seed = 1,

  model = nn.bert { layers = 6, width = 256, heads = 4, max_len = 128, vocab = 8192 },
  data = data.mlm { train = "generated", tokens = "words", vocab = 8192, seq_len = 128, batch_size = 16 },
  optim = optim.adamw { lr = 1e-3, weight_decay = 0.01 },
  schedule = optim.linear { warmup = 100 },
  train = { max_steps = 1000, max_grad_norm = 1.0 },

  log = { every = 5 },
  eval = { every = 250 },
  save = { every = 250 },
  probe = { every = 20 },
}
