-- Deep-equilibrium layers (spec: deq): z = f(z, x) solved, not unrolled. A cell says what f is, a layer
-- how it is solved and differentiated. Steps are recorded once; the engine iterates the record.

local core, api, hop = ...
local T, modules = hop.T, hop.modules

local function fail(name, text, hint) api.fail(name, text, hint) end

-- ---- cells ----

local cell_meta = { __name = "deq.fn" }

-- A state of one part is that tensor, of several a list of them.
local function pack(z) return core.is_tensor(z) and { z } or z end
local function single(z) return #z == 1 and z[1] or z end

local function shape_text(t) return "{" .. table.concat(t:size(), ", ") .. "}" end

-- What a step returned for the parts z of a state, one by one or in a list, as a list of its own. `whose`
-- begins a message.
local function results(whose, z, ...)
  local y, n = { ... }, select("#", ...)
  if type(y[1]) == "table" and not core.is_tensor(y[1]) then y, n = y[1], #y[1] end
  if n ~= #z then
    fail("deq", ("%s must return %d tensor%s, not %d value%s"):format(whose, #z, #z == 1 and "" or "s", n,
      n == 1 and "" or "s"), "one for each part of the state")
  end
  for i, part in ipairs(z) do
    if not core.is_tensor(y[i]) then
      fail("deq", ("%s must return tensors; value %d is %s"):format(whose, i,
        y[i] == nil and "nil" or "a " .. type(y[i])))
    end
    if shape_text(y[i]) ~= shape_text(part) then
      fail("deq", ("%s must return a state of the shape it is given, %s, not %s (part %d)"):format(whose,
        shape_text(part), shape_text(y[i]), i))
    end
  end
  return y
end

-- Groups in the order of their first parts; together they hold each part once.
local function groups_in_order(def)
  local order, seen, n = {}, {}, 0
  for name, parts in pairs(def.groups) do
    if type(def.step[name]) ~= "function" then
      fail("deq.fn", ("group '%s' has no step"):format(tostring(name)), "step = { name = function(p, z, u) … end }")
    end
    if type(parts) ~= "table" then parts = { parts } end
    if #parts == 0 then fail("deq.fn", ("group '%s' has no parts"):format(tostring(name))) end
    for _, part in ipairs(parts) do
      if math.type(part) ~= "integer" or part < 1 or seen[part] then
        fail("deq.fn", ("group '%s' lists part %s"):format(tostring(name), tostring(part)),
          "groups share the parts 1, 2, … of the state among them, each part once")
      end
      seen[part], n = true, n + 1
    end
    order[#order + 1] = { name = name, parts = parts }
  end
  if n == 0 or #seen ~= n then
    fail("deq.fn", "'groups' must hold every part of the state", "{ odd = { 1, 3 }, even = { 2 } }")
  end
  for name in pairs(def.step) do
    if not def.groups[name] then fail("deq.fn", ("step '%s' belongs to no group"):format(tostring(name))) end
  end
  table.sort(order, function(a, b) return a.parts[1] < b.parts[1] end)
  return order, n
end

-- One sweep over the groups.
local function sweep(def, where)
  local order, n = groups_in_order(def)
  return function(p, z, u)
    if #z ~= n or core.is_tensor(z) then
      fail("deq", ("the groups (deq.fn at %s) have %d part%s, the state has %d"):format(where, n,
        n == 1 and "" or "s", core.is_tensor(z) and 1 or #z), "'state' of the layer lists a size for each part")
    end
    local now = table.move(z, 1, #z, 1, {})
    for _, g in ipairs(order) do
      local old = {}
      for i, part in ipairs(g.parts) do old[i] = now[part] end
      local new = results(("the step of group '%s' (deq.fn at %s)"):format(g.name, where), old,
        def.step[g.name](p, now, u))
      for i, part in ipairs(g.parts) do now[part] = new[i] end
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
    { "prepare", "function", doc = "prepare(p, x) -> u, once per input; default: x. What is drawn here, such " ..
      "as a dropout mask, is the same in every evaluation" },
    { "step", "function|table", required = true, doc = "step(p, z, u) -> z; z is a list if there are several parts" },
    { "groups", "table", doc = "parts of the state that are updated together" },
    { "energy", "function", doc = "energy(p, z, u) of each sample, for views and checks" } } } },
  returns = "cell",
  example = "deq.fn { params = function(p) p.W = p:normal({ 8, 8 }, { std = 0.1 }) end, " ..
    "step = function(p, z, u) return (z:matmul(p.W) + u):tanh() end }",
  fn = function(def)
    local cell = { params = def.params, prepare = def.prepare, energy = def.energy, step = def.step,
      where = core.where() }
    if def.groups then
      if type(def.step) ~= "table" then fail("deq.fn", "with groups, step is a table of functions") end
      cell.step = sweep(def, cell.where)
    elseif type(def.step) == "table" then
      fail("deq.fn", "several steps need groups = { name = { parts… } }")
    end
    return setmetatable(cell, cell_meta)
  end })

-- dE/dz of each part; E: one number per sample, or their sum
local function slopes(where, energy, p, z, u)
  local whose = ("the energy (deq.energy at %s)"):format(where)
  local e = energy(p, single(z), u)
  if not core.is_tensor(e) then fail("deq", ("%s must return a tensor, not a %s"):format(whose, type(e))) end
  local slope = T.grad(e:sum(), z)
  if next(slope) == nil then fail("deq", whose .. " does not depend on the state") end
  return slope
end

api.define(hop, { name = "deq.energy", safety = "setup",
  doc = "A cell whose step is gradient flow on an energy: z - rate * dE/dz. E(p, z, u) gives one number " ..
    "per sample or their sum.",
  args = { { "cell", "table", doc = "deq.fn{…}, whose step is not used, or { params =, prepare = }" },
    { "energy", "function" }, { "options", "table", options = {
      { "rate", "number", default = 1, min = 0, doc = "step size" } } } },
  returns = "cell",
  example = "deq.energy({ prepare = f }, function(p, z, u) return (z * z * 0.5 - z * u):sum() end)",
  fn = function(cell, energy, o)
    local where = core.where()
    if getmetatable(cell) ~= cell_meta then
      cell = api.options("deq.energy", { { "params", "function" }, { "prepare", "function" } }, cell)
    end
    local step = function(p, z, u)
      local parts, new = pack(z), {}
      local slope = slopes(where, energy, p, parts, u)
      for i, part in ipairs(parts) do new[i] = slope[i] and part - slope[i] * o.rate or part end
      return table.unpack(new)
    end
    return setmetatable({ params = cell.params, prepare = cell.prepare, energy = energy, step = step,
      where = where }, cell_meta)
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
  { "memory", "integer", min = 1, max = 64,
    doc = "pairs kept; default: Anderson 5, Broyden all (a short memory can keep it from converging)" },
  { "tau", "number", default = 1, min = 1e-6, max = 2, doc = "Picard, Anderson, phantom: step size" },
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
    doc = "a sample that diverges: stop: its state becomes NaN and the run's on_nan speaks; keep: it keeps " ..
      "its last finite state. With pick = \"best\" it has the best one. Noticed while tol > 0 and per = \"sample\"" } })
local backward_options = with(solve_options, { solver = "picard", max_iter = 8, tol = 0 }, {
  { "method", "string", default = "ift",
    choices = { "ift", "backprop", "full_adjoint", "unroll", "phantom", "jfb" },
    doc = "ift: adjoint equation at the solution; backprop, full_adjoint: those of arXiv 2311.15673's code; " ..
      "unroll: through all iterations; phantom: through `steps` damped ones; jfb: through one" },
  { "steps", "integer", default = 5, min = 1, doc = "phantom: steps" } })

local reports = { "residual", "abs", "movement", "iterations", "ended", "fallback", "calls", "step", "path" }
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

local function memory_of(o) return o.memory or (o.solver == "broyden" and 64 or 5) end

-- damping: that the recorded step has. A forward solve takes all knobs, a backward one is damped as it is.
local function engine_options(o, max_iter, damping)
  local out = {}
  for _, a in ipairs(solve_options) do out[a[1]] = o[a[1]] end
  out.max_iter, out.memory, out.keep = max_iter or o.max_iter, memory_of(o), o.diverged == "keep"
  out.live, out.damping = o.diverged and "all" or o.method and "damping" or "none", damping
  return out
end

-- Solves; returns the parts and the report. path: with f(z) of each evaluation, {evaluations, batch, numbers}
local function solve(body, z, o, max_iter, damping, path)
  local options, info = engine_options(o, max_iter, damping), {}
  options.path = path
  local out = core.body_call("fixed_point", body, z, options)
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

-- n recorded steps from z; returns the last state and all of them, oldest first.
local function unroll_picard(f, z, n, tau)
  local values = {}
  for k = 1, math.max(n, 1) do
    local y = f(z)
    for i = 1, tau ~= 1 and #z or 0 do y[i] = y[i] * tau + z[i] * (1 - tau) end
    z, values[k] = y, y
  end
  return z, values
end

local most_pairs = 8 -- of T.anderson_mix

local function unroll_anderson(f, z, n, o)
  local x, values, pairs_of = z, {}, {}
  for k = 1, math.max(n, 2) do
    if k > 1 then
      while #pairs_of > 2 * memory_of(o) do table.move(pairs_of, 3, #pairs_of + 2, 1) end
      x = k == 2 and values[1] or
        unflatten(T.anderson_mix(pairs_of, { ridge = o.ridge, safeguard = o.safeguard }), z)
    end
    values[k] = f(x)
    pairs_of[#pairs_of + 1], pairs_of[#pairs_of + 2] = flatten(x), flatten(values[k])
  end
  return values[#values], values
end

-- n recorded iterations of the solver that o, the layer's option `which`, describes.
local function unroll(which, f, z, o, n)
  local name = "deq.layer." .. which
  if o.solver == "picard" then return unroll_picard(f, z, n, o.tau) end
  if o.solver ~= "anderson" then
    fail(name, ("there is no gradient through %s iterations"):format(o.solver),
      "backward = { method = \"ift\" } solves for it instead")
  end
  if o.relative and o.ridge > 0 or o.tau ~= 1 or memory_of(o) > most_pairs then
    fail(name, ("gradients through Anderson iterations need relative = false, tau = 1, and memory at most %d")
      :format(most_pairs))
  end
  return unroll_anderson(f, z, n, o)
end

-- ---- gradients of a solution ----

local gradient = {}

-- u = J^T u + g at f(z), then through the recorded step from z (implicit function theorem).
function gradient.ift(c)
  local y = c.f(c.z)
  return core.body_call("adjoint", c.body, y, engine_options(c.o, nil, c.damping))
end

function gradient.jfb(c) return c.f(c.z) end

function gradient.phantom(c) return (unroll_picard(c.f, c.z, c.o.steps, c.o.tau)) end

local function straight(value, through)
  local out = {}
  for i = 1, #value do out[i] = T.straight(value[i], through[i]) end
  return out
end

-- The value is the solution; its cotangent goes through max_iter recorded iterations behind it.
function gradient.backprop(c)
  local through, values = unroll("backward", c.f, c.z, c.o, c.o.max_iter)
  c.info.backward_values = values
  return straight(c.z, through)
end

function gradient.full_adjoint(c)
  local a, info = solve(c.body, c.z, c.o, math.max(1, c.o.max_iter - 1), c.damping)
  local b = c.f(a)
  c.info.backward, c.info.backward_values = info, { a, b }
  return straight(c.z, core.body_call("adjoint", c.body, b, engine_options(c.o, nil, c.damping)))
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
  local sizes, parts = {}, type(state[1]) == "table" and state or { state }
  for i, s in ipairs(parts) do
    sizes[i] = s
    for _, n in ipairs(type(s) == "table" and #s > 0 and s or { false }) do
      if math.type(n) ~= "integer" or n < 1 then
        fail("deq.layer", "'state' lists the sizes of a sample's state: { 512 }, or { {512}, {10} }")
      end
    end
  end
  return sizes
end

local function batch_of(x)
  local first = core.is_tensor(x) and x or type(x) == "table" and x[1]
  if not core.is_tensor(first) or first:dim() < 1 then
    fail("deq.layer", "the input must be a tensor or a list of tensors, with the batch as first dimension",
      "for other inputs give init = function(p, x, u) … end, which says where to start")
  end
  return first:size(1)
end

-- Where a solve begins.
local function start(o, p, x, u)
  local sizes, z = state_sizes(o.state), {}
  if type(o.init) == "function" then
    z = o.init(p, x, u)
    z = type(z) == "table" and z or { z }
    for i, s in ipairs(sizes) do
      local want = "{batch, " .. table.concat(s, ", ") .. "}"
      if not core.is_tensor(z[i]) or #z ~= #sizes or
        table.concat(z[i]:size(), ", ", 2) ~= table.concat(s, ", ") then
        fail("deq.layer", ("init must return %d tensor%s; part %d has the shape %s"):format(#sizes,
          #sizes == 1 and "" or "s", i, want), core.is_tensor(z[i]) and "it is " .. shape_text(z[i]) or nil)
      end
    end
    return z
  end
  local batch = batch_of(x)
  for i, s in ipairs(sizes) do
    local shape = { batch, table.unpack(s) }
    z[i] = o.init == "mixed" and T.normal { shape = shape } * T.lt(T.uniform { shape = shape }, 0.5) or
      T.zeros(shape)
  end
  return z
end

-- f on lists of parts, with the module's parameters and a prepared input
local function bind(cell, p, u, damping)
  return with_damping(function(z)
    local own = {} -- a step may change the list it gets, and the tensors in place
    for i, part in ipairs(z) do own[i] = core.alias(part) end
    return results("the step" .. (cell.where and (" (deq.fn at %s)"):format(cell.where) or ""), z,
      cell.step(p, single(own), u))
  end, damping)
end

-- Evaluations after which a state is sampled, the last one being all of them.
local function sample_points(o)
  local n, points = o.forward.max_iter, {}
  if math.type(o.samples) == "integer" then
    for k = 1, o.samples do points[k] = n - (o.samples - k) * (n // o.samples) end
  else
    for i, at in ipairs(o.samples) do
      if math.type(at) ~= "integer" or at <= (points[i - 1] or 0) then
        fail("deq.layer", "'samples' lists numbers of evaluations, growing: { 10, 20 }")
      end
      points[i] = at
    end
    if points[#points] ~= n then points[#points + 1] = n end
  end
  if points[1] < 1 or (points[#points - 1] or 0) >= n then
    fail("deq.layer", ("'samples' must lie within the %d evaluations of forward.max_iter"):format(n))
  end
  return points
end

-- These hold at a solution alone: states on the way to it get the gradient of one step.
local at_solution = { ift = true, full_adjoint = true }

-- Solves to each of the points and differentiates there; returns the solution, its report, all states.
local function solve_sampled(c, z0, o, points)
  local states, from, done, info = {}, z0, 0, nil
  for i, point in ipairs(points) do
    c.z, info = solve(c.body, from, o.forward, point - done, c.damping)
    c.info = info
    local method = o.backward.method
    states[i] = gradient[i < #points and at_solution[method] and "jfb" or method](c)
    if o.sampling == "sliced" then from, done = states[i], point end
  end
  return states[#states], info, states
end

local function solve_unrolled(f, z0, o, points)
  local z, values = unroll("forward", f, z0, o.forward, o.forward.max_iter)
  local states = {}
  for i, point in ipairs(points) do states[i] = values[point] end
  return z, { values = values }, states
end

-- Results of a pcall; an error without a hint gets that of where the step is.
local function located(cell, ok, first, ...)
  if ok then return first, ... end
  if type(first) == "table" and cell.where then
    first.hint = first.hint or ("the step is that of deq.fn at %s"):format(cell.where)
  end
  error(first, 0)
end

-- The solution, the report, and the sampled states (while training; otherwise the solution alone).
local function solve_layer(p, o, x)
  local cell, training = o.fn, core.training()
  local u = x
  if cell.prepare then u = cell.prepare(p, x) end
  local z0 = start(o, p, x, u)
  local f = bind(cell, p, u, o.damping)
  local points = training and o.samples and sample_points(o) or { o.forward.max_iter }
  if o.backward.method == "unroll" and training then return solve_unrolled(f, z0, o, points) end
  local body = core.body(function(...) return table.unpack(f { ... }) end, z0)
  if training then
    local c = { f = f, body = body, o = o.backward, damping = o.damping }
    local z, info, states = located(cell, pcall(solve_sampled, c, z0, o, points))
    info.solved = { layer = p, options = o, x = x, u = u, start = z0, z = z, body = body }
    return z, info, states
  end
  local z, info = located(cell, pcall(solve, body, z0, o.forward, nil, o.damping))
  return z, info, { z }
end

local layer = { name = "deq.layer",
  params = function(p, o)
    if o.fn.params then o.fn.params(p) end
  end,
  forward = function(p, x)
    local z, info, states = solve_layer(p, modules.options(p), x)
    for i, s in ipairs(states) do states[i] = single(s) end
    return single(z), info, states
  end,
  equilibrium = function(p) return modules.options(p) end }

local layer_options = {
  { "fn", "table", required = true, doc = "deq.fn{…} or deq.energy(…)" },
  { "state", "table", required = true, doc = "sizes of a sample's state: { 512 }, or one list per part" },
  { "init", "string|function", default = "zeros", doc = "zeros | mixed (normal or 0), or init(p, x, u)" },
  { "forward", "table", options = forward_options },
  { "backward", "table", options = backward_options },
  { "damping", "number", default = 0, min = 0, max = 0.999999,
    doc = "f becomes damping * z + (1 - damping) * f" },
  { "samples", "integer|table", min = 1, doc = "states on the way for a correction loss: how many, " ..
    "equally far apart, or after which evaluations, { 10, 20 }; the solution is always the last one" },
  { "sampling", "string", default = "sliced", choices = { "sliced", "indexing" },
    doc = "sliced: solve to a sample, take its gradient's steps, go on from there; indexing: all samples " ..
      "lie on one solve (with its beginning repeated for each)" } }

api.define(hop, { name = "deq.layer", safety = "setup",
  doc = "A module: layer(x) solves z = f(z, x) and returns z and a report: residual, abs, movement " ..
    "{iterations, batch}, iterations, ended, converged, fallback {batch}, calls, stopped_by; and the list of " ..
    "sampled states, whose last is z. Gradients are recorded while training (hop.training()); otherwise z " ..
    "is the plain solution. Sampled states before the last get the backward method's gradient too; where " ..
    "that holds at a solution alone (ift, full_adjoint), that of one step.",
  args = { { "options", "table", options = layer_options } }, returns = "module, called: tensor, table, table",
  example = "deq.layer { fn = cell, state = { 8 }, forward = { solver = \"anderson\" } }",
  fn = function(o)
    if getmetatable(o.fn) ~= cell_meta then
      fail("deq.layer", "'fn' must be made by deq.fn{…} or deq.energy(…)")
    end
    if type(o.init) == "string" and o.init ~= "zeros" and o.init ~= "mixed" then
      fail("deq.layer", ("unknown init '%s'"):format(o.init), "zeros, mixed, or a function")
    end
    state_sizes(o.state)
    if o.samples then sample_points(o) end
    return modules.new(layer, o)
  end })

hop.deq_parts = { solve = solve, solve_layer = solve_layer, bind = bind, flatten = flatten,
  unflatten = unflatten, single = single,
  pack = pack, forward_options = forward_options, backward_options = backward_options }
