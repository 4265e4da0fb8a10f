-- Generated digits and a small model that gives numbers and curves beside its loss.
local hop = require "hop"
local nn, T = hop.nn, hop.T

local mlp = nn.module { name = "mlp",
  params = function(p, o)
    p.curves = o.curves
    p.hidden = nn.linear(784, o.width)
    p.out = nn.linear(o.width, 10)
  end,
  loss = function(p, batch)
    local h = T.tanh(p.hidden(batch.x))
    local y = p.out(h)
    local metrics = { accuracy = hop.accuracy(y, batch.y) }
    if p.curves then
      metrics["hidden/mean"] = h:mean(1)
      metrics.spread = T.log(y):narrow(1, 1, 4) -- with entries that are not there: NaN
    end
    return hop.loss.squared_error(y, batch.y), metrics
  end }

local seen = hop.callback { name = "seen", on_eval = function(_, ev)
  ev.run:log { ["mine/accuracy"] = ev.metrics["eval/accuracy"] }
end }

return hop.experiment {
  name = "digits",
  seed = 3,
  model = mlp { width = 96, curves = true },
  data = hop.data.images { set = "generated", generated = 2500, generated_eval = 500, batch_size = 64 },
  optim = hop.optim.madam { lr = 0.03, p_scale = 1024, g_bound = 3 },
  schedule = hop.optim.linear { per = "epoch", final = 0.1 },
  train = { max_steps = 300 },
  log = { every = 10 },
  save = { best = "eval/accuracy:max" },
  probe = { every = 100 },
  callbacks = { seen },
}
