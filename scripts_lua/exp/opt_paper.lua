-- The OPT trainings of arXiv 2404.03828 (and 2306.12929): OPT of 125 million parameters from scratch under the six
-- attention methods, with the published settings.
--   hoplab sweep opt_paper.lua
--   hoplab run opt_paper.lua -s model.attention.method=outeffhop
-- Text and vocabulary (OPT's vocab.json and merges.txt): as for bert_paper.lua. A batch of 192 blocks was made of
-- 4 x 48, of the clipped methods of 8 x 24: -s data.batch_size=24 -s train.accumulate=8. Larger models:
-- opt_large_paper.lua. As published, a run is evaluated with
--   hoplab eval RUN --seed 5678 -s data.eval_batch_size=4 -s eval.kurtosis_batches=101
--   hoplab quantize RUN --seed 6789 -s data.eval_batch_size=8
-- where vanilla was evaluated with eval_batch_size=8; quantized ones were evaluated with 4 or 1, which changes
-- nothing but the time, and calibrated with 8.
-- 125 000 steps of 192 blocks of 512 are 12 thousand million tokens: months on a CPU. -s train.max_steps, -s
-- model.layers make it smaller. Published in half precision; here it is fp32. The published "clipped OutEffHop"
-- of OPT was clipped softmax; here it is what its name says.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.sweep {
  name = "opt-paper",
  base = hop.experiment {
    name = "opt-paper",
    tags = { "paper" },
    seed = 1000,
    model = nn.preset("opt-125m-yaml", { dropout = 0.1 }),
    data = data.clm { train = "bookcorpus_and_wiki", tokens = "tokenizers/opt/vocab.json",
      seq_len = 512, batch_size = 48 },
    -- layer norms are decayed too
    optim = optim.adamw { lr = 4e-4, betas = { 0.9, 0.95 }, weight_decay = 0.1, no_decay = { "bias" } },
    schedule = optim.linear { warmup = 2000 },
    train = { max_steps = 125000, max_grad_norm = 1.0, accumulate = 4 },
    eval = { every = 5000, batches = 1025 },
    save = { every = 5000, keep = 1 },
    probe = { every = 2000 },
    quantize = { batches = 4, percentile = 99.999 },
  },
  grid = {
    ["model.attention.method"] = { "vanilla", "clipped_softmax", "gated_attention", "outeffhop",
      "clipped_outeffhop", "gated_outeffhop" },
  },
}
