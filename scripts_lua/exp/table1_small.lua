-- The table of arXiv 2404.03828 in small: BERT and OPT under the six attention methods, their perplexity and
-- outliers on one text, three seeds each, and the perplexity in eight bits, over three calibrations.
--   hoplab sweep table1_small.lua -s data.train=book.txt
--   hoplab sweep table1_small.lua -s data.train=book.txt -s base=opt -s seed=1
-- A trial that is done is not done again: the same line prints the table.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

-- so small that all twelve cells of a seed take some 20 minutes on two cores
local size = { layers = 4, width = 128, heads = 4, max_len = 128 }
local text = { train = "generated", tokens = "words", vocab = 4096, seq_len = 128, batch_size = 16 }

local function experiment(name, model, source, adamw)
  return hop.experiment {
    name = name,
    tags = { "table1-small" },
    seed = 1,
    model = model(size),
    data = source(text),
    optim = optim.adamw(adamw),
    schedule = optim.linear { warmup = 100 },
    train = { max_steps = 1000, max_grad_norm = 1.0 },
    log = { every = 20 },
    save = { keep = 1 },
    probe = { every = 50 },
    quantize = { at_end = 3 },
  }
end

return hop.sweep {
  name = "table1-small",
  base = {
    bert = experiment("bert", nn.bert, data.mlm, { lr = 2e-3, weight_decay = 0.01 }),
    opt = experiment("opt", nn.opt, data.clm, { lr = 2e-3, weight_decay = 0.1, betas = { 0.9, 0.95 } }),
  },
  grid = {
    ["model.attention.method"] = { "vanilla", "clipped_softmax", "gated_attention", "outeffhop",
      "clipped_outeffhop", "gated_outeffhop" },
    seed = { 1, 2, 3 },
  },
}
