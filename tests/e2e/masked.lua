-- A masked language model of toy size on generated text, for the suite about models of others.
local hop = require "hop"

return hop.experiment {
  name = "masked",
  seed = 3,
  model = hop.nn.bert { layers = 2, width = 16, heads = 2, max_len = 24, dropout = 0.1 },
  data = hop.data.mlm { train = "generated", tokens = "bytes", seq_len = 24, batch_size = 4,
    generated_bytes = 20000 },
  optim = hop.optim.adamw { lr = 1e-3 },
  train = { max_steps = 30 },
  eval = { batches = 5 },
  save = { every = 10, keep = 3 },
}
