-- STanHop-Net of a size for two cores, on ETTh1 (generated series where the file is not found), by the
-- published recipe: Adam, the rate halved every two epochs, clipping at 5, early stopping on the validation
-- part, then the best weights on the test part, beside forecasts without a model.
--   hoplab run stanhop_small.lua                                       OutEffHop (softmax1)
--   hoplab run stanhop_small.lua -s model.mode=entmax                  STanHop
--   hoplab sweep stanhop_small.lua -s model.mode=softmax,softmax1,entmax -s seed=1,2,3
--   hoplab quantize last                                               W8A8 of what it trained

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "stanhop-small",
  project = "stanhop",
  seed = 1,

  model = nn.stanhop { mode = "softmax1", width = 64, heads = 4, layers = 2, seg_len = 6 },
  data = data.series { set = "ETTh1", in_len = 96, out_len = 24, batch_size = 64 },
  optim = optim.adam { lr = 1e-3 },
  schedule = optim.type1 {},
  train = { epochs = 10, patience = 3, tie_is_best = true, max_grad_norm = 5 },

  log = { every = 20 },
  eval = { every = 1, per = "epoch" },
  save = { keep = 1, best = "eval/loss:min" },
}
