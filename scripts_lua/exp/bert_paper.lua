-- The BERT trainings of arXiv 2404.03828 (and 2306.12929, there 1 000 000 steps): BERT-base from scratch under
-- the six attention methods, with the published settings.
--   hoplab sweep bert_paper.lua
--   hoplab run bert_paper.lua -s model.attention.method=outeffhop
-- `hoplab data info bookcorpus` and `… wiki40b` say how to get the text; another: -s data.train=FILE. The
-- vocabulary, bert-base-uncased's vocab.txt, is looked for as it is named below, also in the data directory.
-- As published, a run is evaluated with
--   hoplab eval RUN --seed 3000 -s data.eval_batch_size=32 -s eval.kurtosis_batches=257
--   hoplab quantize RUN --seed 4000 -s data.eval_batch_size=32
-- 200 000 steps of 256 blocks are 6.6 thousand million tokens: weeks on a CPU. -s train.max_steps, -s model.layers
-- make it smaller. Published in half precision; here it is fp32. The published "clipped OutEffHop" ran with
-- eta 1.1: -s model.attention.softmax='clippedsoftmax1(-.025:1.1)'.

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.sweep {
  name = "bert-paper",
  base = hop.experiment {
    name = "bert-paper",
    tags = { "paper" },
    seed = 1000,
    model = nn.preset("bert-base-uncased", { dropout = 0.1, attn_dropout = 0.1 }),
    data = data.mlm { train = "bookcorpus_and_wiki", tokens = "tokenizers/bert-base-uncased/vocab.txt",
      seq_len = 128, batch_size = 256, mask_prob = 0.15 },
    optim = optim.adamw { lr = 1e-4, betas = { 0.9, 0.999 }, weight_decay = 0.01,
      no_decay = { "bias", "LayerNorm.weight" } },
    schedule = optim.linear { warmup = 10000 },
    train = { max_steps = 200000, max_grad_norm = 1.0 },
    eval = { every = 5000 },
    save = { every = 5000, keep = 1 },
    probe = { every = 2000 },
    quantize = { batches = 16, data = "eval" },
  },
  grid = {
    ["model.attention.method"] = { "vanilla", "clipped_softmax", "gated_attention", "outeffhop",
      "clipped_outeffhop", "gated_outeffhop" },
  },
}
