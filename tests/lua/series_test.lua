-- Series in experiments: what a model is recorded with, the loss where values are missing, the linear
-- forecast, and what is refused. Run in fp64.

local hop = require "hop"
local check = require "check"
local T, nn, data, optim = hop.T, hop.nn, hop.data, hop.optim

-- ---- the linear forecast against its definition ----

local m = nn.dlinear { in_len = 7, out_len = 2, kernel = 4 }
local x = T.randn { 2, 7, 3 }
local y = m(x)
local p = {}
for name, t in m:parameters() do p[name] = t:table() end
check.equal("parameters", m:n_parameters(), 2 * (7 * 2 + 2))

local function at(b, t, c) return x[b]:table()[math.min(math.max(t, 1), 7)][c] end
local worst = 0
for b = 1, 2 do
  for c = 1, 3 do
    for h = 1, 2 do
      local sum = p["trend.bias"][h] + p["rest.bias"][h]
      for t = 1, 7 do
        local mean = (at(b, t - 1, c) + at(b, t, c) + at(b, t + 1, c) + at(b, t + 2, c)) / 4
        sum = sum + p["trend.weight"][h][t] * mean + p["rest.weight"][h][t] * (at(b, t, c) - mean)
      end
      worst = math.max(worst, math.abs(sum - y[b]:table()[h][c]))
    end
  end
end
check.near("the definition", worst, 0, 1e-6)

-- ---- the loss ----

local future = T.randn { 2, 2, 3 }
local loss, second = hop.loss.forecast(m, { x = x, y = future })
check.near("the mean of squares", loss:item(), T.square(y - future):mean():item(), 1e-12)
check.close("the forecast beside it", second.prediction, y, 0)
check.equal("of a forecast that is there", (hop.loss.forecast(y, { x = x, y = future })):item(), loss:item())
local seen = T.from { { { 1, 0, 1 }, { 1, 1, 1 } }, { { 0, 0, 0 }, { 1, 0, 1 } } }
local masked = hop.loss.forecast(m, { x = x, y = future, seen = seen })
check.near("of the values there are", masked:item(), (T.square(y - future) * seen):sum():item() / 7, 1e-12)
check.near("of none", hop.loss.forecast(m, { x = x, y = future, seen = seen * 0 }):item(), 0, 0)
check.raises("a forecast of another length", "the model's forecast is {2, 2, 3}, the data's future is {2, 3, 3}",
  hop.loss.forecast, m, { x = x, y = T.zeros { 2, 3, 3 } })

-- ---- experiments ----

local function experiment(changes)
  return hop.experiment({ name = "series", model = nn.dlinear {}, optim = optim.adamw { lr = 1e-3 },
    schedule = optim.type2 {}, train = { epochs = 2 },
    data = data.series { generated = 300, channels = 2, in_len = 12, out_len = 4, batch_size = 50 } }, changes or {})
end
local function build(changes) return hop.runner.build(hop.runner.resolve(experiment(changes), {})) end

local b = build()
-- 210, 30 and 60 rows: 195, 27 and 57 windows
check.equal("steps of an epoch with a small last batch", b.config.train.max_steps, 8)
check.equal("sizes are the data's", b.config.model.in_len .. " " .. b.config.model.out_len, "12 4")
check.that("a program for the small training batch", b.train_rest ~= nil)
check.that("for validation", b.eval_rest ~= nil)
check.that("for the test", b.test_rest ~= nil)
check.equal("the forecast is no output of training", #b.train.metrics, 0)
check.equal("but of evaluations", b.eval.metrics[1][1], "prediction")

b = build { data = { rest = "drop" } }
check.equal("without the rest", b.config.train.max_steps, 6)
check.that("no program for it", b.train_rest == nil)
b = build { train = { accumulate = 2 } }
check.equal("batches of an update have one size", b.config.data.rest, "drop")
for _, metric in ipairs { "mse", "mae", "rmse", "mape", "mspe", "batch_loss" } do
  check.equal("best by " .. metric, build { save = { best = "eval/" .. metric } }.best, "eval/" .. metric)
end

b = build { loss = function(model, batch)
  local mine, out = hop.loss.forecast(model, batch)
  out.mae, out.other = mine * 2, mine * 3
  return mine, out
end }
local names = {}
for i, metric in ipairs(b.eval.metrics) do names[i] = metric[1] end
check.equal("measures by the driver stand for those of the loss", table.concat(names, " "), "other prediction")

check.raises("a set that is not there", "did you mean 'ILI'?", build, { data = { set = "ILL" } })
check.raises("a model of other lengths", "model.out_len is 5, the data has 4", build,
  { model = nn.dlinear { out_len = 5 } })
check.raises("gaps", 'missing = "mask"', build, { data = { gaps = 0.1 } })
build { data = { gaps = 0.1, missing = "mask" } }
check.raises("more than there are", "batch_size is 300, there are 195 windows", build,
  { data = { batch_size = 300, rest = "drop" } })
check.raises("a forecast that is none", "must be a tensor {B, 4, 2}, not {50, 12, 2}", build,
  { loss = function(model, batch) return hop.loss.forecast(model, batch), { prediction = batch.x } end })
check.raises("lengths that no data gives", "option 'in_len' is missing", function() return nn.dlinear {} (x) end)
check.raises("split", "three numbers", build, { data = { split = { 1, 2 } } })

check.done()
