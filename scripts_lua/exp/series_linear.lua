-- The linear forecast (DLinear) on a series, trained as the published models are: Adam, the rate halved every two
-- epochs, early stopping on the validation part, then the best weights on the test part. At its end stands one
-- table: this model, and forecasts without one.
--   hoplab run series_linear.lua
--   hoplab run series_linear.lua -s data.set=ILI -s data.in_len=48
--   hoplab run series_linear.lua -s data.file=mine.csv
--   hoplab sweep series_linear.lua -s seed=1,2,3        (itr of the published scripts)

local hop = require "hop"
local nn, optim, data = hop.nn, hop.optim, hop.data

return hop.experiment {
  name = "series-linear",
  seed = 1,

  model = nn.dlinear {},
  data = data.series { set = "ETTh1", in_len = 96, out_len = 24, batch_size = 32 },
  optim = optim.adamw { lr = 1e-3, weight_decay = 0 },
  schedule = optim.type1 {},
  train = { epochs = 20, patience = 3, tie_is_best = true, max_grad_norm = 5 },

  log = { every = 50 },
  eval = { every = 1, per = "epoch", save_pred = true },
  save = { keep = 1, best = "eval/loss:min" }, -- a new best is saved when it is found
}
