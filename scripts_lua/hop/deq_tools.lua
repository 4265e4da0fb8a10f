-- What is asked about an equilibrium layer: does it converge, how fast, are its gradients right.

local core, api, hop = ...
local T, modules, deq = hop.T, hop.modules, hop.deq_parts

-- Rows below tol of a matrix {iterations, batch}: the number of rows before the first such one, per
-- sample; all rows where there is none. NaN rows (not computed) are not below.
local function first_below(r, tol)
  local reached = T.cumsum(T.lt(r, tol):t())
  return T.eq(reached, 0):sum(2)
end

api.define(hop, { name = "deq.convergence",
  doc = "When the residuals {iterations, batch} of each sample first fall below tol: evaluations needed " ..
    "{batch} (all of them where never) and 1/0 for converged {batch}.",
  args = { { "residual", "tensor" }, { "tol", "number", default = 1e-4, min = 0 } },
  returns = "tensor, tensor", example = "deq.convergence(info.residual, 1e-4)",
  fn = function(r, tol)
    local n, rows = first_below(r, tol), r:size(1)
    local converged = T.lt(n, rows)
    return n + converged, converged
  end })

-- 1 where a sample was evaluated last, {iterations, batch}
local function last_rows(info)
  local size = info.residual:size()
  local at = T.reshape(T.iota { shape = { size[1] } }, { size[1], 1 })
  return T.eq(T.expand(at, size), T.expand(T.reshape(info.iterations - 1, { 1, -1 }), size))
end

api.define(hop, { name = "deq.last_residual",
  doc = "The residual of each sample at its last evaluation {batch}.",
  args = { { "info", "table" } }, returns = "tensor", example = "deq.last_residual(info)",
  fn = function(info)
    return T.where(last_rows(info), info.residual, T.zeros(info.residual:size())):sum(1)
  end })

-- Rows of {iterations, batch} of which the energy is taken, at most.
local energies = 32

-- The energy of each sample after each evaluation, by one more solve from the same start that keeps its path;
-- NaN where a sample had stopped, and between the evaluations that are looked at.
local function energy_on_path(info)
  local c = info.solved
  local o = c.options
  local _, again = deq.solve(c.body, c.start, o.forward, nil, o.damping, true)
  local n, rows, columns = again.path:size(1), {}, {}
  for i = 1, math.min(n, energies) do rows[i] = (i * n) // math.min(n, energies) end
  for i, k in ipairs(rows) do
    local z = deq.unflatten(T.reshape(again.path:narrow(1, k, 1), { again.path:size(2), -1 }), c.z)
    columns[i] = T.reshape(o.fn.energy(c.layer, deq.single(z), c.u), { 1, -1 })
    local gap = k - (rows[i - 1] or 0) - 1
    if gap > 0 then columns[i] = T.cat({ T.zeros { gap, z[1]:size(1) } * (0 / 0), columns[i] }, 1) end
  end
  return #columns == 1 and columns[1] or T.cat(columns, 1)
end

-- What is computed on watched steps alone: curves of the state that was found.
local function state_metrics(info, o, out)
  local c = info.solved
  if o.radius > 0 then
    out["deq/spectral_radius"] = hop.deq.spectral_radius(c.layer, c.x, deq.single(c.z), { iterations = o.radius })
  end
  if o.energy then
    if not c.options.fn.energy then
      api.fail("deq.metrics", "'energy': this cell has no energy", "deq.fn { energy = … }")
    end
    out["deq/energy"] = energy_on_path(info)
  end
  if o.state > 0 then
    local flat = deq.flatten(c.z)
    out["deq/state"] = flat:narrow(1, 1, math.min(o.state, flat:size(1)))
  end
end

local function metrics(info, o)
  local stopped = T.eq(info.ended, 1)
  local n, below = hop.deq.convergence(info.residual, o.tol)
  below = below * (1 - stopped)
  local converged = below + stopped
  local mean = (n * below + info.iterations * (1 - below)):mean()
  local last = last_rows(info)
  local out = { ["deq/iterations"] = mean, ["deq/time"] = mean * info.step * (1 - o.damping),
    ["deq/not_converged"] = 1 - converged:mean(), ["deq/calls"] = info.calls,
    ["deq/fallback"] = info.fallback:mean(), ["deq/residual"] = hop.deq.last_residual(info):mean(),
    ["deq/absolute"] = info.abs, ["deq/ended"] = info.ended,
    -- a stopped sample ends with the residual that stopped it
    ["deq/movement"] = T.where(last * T.expand(T.reshape(stopped, { 1, -1 }), last:size()),
      info.residual, info.movement) }
  if info.solved then state_metrics(info, o, out) end
  return out
end

api.define(hop, { name = "deq.metrics",
  doc = "Numbers of a solve for model:loss to return: deq/iterations (mean, until a sample was done), " ..
    "deq/time (iterations in units of the undamped step), deq/not_converged (share), deq/residual (mean " ..
    "at the end), deq/calls, deq/fallback, and curves: deq/movement and deq/absolute {iterations, batch}, " ..
    "deq/ended {batch} (0 max_iter, 1 tol, 2 diverged). Done is what the solve itself has stopped by; where it " ..
    "stops nobody (tol = 0), a residual below tol. While training also the curves that are asked for, on " ..
    "watched steps.",
  args = { { "info", "table" }, { "options", "table", options = {
    { "tol", "number", default = 1e-4, min = 0, doc = "what counts as converged where nothing stops" },
    { "damping", "number", default = 0, min = 0, max = 1, doc = "of the layer" },
    { "name", "string", doc = "of the layer, where a model has several: NAME/deq/iterations" },
    { "radius", "integer", default = 0, min = 0, doc = "power iterations for deq/spectral_radius {batch}" },
    { "energy", "boolean", default = false,
      doc = "deq/energy {iterations, batch} of a cell that has one, by one more solve" },
    { "state", "integer", default = 0, min = 0, max = 64, doc = "deq/state of so many samples" } } } },
  returns = "table", example = "deq.metrics(info)",
  fn = function(info, o)
    local found, out = info.residual and metrics(info, o) or {}, {} -- an unrolled layer has no report
    for name, v in pairs(found) do out[o.name and o.name .. "/" .. name or name] = v end
    return out
  end })

-- The equilibrium of a deq.layer, or of a model that is one; and its input prepared.
local function layer_parts(m, x)
  if not modules.is(m) or not m.equilibrium then
    api.fail("deq", "needs a layer made by deq.layer{…}, or nn.hopfield{…}")
  end
  local o = m:equilibrium()
  local u = o.fn.prepare and o.fn.prepare(m, x) or x
  return o, u
end

-- The state as parts of their own, even where it is the input too: dz/dx is not asked about.
local function own_parts(z)
  local parts = {}
  for i, part in ipairs(deq.pack(z)) do parts[i] = part * 1 end
  return parts
end

-- Sum over the parts of a_i b_i, per sample.
local function products(a, b)
  local sum = 0
  for i = 1, #a do sum = deq.flatten { a[i] * b[i] }:sum(2, true) + sum end
  return sum
end

-- The parts divided by a column of numbers, one per sample.
local function divided(parts, column)
  local out = {}
  for i, part in ipairs(parts) do
    local shape = { part:size(1) }
    for _ = 2, part:dim() do shape[#shape + 1] = 1 end
    out[i] = part / T.expand(T.reshape(column, shape), part:size())
  end
  return out
end

local function lengths(parts) return T.sqrt(products(parts, parts)) + 1e-30 end -- a nilpotent J ends at 0

-- v <- w / |w| with w = J^T v at z, as a body of its own; beside it a column with what is measured:
-- |<w, v>| / <v, v> of the newest v, or the sum of log |w|.
local function power_body(f, z, v, rayleigh)
  return core.body(function(...)
    local now = { ... }
    local measured = table.remove(now)
    local w = T.vjp(f(z), now, z)
    for i, part in ipairs(now) do w[i] = w[i] or part * 0 end
    local length = lengths(w)
    local new = divided(w, length)
    new[#new + 1] = rayleigh and measured * 0 + T.abs(products(w, now) / products(now, now)) or
      measured + T.log(length)
    return table.unpack(new)
  end, v)
end

api.define(hop, { name = "deq.spectral_radius",
  doc = "Estimate of the spectral radius of df/dz at the state z of each sample {batch}, and the last " ..
    "vectors, by the power method on J^T. measure = \"growth\" is the mean growth over the second half of " ..
    "the iterations; \"rayleigh\" the quotient of the last one, which is sharper but right only where one real " ..
    "eigenvalue dominates (not for networks whose layers are all updated at once: theirs come in pairs " ..
    "of both signs). Below 1 Picard iteration converges; its error shrinks by about this factor each time.",
  args = { { "layer", "module" }, { "x", "tensor" }, { "z", "tensor|table" },
    { "options", "table", options = {
      { "iterations", "integer", default = 100, min = 1, doc = "of the power method" },
      { "measure", "string", default = "growth", choices = { "growth", "rayleigh" }, doc = "what is measured" },
      { "start", "tensor|table", doc = "first vectors; default random" } } } },
  returns = "tensor, table", example = "deq.spectral_radius(layer, x, z)",
  fn = function(m, x, z, o)
    local parts = own_parts(z)
    local lo, u = layer_parts(m, x)
    local f, rayleigh = deq.bind(lo.fn, m, u, lo.damping), o.measure == "rayleigh"
    local v = o.start and table.move(deq.pack(o.start), 1, #parts, 1, {}) or {}
    for i, part in ipairs(parts) do v[i] = v[i] or T.normal { shape = part:size() } end
    v = divided(v, lengths(v))
    local column = #v + 1
    v[column] = T.zeros { parts[1]:size(1), 1 }
    local body = power_body(f, parts, v, rayleigh)
    local last = rayleigh and o.iterations or math.max(1, o.iterations // 4 * 2) -- pairs: an even number
    for _, n in ipairs { o.iterations - last, last } do
      v[column] = T.zeros { parts[1]:size(1), 1 }
      if n > 0 then v = deq.solve(body, v, { solver = "picard", max_iter = n, tol = 0 }) end
    end
    local radius = T.reshape(v[column], { -1 })
    return rayleigh and radius or T.exp(radius * (1 / last)), table.move(v, 1, column - 1, 1, {})
  end })

api.define(hop, { name = "deq.jacobian_penalty",
  doc = "Hutchinson's estimate of the mean squared entry of df/dz at z, for regularisation (torchdeq's " ..
    "jac_reg): the sum of |J^T v|^2 over `vectors` normal v, divided by their number and the size of z.",
  args = { { "layer", "module" }, { "x", "tensor" }, { "z", "tensor|table" },
    { "options", "table", options = {
      { "vectors", "integer", default = 1, min = 1, doc = "how many" },
      { "given", "table", doc = "the vectors themselves, for tests" } } } },
  returns = "tensor", example = "loss + deq.jacobian_penalty(layer, x, z) * 0.1",
  fn = function(m, x, z, o)
    local parts, total, n = own_parts(z), nil, 0
    local lo, u = layer_parts(m, x)
    local f = deq.bind(lo.fn, m, u, lo.damping)
    local y = f(parts)
    for _, part in ipairs(parts) do n = n + part:numel() end
    local count = o.given and #o.given or o.vectors
    for k = 1, count do
      local v = o.given and deq.pack(o.given[k]) or {}
      for i, part in ipairs(parts) do v[i] = v[i] or T.normal { shape = part:size() } end
      local w = T.vjp(y, v, parts)
      for i = 1, #parts do
        if w[i] then total = T.square(w[i]):sum() + (total or 0) end
      end
    end
    return total * (1 / (count * n))
  end })

api.define(hop, { name = "deq.correction",
  doc = "Weights of n sampled states in a fixed-point correction loss, the last one the solution: \"exp\" " ..
    "gamma^(n-1-k), \"linear\" 1 - gamma (n-1-k)/n, \"const\" gamma.",
  args = { { "kind", "string", choices = { "exp", "linear", "const" } }, { "n", "integer", min = 1 },
    { "gamma", "number", optional = true } },
  returns = "table", example = 'deq.correction("exp", 3)',
  fn = function(kind, n, gamma)
    local w = {}
    for k = 0, n - 1 do
      local left = n - 1 - k
      w[k + 1] = kind == "exp" and (gamma or 0.8) ^ left or
        kind == "linear" and 1 - (gamma or 0.9) * left / n or gamma or 1
    end
    return w
  end })

-- ---- deq.check ----

-- f(…) with training on or off, and as it was afterwards, error or not.
local function while_training(on, f, ...)
  local before = core.training(on)
  local out = table.pack(pcall(f, ...))
  core.training(before)
  if not out[1] then error(out[2], 0) end
  return table.unpack(out, 2, out.n)
end

local function dot(a, b)
  local sum = 0
  for i = 1, #a do sum = sum + (a[i] * b[i]):sum():item() end
  return sum
end

-- The solution to the limit of the session's precision, whatever the layer's own settings.
local function exact(m, o, x)
  local settings = {}
  for k, v in pairs(o.forward) do settings[k] = v end
  settings.tol, settings.max_iter = core.fp64() and 1e-13 or 1e-6, math.max(1000, o.forward.max_iter)
  local lo = {}
  for k, v in pairs(o) do lo[k] = v end
  lo.forward = settings
  return while_training(false, deq.solve_layer, m, lo, x)
end

local function random_like(list)
  local out = {}
  for i, t in ipairs(list) do out[i] = T.randn(t:size()) end
  return out
end

-- Directional derivative of <c, z*> when `set` moves something by ±h.
local function difference(m, o, x, c, h, set)
  local value = {}
  for side = -1, 1, 2 do
    local input = set(side * h) or x
    value[side] = dot(exact(m, o, input), c)
    set(0)
  end
  return (value[1] - value[-1]) / (2 * h)
end

local function gradients(m, o, x, c)
  m:zero_grad()
  local leaf = x:detach():require_grad()
  local z, sum = while_training(true, deq.solve_layer, m, o, leaf), nil
  for i = 1, #z do
    local s = (z[i] * c[i]):sum()
    sum = sum and sum + s or s
  end
  sum:backward()
  return leaf.grad
end

-- A random direction of the size that the tensor has (1 where it is zero).
local function direction(t)
  local size = math.sqrt(T.square(t):mean():item())
  return T.randn(t:size()) * (size > 0 and size or 1)
end

local function advice(out, o)
  local text = {}
  local add = function(...) text[#text + 1] = (...):format(select(2, ...)) end
  if out.radius >= 1 then
    add("the spectral radius is %.3f: plain iteration does not converge; damp the layer, shrink the " ..
      "weights, or use Anderson or Broyden", out.radius)
  elseif out.radius > 0 and o.forward.tol > 0 then
    local need = math.ceil(math.log(o.forward.tol) / math.log(out.radius))
    add("the error shrinks by %.3f per iteration: about %d plain iterations to %g", out.radius, need,
      o.forward.tol)
    if o.forward.solver == "picard" and need > o.forward.max_iter then
      add("forward.max_iter = %d is too few for that", o.forward.max_iter)
    end
  end
  if out.not_converged > 0 then
    add("%.0f %% of the samples did not reach %g in %d evaluations", 100 * out.not_converged, o.forward.tol,
      o.forward.max_iter)
  end
  if not out.depends then
    add("the solution depends neither on the input nor on any parameter: every gradient and every " ..
      "difference is zero")
  elseif out.worst ~= out.worst then
    add("a gradient or a solution is not finite: see to the forward solve first")
  elseif out.not_converged > 0.5 and not out.ok then
    add("most samples are not at a fixed point: see to the forward solve first, then to its gradients")
  elseif not out.ok then
    add("gradients differ from differences by %.2g (%s): %s", out.worst, out.worst_of,
      (o.backward.method == "jfb" or o.backward.method == "phantom") and
      "this method is an approximation by design" or
      "raise backward.max_iter or set backward.tol, if the step itself is smooth")
  end
  return table.concat(text, "\n")
end

api.define(hop, { name = "deq.check",
  doc = "Looks a layer over at the input x: gradients of a random functional of the solution against " ..
    "central differences (input and every parameter), spectral radius, convergence, advice. Returns " ..
    "{ ok, worst, worst_of, errors, radius, iterations, not_converged, text }. Sharpest with --precision fp64.",
  args = { { "layer", "module" }, { "x", "tensor" }, { "options", "table", options = {
    { "step", "number", min = 1e-9, doc = "of the differences, relative to what is moved; default 1e-2, fp64: 1e-5" },
    { "allowed", "number", min = 0,
      doc = "error that is fine; default 0.02, fp64: 1e-4, at least 20 times forward.tol" } } } },
  returns = "table", example = "print(deq.check(layer, x).text)",
  fn = function(m, x, opt)
    local o = layer_parts(m, x)
    local h = opt.step or (core.fp64() and 1e-5 or 1e-2)
    -- a solution that is only near its fixed point has a gradient that is only near the exact one
    local floor = core.fp64() and 1e-4 or 0.02
    local out = { errors = {}, worst = 0, worst_of = "none",
      allowed = opt.allowed or math.max(floor, 20 * o.forward.tol) }
    local z, info = exact(m, o, x)
    local c = random_like(z)
    local gx = gradients(m, o, x, c)
    local function compare(name, g, set, way)
      local got = g and dot({ g }, { way }) or 0
      local want = difference(m, o, x, c, h, set)
      local scale = math.abs(want) + math.abs(got) + 1e-6 * math.sqrt(way:numel())
      local e = math.abs(got - want) / scale
      out.errors[name] = e
      if e > out.worst or e ~= e then out.worst, out.worst_of = e, name end -- NaN is the worst
    end
    local v = direction(x)
    compare("x", gx, function(by) return x + v * by end, v)
    for name, p in m:parameters() do
      local saved = T.from(0) + p:detach()
      saved = saved:detach()
      v = direction(p)
      compare(name, p.grad, function(by) p:set_(saved + v * by) end, v)
      p:set_(saved)
    end
    local r = hop.deq.spectral_radius(m, x, deq.single(z))
    out.radius = T.max(r):item()
    local _, own = while_training(false, deq.solve_layer, m, o, x)
    m:zero_grad()
    out.iterations = info.iterations:mean():item()
    out.not_converged = 1 - own.converged:mean():item()
    out.depends = out.worst_of ~= "none"
    out.ok = out.worst <= out.allowed and out.depends
    out.text = ("gradients: largest error %.2g of %s; spectral radius %.3f\n%s"):format(out.worst,
      out.worst_of, out.radius, advice(out, o))
    return out
  end })
