-- The larger OPT trainings of arXiv 2306.12929: the 350m and 1.3b sizes of its yaml files, vanilla and gated.
--   hoplab sweep opt_large_paper.lua -s base=350m
-- Text, vocabulary and evaluation: as for opt_paper.lua. Batches of 264 and 252 blocks, 13 thousand million tokens:
-- nothing for a CPU.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

-- gate: what a gate is if there is one
local function experiment(size, batch_size, accumulate, gate)
  return hop.experiment {
    name = "opt-" .. size .. "-paper",
    tags = { "paper" },
    seed = 1000,
    model = nn.preset("opt-" .. size .. "-yaml", { dropout = 0.1, attention = gate }),
    data = data.clm { train = "bookcorpus_and_wiki", tokens = "tokenizers/opt/vocab.json", seq_len = 512,
      batch_size = batch_size },
    optim = optim.adamw { lr = 4e-4, betas = { 0.9, 0.95 }, weight_decay = 0.1,
      no_decay = { "bias", "layer_norm.weight" } },
    schedule = optim.linear { warmup = 2000 },
    train = { max_steps = 100000, max_grad_norm = 1.0, accumulate = accumulate },
    eval = { every = 1000, batches = 1025 },
    save = { every = 1000, keep = 1 },
  }
end

return hop.sweep {
  name = "opt-large-paper",
  base = {
    ["350m"] = experiment("350m", 24, 11, { gate_init = 0.25 }),
    ["1.3b"] = experiment("1.3b", 14, 18, { gate_predictor = "all_features" }),
  },
  grid = { ["model.attention.gate"] = { "none", "conditional_per_token" } },
}
