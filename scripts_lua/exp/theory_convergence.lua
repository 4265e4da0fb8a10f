-- Theory, 2: retrieval runs into fixed points, as fast as the Jacobian there says (spec: theory 5 d, e; 6.2).
-- From each limit x* the largest eigenvalue of J(x*) is found by power iteration and compared with the
-- rate at which the distance to x* shrinks. A trajectory is in the rounding of the arithmetic before
-- its slowest direction stands out, so once it is close, its distance to x* is scaled up again after
-- every step.
--
--   hoplab run scripts_lua/exp/theory_convergence.lua

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory = hop.T, hop.memory

local POWER_STEPS, AGREES = 300, 0.05

-- Largest eigenvalue of J(x*) per query, {N, 1}: J is symmetric and not negative
local function eigenvalue(m, limit)
  local v = memory.unit_rows(T.randn(limit:size()))
  for _ = 1, POWER_STEPS do v = memory.unit_rows(m:jacobian(limit, v)) end
  return T.sum(v * m:jacobian(limit, v), { axes = { -1 }, keep = true })
end

-- Rates at which T shrinks distances of length `close` to the limits, {N, 1}
local function observed_rate(m, limit, x, close)
  local away = memory.unit_rows(x - limit)
  local rate
  for _ = 1, POWER_STEPS do
    local y = (m:step(limit + away * close) - limit) * (1 / close)
    rate, away = tools.norms(y), memory.unit_rows(y)
  end
  return rate
end

-- steps[i]: until |dx| < tol; near: the states after two steps
local function trace(m, start, o)
  local x, near, steps, moves = start, start, {}, {}
  for t = 1, o.steps do
    local y = m:step(x)
    moves[t] = tools.norms(y - x)
    for i, v in ipairs(tools.list(moves[t])) do
      if v < o.tol and not steps[i] then steps[i] = t end
    end
    if t == 2 then near = y end
    x = y
  end
  return x, near, steps, moves
end

return hop.study {
  name = "convergence",
  project = "theory",
  options = {
    { "queries", "integer", default = 100, min = 1, doc = "per line of the table" },
    { "patterns", "integer", default = 100, min = 2, doc = "memories, on the unit sphere" },
    { "width", "integer", default = 20, min = 2, doc = "of a memory" },
    { "noise", "number", default = 0.2, min = 0, doc = "of the queries" },
    { "steps", "integer", default = 300, min = 10, doc = "at most" },
    { "tol", "number", default = 1e-6, min = 0, doc = "a step this short has converged" },
    { "betas", "table", default = { 5, 10, 20 }, doc = "inverse temperatures" },
  },
  run = function(s)
    local o = s.options
    local close = T.full({ 1 }, 1 / 3):item() == 1 / 3 and 1e-6 or 1e-3 -- double or float
    local stored = memory.sphere(o.patterns, o.width)
    local target = T.embedding(stored, (T.rand { o.queries } * o.patterns):floor():cast "i32")
    local start = memory.damage("add", target, o.noise)
    local rows, dots, curves = {}, {}, {}
    local n_compared, n_agree, worst = 0, 0, 0
    for _, name in ipairs { "softmax", "softmax1" } do
      local dot = { name = name, x = {}, y = {}, dots = true }
      for k, beta in ipairs(o.betas) do
        local m = memory.model { memories = stored, beta = beta, separation = name }
        local limit, near, steps, moves = trace(m, start, o)
        local lambda, rates = tools.list(eigenvalue(m, limit)), tools.list(observed_rate(m, limit, near, close))
        local found, total = 0, 0
        for i = 1, o.queries do
          if steps[i] then found, total = found + 1, total + steps[i] end
          if rates[i] > 0.05 and rates[i] < 0.95 and steps[i] then
            dot.x[#dot.x + 1], dot.y[#dot.y + 1] = lambda[i], rates[i]
            n_compared = n_compared + 1
            local off = math.abs(rates[i] / lambda[i] - 1)
            if off <= AGREES then n_agree = n_agree + 1 end
            worst = math.max(worst, off)
          end
        end
        local _, info = m:retrieve(start, { solver = "anderson", tol = o.tol, max_iter = o.steps })
        rows[#rows + 1] = { name, beta, found / o.queries, found > 0 and total / found or 0 / 0,
          tools.mean(info.iterations:cast "f32") }
        local curve = { name = ("%s, beta %g"):format(name, beta), x = {}, y = {} }
        for t = 1, #moves do
          curve.x[t], curve.y[t] = t, tools.mean(moves[t])
          s:log(t, { ["step/" .. curve.name] = curve.y[t] })
        end
        curves[#curves + 1] = curve
        s:tick("converging", ((name == "softmax" and 0 or #o.betas) + k) / (2 * #o.betas))
      end
      dots[#dots + 1] = dot
    end
    s:table("steps", { columns = { "separation", "beta", "share that converged", "steps, mean",
      "evaluations with Anderson" }, rows = rows,
      caption = ("steps until |dx| < %g, from memories with noise %g"):format(o.tol, o.noise) })
    s:figure("steps", { title = "Length of the steps", x = "step", y = "mean |dx|", log_x = true,
      log_y = true, series = curves, caption = "Steps become shorter until they are in the rounding of floats: " ..
        "retrieval converges to fixed points. With beta 10 a few queries pass slowly between two of them." })
    dots[#dots + 1] = { name = "equal", x = { 0, 1 }, y = { 0, 1 } }
    s:figure("rates", { title = "Rate of convergence", x = "largest eigenvalue of the Jacobian at the limit",
      y = "observed rate", series = dots,
      caption = "Near a fixed point the distance to it shrinks by the largest eigenvalue of the Jacobian there." })
    if o.patterns == 100 and o.width == 20 and o.noise == 0.2 and o.tol == 1e-6 then
      local expected, text, alike = { [5] = 18, [10] = 12, [20] = 4 }, {}, true
      for _, row in ipairs(rows) do
        local want = expected[row[2]]
        if want then
          text[#text + 1] = ("%s, beta %g: %.1f"):format(row[1], row[2], row[4])
          alike = alike and math.abs(row[4] - want) < math.max(2, want / 3)
        end
      end
      s:check("steps to 1e-6 are those of an independent simulation: about 18, 12 (with a tail) and 4", alike,
        table.concat(text, "; "))
    end
    s:check("observed rates agree with the Jacobian's largest eigenvalue within 5 %",
      n_compared > 0 and n_agree == n_compared,
      ("%d of %d trajectories with a rate in 0.05 ... 0.95, worst %.1f %%"):format(n_agree, n_compared, 100 * worst))
  end,
}
