-- The plainest DEQ: z = tanh(z W + x U + b) on digits, solved by Broyden's method.
--   hoplab run deq_tanh.lua -s model.solver=picard

local hop = require "hop"
local nn, deq, optim, data = hop.nn, hop.deq, hop.optim, hop.data

local model = nn.module { name = "deq-tanh",
  params = function(p, o)
    local cell = deq.fn {
      params = function(q)
        q.W = q:normal({ o.width, o.width }, { std = 0.3 / math.sqrt(o.width) })
        q.U = q:normal({ 784, o.width }, { std = 0.02 })
        q.b = q:zeros { o.width }
      end,
      prepare = function(q, x) return x:matmul(q.U) + q.b end,
      step = function(q, z, u) return (z:matmul(q.W) + u):tanh() end }
    p.core = deq.layer { fn = cell, state = { o.width },
      forward = { solver = o.solver, max_iter = o.max_iter, tol = o.tol, memory = 10 },
      backward = { method = o.gradient, solver = "picard", max_iter = 20, tol = 1e-6 } }
    p.head = nn.linear(o.width, 10)
  end,
  loss = function(p, batch)
    local z, info = p.core(batch.x)
    local out, metrics = p.head(z), deq.metrics(info)
    metrics.accuracy = hop.accuracy(out, batch.y)
    return hop.loss.squared_error(out, batch.y), metrics
  end }

return hop.experiment {
  name = "deq-tanh",
  seed = 1,
  model = model { width = 256, solver = "broyden", gradient = "ift", max_iter = 30, tol = 1e-4 },
  data = data.images { batch_size = 64 },
  optim = optim.adamw { lr = 1e-3 },
  train = { max_steps = 600, max_grad_norm = 1 },
  log = { every = 10 },
  eval = { every = 300 },
  probe = { every = 50 },
}
