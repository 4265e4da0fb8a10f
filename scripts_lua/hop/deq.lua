-- Deep-equilibrium layers (spec: deq): z = f(z, x) solved, not unrolled. A cell says what f is, a layer
-- how it is solved and differentiated. Steps are recorded once; the engine iterates the record.

local core, api, hop = ...
local T, modules = hop.T, hop.modules

local function fail(name, text, hint) api.fail(name, text, hint) end

-- ---- cells ----

local cell_meta = { __name = "deq.fn" }

local function pack(z) return core.is_tensor(z) and { z } or z end

-- One sweep over the groups, in the order of their first parts.
local function sweep(def)
  local order = {}
  for name, parts in pairs(def.groups) do
    if type(def.step[name]) ~= "function" then
      fail("deq.fn", ("group '%s' has no step"):format(tostring(name)))
    end
    order[#order + 1] = { name = name, parts = type(parts) == "table" and parts or { parts } }
  end
  for name in pairs(def.step) do
    if not def.groups[name] then fail("deq.fn", ("step '%s' belongs to no group"):format(name)) end
  end
  table.sort(order, function(a, b) return a.parts[1] < b.parts[1] end)
  return function(p, z, u)
    local now = table.move(z, 1, #z, 1, {})
    for _, g in ipairs(order) do
      local new = table.pack(def.step[g.name](p, now, u))
      if type(new[1]) == "table" and not core.is_tensor(new[1]) then new = new[1] end
      for i, part in ipairs(g.parts) do
        if not core.is_tensor(new[i]) then
          fail("deq.fn", ("the step of group '%s' must return %d tensor(s)"):format(g.name, #g.parts))
        end
        now[part] = new[i]
      end
    end
    return table.unpack(now)
  end
end

api.define(hop, { name = "deq.fn", safety = "setup",
  doc = "An equilibrium function of one's own: params(p) makes parameters, prepare(p, x) what depends " ..
    "on the input alone, step(p, z, u) is f. step is pure and recorded once; it returns the new state. " ..
    "With groups = { odd = {1, 3}, even = {2} } and a step for each, one iteration updates the groups " ..
    "after one another.",
  args = { { "def", "table", options = {
    { "params", "function", doc = "params(p): p:normal, p:uniform, p:zeros, p:ones" },
    { "prepare", "function", doc = "prepare(p, x) -> u, once per input; default: x" },
    { "step", "function|table", required = true, doc = "step(p, z, u) -> z; z is a list if there are several parts" },
    { "groups", "table", doc = "parts of the state that are updated together" },
    { "energy", "function", doc = "energy(p, z, u) of each sample, for views and checks" } } } },
  returns = "cell",
  example = "deq.fn { params = function(p) p.W = p:normal({ 8, 8 }, { std = 0.1 }) end, " ..
    "step = function(p, z, u) return (z:matmul(p.W) + u):tanh() end }",
  fn = function(def)
    local cell = { params = def.params, prepare = def.prepare, energy = def.energy, step = def.step }
    if def.groups then
      if type(def.step) ~= "table" then fail("deq.fn", "with groups, step is a table of functions") end
      cell.step = sweep(def)
    elseif type(def.step) == "table" then
      fail("deq.fn", "several steps need groups = { name = { parts… } }")
    end
    return setmetatable(cell, cell_meta)
  end })

api.define(hop, { name = "deq.energy", safety = "setup",
  doc = "A cell whose step is gradient flow on an energy: z - rate * dE/dz. E(p, z, u) gives one number " ..
    "per sample or their sum.",
  args = { { "cell", "table" }, { "energy", "function" }, { "options", "table", options = {
    { "rate", "number", default = 1, min = 0, doc = "step size" } } } },
  returns = "cell", example = "deq.energy(cell, function(p, z, u) return (z * z * 0.5 - z * u):sum() end)",
  fn = function(cell, energy, o)
    local step = function(p, z, u)
      local parts = pack(z)
      local slope, new = T.grad(energy(p, z, u):sum(), parts), {}
      for i, part in ipairs(parts) do new[i] = slope[i] and part - slope[i] * o.rate or part end
      return table.unpack(new)
    end
    return setmetatable({ params = cell.params, prepare = cell.prepare, energy = energy, step = step },
      cell_meta)
  end })

-- ---- solving ----

local solve_options = {
  { "solver", "string", default = "anderson", choices = { "picard", "anderson", "broyden" }, doc = "method" },
  { "max_iter", "integer", default = 40, min = 1, max = 100000, doc = "evaluations of the step" },
  { "tol", "number", default = 1e-4, min = 0, doc = "residual at which a sample is done; 0: always max_iter" },
  { "stop", "string", default = "rel", choices = { "rel", "abs" }, doc = "which residual" },
  { "per", "string", default = "sample", choices = { "sample", "batch" },
    doc = "sample: each keeps its state when done; batch: all go on until all are within tolerance" },
  { "pick", "string", default = "last", choices = { "last", "best" }, doc = "newest state, or lowest residual" },
  { "memory", "integer", default = 5, min = 1, max = 64, doc = "Anderson, Broyden: pairs kept" },
  { "tau", "number", default = 1, min = 1e-6, max = 2, doc = "Picard, Anderson: step size" },
  { "ridge", "number", default = 1e-10, min = 0, doc = "Anderson: on the diagonal of the small system" },
  { "relative", "boolean", default = true, doc = "ridge relative to the mean of that diagonal" },
  { "safeguard", "boolean", default = true, doc = "Anderson: plain step where mixing does not help" },
  { "line_search", "boolean", default = false, doc = "Broyden: Armijo" },
}

local function with(list, changes, extra)
  local out = {}
  for i, a in ipairs(list) do
    local copy = {}
    for k, v in pairs(a) do copy[k] = v end
    if changes[a[1]] ~= nil then copy.default = changes[a[1]] end
    out[i] = copy
  end
  return table.move(extra, 1, #extra, #out + 1, out)
end

local forward_options = with(solve_options, {}, {
  { "diverged", "string", default = "stop", choices = { "stop", "keep" },
    doc = "a sample that diverges: stop: its state is not finite and the run's on_nan speaks; keep: it " ..
      "keeps its last finite state" } })
local backward_options = with(solve_options, { solver = "picard", max_iter = 8, tol = 0 }, {
  { "method", "string", default = "ift",
    choices = { "ift", "backprop", "full_adjoint", "unroll", "phantom", "jfb" },
    doc = "ift: adjoint equation at the solution; backprop, full_adjoint: those of arXiv 2311.15673's code; " ..
      "unroll: through all iterations; phantom: through `steps` damped ones; jfb: through one" },
  { "steps", "integer", default = 5, min = 1, doc = "phantom: steps" } })

local reports = { "residual", "abs", "movement", "iterations", "ended", "fallback", "calls" }
local endings = { [0] = "max_iter", "tol", "diverged" }

-- Fields known as tensors; the others are made when they are asked for.
local info_meta = {
  __index = function(info, key)
    if key == "converged" then
      info.converged = T.eq(info.ended, 1)
    elseif key == "stopped_by" then
      local list = info.ended:table()
      for i, e in ipairs(list) do list[i] = endings[math.tointeger(e)] end
      info.stopped_by = list
    end
    return rawget(info, key)
  end }

local function engine_options(o, max_iter)
  local out = { max_iter = max_iter or o.max_iter, keep = o.diverged == "keep" }
  for _, a in ipairs(solve_options) do
    if a[1] ~= "max_iter" then out[a[1]] = o[a[1]] end
  end
  return out
end

-- Solves; returns the parts and the report.
local function solve(body, z, o, max_iter)
  local out = core.body_call("fixed_point", body, z, engine_options(o, max_iter))
  local info = {}
  for i, name in ipairs(reports) do info[name] = out[#z + i] end
  return table.move(out, 1, #z, 1, {}), setmetatable(info, info_meta)
end

-- Parts as one matrix, and back.
local function flatten(z)
  local flat = {}
  for i, part in ipairs(z) do flat[i] = T.reshape(part, { part:size(1), -1 }) end
  return #flat == 1 and flat[1] or T.cat(flat, 2)
end
local function unflatten(flat, like)
  local out, at = {}, 1
  for i, part in ipairs(like) do
    local n = part:numel() // part:size(1)
    out[i] = T.reshape(#like == 1 and flat or flat:narrow(2, at, n), part:size())
    at = at + n
  end
  return out
end

-- n recorded steps from z; returns the last values of f and all of them, oldest first.
local function unroll_picard(f, z, n)
  local values = {}
  for i = 1, math.max(n, 1) do
    z = f(z)
    values[i] = z
  end
  return z, values
end
local function unroll_anderson(f, z, n, o)
  local x = { z }
  local values = { f(z) }
  local pairs_of = { flatten(z), flatten(values[1]) }
  x[2] = values[1]
  values[2] = f(x[2])
  table.move({ flatten(x[2]), flatten(values[2]) }, 1, 2, 3, pairs_of)
  for k = 3, n do
    while #pairs_of > 2 * o.memory do
      table.remove(pairs_of, 1)
      table.remove(pairs_of, 1)
    end
    x[k] = unflatten(T.anderson_mix(pairs_of, { ridge = o.ridge, safeguard = o.safeguard }), z)
    values[k] = f(x[k])
    pairs_of[#pairs_of + 1] = flatten(x[k])
    pairs_of[#pairs_of + 1] = flatten(values[k])
  end
  return values[#values], values
end

local function unroll(name, f, z, o, n)
  if o.solver == "picard" then return unroll_picard(f, z, n) end
  if o.solver == "anderson" then
    if o.relative and o.ridge > 0 then
      fail(name, "gradients through Anderson iterations need relative = false in 'backward'")
    end
    return unroll_anderson(f, z, n, o)
  end
  fail(name, ("there is no gradient through %s iterations"):format(o.solver),
    "backward.method = \"ift\" solves for it instead")
end

-- ---- gradients of a solution ----

local gradient = {}

-- u = J^T u + g at f(z), then through the recorded step from z (implicit function theorem).
function gradient.ift(c)
  local y = c.f(c.z)
  return core.body_call("adjoint", c.body, y, engine_options(c.o))
end

function gradient.jfb(c) return c.f(c.z) end

function gradient.phantom(c)
  local z = c.z
  for _ = 1, c.o.steps do
    local y = c.f(z)
    for i = 1, #z do y[i] = c.o.tau == 1 and y[i] or y[i] * c.o.tau + z[i] * (1 - c.o.tau) end
    z = y
  end
  return z
end

local function straight(value, through)
  local out = {}
  for i = 1, #value do out[i] = T.straight(value[i], through[i]) end
  return out
end

-- The value is the solution; its cotangent goes through max_iter recorded iterations behind it.
function gradient.backprop(c)
  local through, values = unroll("deq.layer", c.f, c.z, c.o, c.o.max_iter)
  c.info.backward_values = values
  return straight(c.z, through)
end

function gradient.full_adjoint(c)
  local a, info = solve(c.body, c.z, c.o, math.max(1, c.o.max_iter - 1))
  local b = c.f(a)
  c.info.backward, c.info.backward_values = info, { a, b }
  return straight(c.z, core.body_call("adjoint", c.body, b, engine_options(c.o)))
end

-- ---- layers ----

local function with_damping(f, damping)
  if damping == 0 then return f end
  return function(z)
    local y = f(z)
    for i = 1, #z do y[i] = z[i] * damping + y[i] * (1 - damping) end
    return y
  end
end

local function state_sizes(state)
  local sizes = {}
  for i, s in ipairs(type(state[1]) == "table" and state or { state }) do
    sizes[i] = s
    for _, n in ipairs(s) do
      if math.type(n) ~= "integer" or n < 1 then
        fail("deq.layer", "'state' lists the sizes of a sample's state: { 512 }, or { {512}, {10} }")
      end
    end
  end
  if #sizes == 0 then fail("deq.layer", "'state' is empty") end
  return sizes
end

local function start(o, sizes, batch, p, x, u)
  local z = {}
  if type(o.init) == "function" then
    z = pack(o.init(p, x, u))
  else
    for i, s in ipairs(sizes) do
      local shape = { batch, table.unpack(s) }
      if o.init == "mixed" then
        z[i] = T.normal { shape = shape } * T.lt(T.uniform { shape = shape }, 0.5)
      else
        z[i] = T.zeros(shape)
      end
    end
  end
  return z
end

local function single(z) return #z == 1 and z[1] or z end

-- f on lists of parts, with the module's parameters and a prepared input
local function bind(cell, p, u, damping)
  return with_damping(function(z)
    local y = { cell.step(p, single(z), u) }
    return type(y[1]) == "table" and not core.is_tensor(y[1]) and y[1] or y
  end, damping)
end

local function solve_layer(p, o, x)
  local cell = o.fn
  local u = cell.prepare and cell.prepare(p, x) or x
  local batch = (core.is_tensor(x) and x or pack(x)[1]):size(1)
  local z0 = start(o, state_sizes(o.state), batch, p, x, u)
  local f = bind(cell, p, u, o.damping)
  if o.backward.method == "unroll" and core.training() then
    local z, values = unroll("deq.layer", f, z0, o.forward, o.forward.max_iter)
    return z, { values = values }
  end
  local body = core.body(function(...) return table.unpack(f { ... }) end, z0)
  local z, info = solve(body, z0, o.forward)
  if core.training() then
    z = gradient[o.backward.method] { f = f, body = body, z = z, o = o.backward, info = info }
  end
  return z, info
end

local layer = { name = "deq.layer",
  params = function(p, o)
    if o.fn.params then o.fn.params(p) end
  end,
  forward = function(p, x)
    local z, info = solve_layer(p, modules.options(p), x)
    return single(z), info
  end,
  equilibrium = function(p) return modules.options(p) end }

local layer_options = {
  { "fn", "table", required = true, doc = "deq.fn{…} or deq.energy(…)" },
  { "state", "table", required = true, doc = "sizes of a sample's state: { 512 }, or one list per part" },
  { "init", "string|function", default = "zeros", doc = "zeros | mixed (normal or 0), or init(p, x, u)" },
  { "forward", "table", options = forward_options },
  { "backward", "table", options = backward_options },
  { "damping", "number", default = 0, min = 0, max = 0.999999,
    doc = "f becomes damping * z + (1 - damping) * f" } }

api.define(hop, { name = "deq.layer", safety = "setup",
  doc = "A module: layer(x) solves z = f(z, x) and returns z and a report: residual, abs, movement " ..
    "{iterations, batch}, iterations, ended, converged, fallback {batch}, calls, stopped_by. Gradients are " ..
    "recorded while training (hop.training()); otherwise z is the plain solution.",
  args = { { "options", "table", options = layer_options } }, returns = "module, called: tensor, table",
  example = "deq.layer { fn = cell, state = { 8 }, forward = { solver = \"anderson\" } }",
  fn = function(o)
    if getmetatable(o.fn) ~= cell_meta then
      fail("deq.layer", "'fn' must be made by deq.fn{…} or deq.energy(…)")
    end
    if type(o.init) == "string" and o.init ~= "zeros" and o.init ~= "mixed" then
      fail("deq.layer", ("unknown init '%s'"):format(o.init), "zeros, mixed, or a function")
    end
    state_sizes(o.state)
    return modules.new(layer, o)
  end })

hop.deq_parts = { solve = solve, bind = bind, unroll = unroll, flatten = flatten, gradient = gradient,
  solve_layer = solve_layer, start = start, state_sizes = state_sizes, single = single, pack = pack,
  forward_options = forward_options, backward_options = backward_options, layer = layer }
