-- Make your own DEQ: say what one step is, and how it is solved. Everything else is done for you:
-- the step is recorded once, differentiated and iterated without Lua; each sample stops when it is done.
--   hoplab run deq_custom.lua

local hop = require "hop"
local T, nn, deq, optim, data = hop.T, hop.nn, hop.deq, hop.optim, hop.data
local width = 128

-- z = tanh(z W + x U + b) minus a little of its own mean: a step nobody has a library for
local cell = deq.fn {
  params = function(p)
    p.W = p:normal({ width, width }, { std = 0.5 / math.sqrt(width) })
    p.U = p:normal({ 784, width }, { std = 0.02 })
    p.b = p:zeros { width }
  end,
  prepare = function(p, x) return x:matmul(p.U) + p.b end,
  step = function(p, z, u) return (z:matmul(p.W) + u - z:mean(2, true) * 0.1):tanh() end,
}

local function equilibrium()
  return deq.layer { fn = cell, state = { width },
    forward = { solver = "anderson", max_iter = 40, tol = 1e-4 },
    backward = { method = "ift", solver = "anderson", max_iter = 40, tol = 1e-5 } }
end

-- Is its gradient right, does it converge? An answer in words before any training.
local report = deq.check(equilibrium(), T.rand { 8, 784 })
print(report.text)
if not report.ok then error("the gradients of this layer are wrong") end

local model = nn.module { name = "deq-custom",
  params = function(p)
    p.core = equilibrium()
    p.head = nn.linear(width, 10)
  end,
  loss = function(p, batch)
    local z, info = p.core(batch.x)
    local logits = p.head(z)
    local metrics = deq.metrics(info)
    metrics.accuracy = hop.accuracy(logits, batch.y)
    return hop.loss.squared_error(logits, batch.y), metrics
  end }

return hop.experiment {
  name = "deq-custom",
  seed = 1,
  model = model {},
  data = data.images { batch_size = 64 },
  optim = optim.adamw { lr = 1e-3 },
  train = { max_steps = 600, max_grad_norm = 1 },
  log = { every = 10 },
  eval = { every = 300 },
  probe = { every = 50 },
}
