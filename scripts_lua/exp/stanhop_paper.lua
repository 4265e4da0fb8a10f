-- The published trainings of STanHop-Net as one sweep: every data set and horizon of the scripts under
-- the four modes, each repeated ten times; 35 million parameters. (Their softmax1 line of ETTm1 672 -> 96
-- says softmax; here it is softmax1.)
--   hoplab sweep stanhop_paper.lua --repeat 10
--   hoplab sweep stanhop_paper.lua -s data.set=ETTh1 -s data.in_len=168 …      a part of it

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

local base = hop.experiment {
  name = "stanhop",
  project = "stanhop-paper",
  seed = 1,

  model = nn.stanhop { layers = 11, width = 256, ffn = 512, heads = 4, win_size = 1, factor = 10, dropout = 0.5,
    mode = "softmax1" },
  data = data.series { set = "ETTh1", in_len = 168, out_len = 24, batch_size = 128 },
  optim = optim.adam { lr = 1e-4 },
  schedule = optim.type1 {},
  train = { epochs = 100, patience = 5, tie_is_best = true, max_grad_norm = 5 },
  log = { every = 20 },
  eval = { every = 1, per = "epoch" },
  save = { keep = 1, best = "eval/loss:min" },
}

-- set, in, out, segment, rate, batch
local lines = {
  { "ETTh1", 168, 24, 6, 1e-4, 128 }, { "ETTh1", 168, 48, 6, 1e-4, 128 },
  { "ETTh1", 720, 168, 24, 1e-5, 128 }, { "ETTh1", 720, 336, 24, 1e-5, 128 }, { "ETTh1", 720, 720, 24, 1e-5, 128 },
  { "ETTm1", 288, 24, 12, 1e-4, 64 }, { "ETTm1", 288, 48, 6, 1e-4, 64 }, { "ETTm1", 672, 96, 12, 1e-4, 64 },
  { "ETTm1", 672, 288, 24, 1e-5, 64 }, { "ETTm1", 672, 672, 12, 1e-5, 64 },
  { "WTH", 48, 24, 4, 1e-4, 64 }, { "WTH", 48, 48, 4, 1e-4, 64 }, { "WTH", 336, 168, 24, 1e-5, 64 },
  { "WTH", 336, 336, 24, 1e-5, 64 }, { "WTH", 720, 720, 24, 1e-5, 64 },
}
local points = {}
for i, l in ipairs(lines) do
  points[i] = { ["data.set"] = l[1], ["data.in_len"] = l[2], ["data.out_len"] = l[3], ["model.seg_len"] = l[4],
    ["optim.lr"] = l[5], ["data.batch_size"] = l[6] }
end

return hop.sweep { base = base, list = points,
  grid = { ["model.mode"] = { "softmax1", "entmax", "softmax", "sparsemax" } } }
