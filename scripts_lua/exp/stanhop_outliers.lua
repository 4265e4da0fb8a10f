-- The published study of outliers and of eight bits: ETTh1 168 -> 24 under six methods, each with three
-- seeds; a run ends with its W8A8 numbers (definition of the placement: ours, docs/architecture.md).
--   hoplab sweep stanhop_outliers.lua
--   hoplab sweep stanhop_outliers.lua -s model.layers=2 -s model.width=64 -s model.ffn=128 -s train.epochs=3     small

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

local base = hop.experiment {
  name = "stanhop-outliers",
  project = "stanhop-paper",
  seed = 1000,

  model = nn.stanhop { layers = 11, width = 256, ffn = 512, heads = 4, seg_len = 6, mode = "softmax1" },
  data = data.series { set = "ETTh1", in_len = 168, out_len = 24, batch_size = 128 },
  optim = optim.adam { lr = 1e-4 },
  schedule = optim.type1 {},
  train = { epochs = 100, patience = 5, tie_is_best = true, max_grad_norm = 5 },
  log = { every = 20 },
  eval = { every = 1, per = "epoch" },
  save = { keep = 1, best = "eval/loss:min" },
  quantize = { at_end = 1 },
}

local gated = { ["model.gate"] = "conditional_per_token", ["model.gate_init"] = 0.25 }
local points = {}
for _, mode in ipairs { "softmax1", "softmax", "clip_softmax1", "clip" } do
  points[#points + 1] = { ["model.mode"] = mode }
end
for _, mode in ipairs { "softmax", "softmax1" } do
  local p = { ["model.mode"] = mode }
  for path, value in pairs(gated) do p[path] = value end
  points[#points + 1] = p
end

return hop.sweep { base = base, list = points, grid = { seed = { 1000, 2000, 3000 } } }
