-- Equilibrium layers: behaviour, refusals and their messages, gradients against differences.

local hop = require "hop"
local check = require "check"
local core = require "hop.core"
local T, nn, deq = hop.T, hop.nn, hop.deq

core.training(false) -- plain solutions, if not said otherwise
local function flat(t) return T.reshape(t, { -1 }):table() end
local function training(f, ...)
  local before = core.training(true)
  local out = table.pack(f(...))
  core.training(before)
  return table.unpack(out, 1, out.n)
end

-- A contraction on states of 4 numbers, with the layer's options changed by `extra`.
local weight = T.from { { 0.3, -0.2, 0.1, 0 }, { 0.1, 0.2, -0.3, 0.2 }, { -0.2, 0.1, 0.1, 0.3 }, { 0, 0.2, 0.2, -0.1 } }
local function tanh_step(p, z, u) return (z:matmul(p.W) + u):tanh() end
local function layer(extra, step)
  local o = { state = { 4 }, fn = deq.fn { step = step or tanh_step,
    params = function(p) p.W = p:zeros { 4, 4 } end } }
  for k, v in pairs(extra or {}) do o[k] = v end
  local m = deq.layer(o)
  if not o.fn.energy and o.fn.params then m:load_state { W = weight } end
  return m
end
hop.seed(1)
local x = T.randn { 5, 4 }:detach()

-- --- what ends a solve ---
for _, solver in ipairs { "picard", "anderson", "broyden" } do
  local z, info = layer { forward = { solver = solver, max_iter = 100, tol = 1e-6 } }(x)
  check.close(solver .. " solves", (z:matmul(weight) + x):tanh(), z, 2e-6)
  check.equal(solver .. " says why", info.stopped_by[1], "tol")
  check.equal(solver .. " converged", info.converged:sum():item(), 5)
  check.near(solver .. " residual", T.max(deq.last_residual(info)):item(), 0, 1e-6)

  z, info = layer { forward = { solver = solver, max_iter = 3, tol = 1e-12 } }(x)
  check.equal(solver .. " at its limit", info.stopped_by[5], "max_iter")
  check.equal(solver .. " not converged", info.converged:sum():item(), 0)
  check.equal(solver .. " is finite", T.lt(T.abs(z), 2):sum():item(), 20)

  _, info = layer { forward = { solver = solver, max_iter = 7, tol = 0 } }(x)
  check.equal(solver .. " with tol 0", info.calls:item(), 7)
  check.equal(solver .. " counts", info.iterations:sum():item(), 35)
  check.equal(solver .. " rows", info.residual:size(1), 7)

  z = layer { forward = { solver = solver } }(x:narrow(1, 1, 0))
  check.equal(solver .. " of an empty batch", z:numel(), 0)
end

-- --- each sample by itself ---
local function single_equals_batch(solver, o)
  o.solver = solver
  local m = layer { forward = o }
  local z, info = m(x)
  local n = info.iterations:table()
  for b = 1, 5 do
    local zb, ib = m(x:narrow(1, b, 1))
    local what = ("%s, sample %d alone"):format(solver, b)
    check.that(what, T.equal(zb, z:narrow(1, b, 1)), "another state")
    check.equal(what .. ", iterations", ib.iterations:table()[1], n[b])
  end
  return n
end
local differ = false
for _, solver in ipairs { "picard", "anderson", "broyden" } do
  local n = single_equals_batch(solver, { tol = 1e-5, max_iter = 60 })
  for b = 2, 5 do differ = differ or n[b] ~= n[1] end
end
check.that("samples end at different iterations", differ)
local _, together = layer { forward = { per = "batch", tol = 1e-5 } }(x)
check.equal("per batch: all end at once", T.max(together.iterations):item(),
  -T.max(-together.iterations):item())

-- --- divergence ---
local function growing(_, z) return z * 3 + 1 end
for _, solver in ipairs { "picard", "broyden" } do
  local z, info = layer({ forward = { solver = solver, max_iter = 60, memory = 1 } }, growing)(x)
  if solver == "picard" then
    check.equal("divergence is noticed", info.stopped_by[1], "diverged")
    check.that("its state is no number", flat(z)[1] ~= flat(z)[1])
    check.that("early", info.calls:item() < 30, tostring(info.calls:item()))
    z = layer({ forward = { solver = solver, max_iter = 60, diverged = "keep" } }, growing)(x)
    check.that("or the last finite one is kept", math.abs(flat(z)[1]) < 1e9, tostring(flat(z)[1]))
    z, info = layer({ forward = { solver = solver, pick = "best", stop = "abs", max_iter = 60 } }, growing)(x)
    check.close("or the best", z, T.ones { 5, 4 }, 0)
    check.equal("still diverged", info.stopped_by[1], "diverged")
  else
    check.close("a secant method solves it", z, T.full({ 5, 4 }, -0.5), 1e-4)
    check.equal("and says so", info.stopped_by[1], "tol")
  end
end
local bad = T.where(T.eq(T.iota { shape = { 5, 4 } }, 6), T.log(T.full({ 5, 4 }, -1)), x)
local clean, mixed = layer()(x), layer()(bad)
for b = 1, 5 do
  local same = T.equal(clean:narrow(1, b, 1), mixed:narrow(1, b, 1))
  check.equal(("NaN in sample 2, sample %d"):format(b), same, b ~= 2)
end

local _, searched = layer { forward = { solver = "broyden", line_search = true, tol = 1e-5 } }(bad)
check.equal("a shared step length goes by the others", table.concat(searched.stopped_by, " "),
  "tol diverged tol tol tol")
check.equal("and is found at once", searched.calls:item(), T.max(searched.iterations):item())

-- --- singular systems ---
for _, ridge in ipairs { 0, 1e-10 } do
  local o = { solver = "anderson", max_iter = 12, tol = 1e-7, ridge = ridge, relative = false }
  local z, info = layer({ forward = o }, function(_, z, u) return u + z * 0 end)(x)
  check.close("a constant step", z, x, 0)
  check.equal("a constant step ends", info.stopped_by[1], "tol")
  o.tol = 0
  z = layer({ forward = o }, function(_, s, u) return u + s * 0 end)(x)
  check.close("and goes on where told to", z, x, 0)
  z = layer { forward = o, state = { 4 } }(T.zeros { 5, 4 })
  check.close("duplicates only", z, T.zeros { 5, 4 }, 0)
  local rank_one = function(_, s, u) return s:sum(2, true) * 0.1 * T.ones { 5, 4 } + u end
  z = layer({ forward = o }, rank_one)(x)
  check.close("residuals on a line", rank_one(nil, z, x), z, 1e-5)
end

-- --- refusals, with what to do and where ---
local function refuses(what, text, f)
  check.raises(what, text, f)
  check.raises(what .. " says where", "deq_test.lua:", f)
end
local function refuses_step(what, text, step, extra)
  refuses(what, text, function()
    local z = layer(extra, step)(x)
    return z
  end)
end
refuses_step("another shape", "shape it is given, {5, 4}, not {5, 3}",
  function(_, z) return z:narrow(2, 1, 3) end)
refuses_step("another rank", "not {5}", function(_, z) return z:sum(2) end)
refuses_step("a value read", "use T.where", function(_, z) return z:sum():item() > 0 and z or z * 2 end)
refuses_step("no dependence", "does not depend on the state", function(_, _, u) return u end)
refuses_step("a number", "value 1 is a number", function() return 1 end)
refuses_step("nothing", "1 tensor, not 0 values", function() end)
refuses_step("two", "1 tensor, not 2 values", function(_, z) return z, z end)
refuses_step("too few", "2 tensors, not 1 value", function(_, z) return z[1] end, { state = { { 4 }, { 4 } } })
refuses_step("chance", "draw them outside (in prepare)", function(_, z) return T.dropout(z, 0.5) end)
refuses_step("an unknown parameter", "not nil", function(p, z) return z:matmul(p.V) end)
for what, case in pairs {
  ["an option"] = { "did you mean 'backward'?", { bakward = {} } },
  ["a solver's option"] = { "did you mean 'max_iter'?", { forward = { maxiter = 3 } } },
  ["a solver"] = { "did you mean 'broyden'?", { forward = { solver = "broiden" } } },
  ["a method"] = { "did you mean 'phantom'?", { backward = { method = "fantom" } } },
  ["zero iterations"] = { "at least 1", { forward = { max_iter = 0 } } },
  ["a negative tolerance"] = { "at least 0", { forward = { tol = -1 } } },
  ["NaN"] = { "is NaN", { forward = { tol = 0 / 0 } } },
  ["full damping"] = { "at most", { damping = 1 } },
  ["a cell"] = { "deq.fn{…}", { fn = {} } },
  ["no state"] = { "sizes of a sample's state", { state = {} } },
  ["half a state"] = { "sizes of a sample's state", { state = { { 4 }, 4 } } },
  ["an init"] = { "zeros, mixed, or a function", { init = "ones" } },
  ["no samples"] = { "at least 1", { samples = 0 } } } do
  refuses("unknown: " .. what, case[1], function() local m = layer(case[2]) return m end)
end
refuses("an input of no use", "batch as first dimension", function() local z = layer() "x" return z end)
refuses("an init of another shape", "{batch, 4}", function()
  local z = layer { init = function() return T.zeros { 5, 3 } end }(x)
  return z
end)
for what, case in pairs {
  ["one step for groups"] = { "table of functions", { groups = { a = 1 }, step = tanh_step } },
  ["steps without groups"] = { "need groups", { step = { a = tanh_step } } },
  ["a group without a step"] = { "has no step", { groups = { a = 1, b = 2 }, step = { a = tanh_step } } },
  ["a step without a group"] = { "belongs to no group",
    { groups = { a = 1 }, step = { a = tanh_step, b = tanh_step } } },
  ["a part twice"] = { "each part once",
    { groups = { a = { 1, 2 }, b = 2 }, step = { a = tanh_step, b = tanh_step } } },
  ["a part left out"] = { "every part", { groups = { a = { 1, 3 } }, step = { a = tanh_step } } } } do
  refuses(what, case[1], function() local c = deq.fn(case[2]) return c end)
end
for what, case in pairs {
  ["Broyden unrolled"] = { "no gradient through broyden", { forward = { solver = "broyden" },
    backward = { method = "unroll" } } },
  ["Anderson unrolled"] = { "relative = false", { backward = { method = "unroll" } } },
  ["samples too late"] = { "within the 40", { samples = { 10, 50 } } },
  ["too many samples"] = { "within the 40", { samples = 41 } },
  ["samples backwards"] = { "growing", { samples = { 20, 10 } } } } do
  refuses(what, case[1], function() local z = training(layer(case[2]), x) return z end)
  core.training(false)
end
refuses("no equilibrium", "deq.layer{…}", function() local c = deq.check(nn.linear(4, 4), x) return c end)
refuses("an energy without the state", "does not depend", function()
  local z = layer { fn = deq.energy({}, function(_, _, u) return (u * u):sum() end) }(x)
  return z
end)

-- --- parts and groups ---
local function odd(p, z, u) return (z[2]:matmul(p.W) + u):tanh(), (z[2] * 0.3 + u):tanh() end
local function even(p, z) return (z[1]:matmul(p.W) + z[3] * 0.2):tanh() end
local three = { state = { { 4 }, { 4 }, { 4 } }, forward = { max_iter = 30 } }
three.fn = deq.fn { params = function(p) p.W = p:zeros { 4, 4 } end,
  groups = { odd = { 1, 3 }, even = 2 }, step = { odd = odd, even = even } }
local swept = layer(three)
three.fn = deq.fn { params = function(p) p.W = p:zeros { 4, 4 } end,
  step = function(p, z, u)
    local a, c = odd(p, z, u)
    return a, even(p, { a, z[2], c }), c
  end }
local by_hand = layer(three)
local a, info_a = swept(x)
local b, info_b = by_hand(x)
for i = 1, 3 do check.that("a sweep over groups, part " .. i, T.equal(a[i], b[i]), "differs") end
check.equal("its iterations", info_a.calls:item(), info_b.calls:item())
check.that("radius with parts that are not read", deq.spectral_radius(swept, x, a):size(1) == 5)
local penalty = deq.jacobian_penalty(swept, x, a)
check.that("penalty with parts that are not read", penalty:item() > 0)

local function exchange(_, s, u) return s[2], s[1], (s[3] + s[1] + u) * 0.2 end
local function start_at(k) return function() return { x, x * k, x * 0 } end end
local swapped = layer({ state = { { 4 }, { 4 }, { 4 } }, init = start_at(2),
  forward = { solver = "picard", max_iter = 3, tol = 0 } }, exchange)(x)
check.close("states that change places, first", swapped[1], x * 2, 0)
check.close("states that change places, second", swapped[2], x, 0)
local function in_place(_, s, u)
  s[1] = (s[2] * 0.5 + u):tanh()
  s[2] = (s[1] * 0.5):tanh()
  return s
end
for _, backward in ipairs { { method = "jfb" }, { method = "phantom", tau = 0.7 } } do
  local two = layer({ state = { { 4 }, { 4 } }, forward = { tol = 1e-7 }, backward = backward }, in_place)
  local one, other = two(x), training(two, x)
  for i = 1, 2 do check.close("a step may change its list, part " .. i, other[i], one[i], 1e-6) end
end

-- --- spectral radius ---
local function radius_of(matrix, options)
  local m = layer({}, function(p, z, u) return z:matmul(p.W) + u end)
  m:load_state { W = matrix }
  return T.max((deq.spectral_radius(m, x, T.zeros { 5, 4 }, options))):item()
end
local diagonal = T.from { { 0.9, 0, 0, 0 }, { 0, -0.5, 0, 0 }, { 0, 0, 0.1, 0 }, { 0, 0, 0, 0 } }
local signs = T.from { { 0, 0.8, 0, 0 }, { 0.8, 0, 0, 0 }, { 0, 0, 0.1, 0 }, { 0, 0, 0, 0 } }
local turn = T.from { { 0.6, 0.6, 0, 0 }, { -0.6, 0.6, 0, 0 }, { 0, 0, 0.1, 0 }, { 0, 0, 0, 0 } }
check.near("one eigenvalue", radius_of(diagonal), 0.9, 1e-4)
check.near("one eigenvalue, quotient", radius_of(diagonal, { measure = "rayleigh" }), 0.9, 1e-4)
check.near("two of both signs", radius_of(signs), 0.8, 1e-4)
check.near("a complex pair", radius_of(turn), 0.6 * math.sqrt(2), 0.02)
check.near("none", radius_of(T.zeros { 4, 4 }), 0, 1e-6)
check.near("at the input itself", T.max((deq.spectral_radius(layer({}, function(_, z, u)
  return z * 0.5 + u
end), x, x))):item(), 0.5, 1e-5)
check.near("one iteration", radius_of(signs, { iterations = 1, start = T.ones { 5, 4 } }), 0.57, 0.01)

-- --- gradients ---
local fp64 = core.fp64()
local tight = { solver = "anderson", max_iter = 100, tol = fp64 and 1e-13 or 1e-7 }
for method, extra in pairs { ift = {}, full_adjoint = { max_iter = 60 }, backprop = { max_iter = 60 },
  unroll = {}, phantom = { steps = 60 } } do
  extra.method = method
  extra.max_iter = extra.max_iter or 60
  local m = layer { forward = method == "unroll" and { solver = "picard", max_iter = 60 } or tight, backward = extra }
  local r = deq.check(m, x)
  check.that(method .. " is the gradient", r.ok, r.text)
end
local r = deq.check(layer({ forward = tight, backward = { method = "jfb" } }, function(p, s, u)
  return (s:matmul(p.W) * 1.8 + u):tanh()
end), x)
check.that("deq.check finds a wrong gradient", not r.ok and r.worst > 0.05, r.text)
check.that("and says which is one by design", r.text:find "by design", r.text)
check.that("its radius", r.radius > 0.3 and r.radius < 1.8 * radius_of(weight) + 0.01, r.text)
r = deq.check(layer { damping = 0.5, forward = tight, backward = { max_iter = 100 } }, x)
check.that("damped", r.ok, r.text)
r = deq.check(swept, x)
check.that("groups", r.ok, r.text)
r = deq.check(layer({ forward = { max_iter = 10, solver = "picard" } }, function(p, z, u)
  return z:matmul(p.W) * 2.3 + u
end), x)
check.that("too few iterations are told", r.text:find "too few", r.text)
r = deq.check(layer({ forward = { max_iter = 10 } }, function(_, z, u) return z * -1.2 + u end), x)
check.that("so is a radius above 1", r.text:find "does not converge", r.text)

-- second derivatives of the penalty
local function penalty_gap(net, input, state)
  local v = {}
  for i, part in ipairs(state) do v[i] = T.randn(part:size()):detach() end
  local function value(...)
    local parts = { ... }
    return deq.jacobian_penalty(net, input, #parts > 1 and parts or parts[1], { given = { v } })
  end
  local worst = 0
  for i = 1, #state do
    local e = hop.grad_check(function(part)
      local changed = table.move(state, 1, #state, 1, {})
      changed[i] = part
      return value(table.unpack(changed))
    end, state[i], { step = fp64 and 1e-5 or 3e-3 })
    worst = math.max(worst, e)
  end
  return worst
end
local gap = penalty_gap(layer(), x, { T.randn { 5, 4 }:detach() })
check.that("penalty by the state", gap < 0.02, tostring(gap))
for _, kind in ipairs { "ham", "chn" } do
  local net = nn.hopfield { layers = { 6, 5, 4 }, kind = kind, update = "one_matrix" }
  gap = penalty_gap(net, T.rand { 3, 6 }:detach(), { T.rand { 3, 5 }:detach(), T.rand { 3, 4 }:detach() })
  check.that("penalty of a " .. kind, gap < 0.02, tostring(gap))
end
do
  local net = layer()
  local v, h = T.randn { 5, 4 }:detach(), fp64 and 1e-5 or 1e-2
  local function value() return deq.jacobian_penalty(net, x, x * 0.5, { given = { v } }) end
  value():backward()
  local way = T.randn { 4, 4 }:detach()
  local got, side = (net.W.grad * way):sum():item(), {}
  for sign = -1, 1, 2 do
    net.W:set_(weight + way * (sign * h))
    side[sign] = value():item()
  end
  check.near("penalty by the weights", got, (side[1] - side[-1]) / (2 * h), 1e-3, 0.02)
end

-- --- sampled states ---
local function sampled(extra)
  extra.forward = extra.forward or { solver = "picard", max_iter = 20, tol = 0 }
  return training(layer(extra), x)
end
local z, report, states = sampled { samples = 4 }
check.equal("4 samples", #states, 4)
check.that("the last is the solution", T.equal(states[4], z))
check.equal("sliced: the report is of the last piece", report.calls:item(), 5)
local plain = layer { forward = { solver = "picard", max_iter = 7, tol = 0 } }(x)
for _, method in ipairs { "jfb", "ift" } do
  _, report, states = sampled { samples = { 6, 12 }, sampling = "indexing", backward = { method = method } }
  check.equal(method .. ": 2 samples and the solution", #states, 3)
  check.close(method .. ": the first, after its step", states[1], plain, 1e-6)
  check.equal(method .. ": one solve in the report", report.calls:item(), 20)
end
z, _, states = sampled { samples = 2, backward = { method = "unroll" } }
check.that("unrolled", #states == 2 and T.equal(states[2], z))
_, _, states = layer { samples = 4 }(x)
check.equal("one state outside training", #states, 1)
core.training(true)
local m = layer { samples = 3, forward = { max_iter = 9, solver = "picard" } }
_, _, states = m(x)
local weights, total = deq.correction("exp", #states), 0
for k, s in ipairs(states) do total = T.square(s):mean() * weights[k] + total end
total:backward()
check.that("a correction loss has gradients", T.max(T.reshape(T.abs(m.W.grad), { -1 })):item() > 1e-4)
core.training(false)

-- --- weights of limited size ---
local w = T.randn { 6, 4 }:detach()
check.close("weight norm", T.sqrt(T.square(deq.weight_norm(w, nil, { target = 0.7 })):sum(2)), T.full({ 6 }, 0.7), 1e-6)
check.close("by columns", T.sqrt(T.square(deq.weight_norm(w, nil, { dim = 2 })):sum(1)), T.ones { 4 }, 1e-6)
check.close("convolution", T.sqrt(T.square(deq.weight_norm(T.randn { 3, 2, 5 })):sum { 2, 3 }), T.ones { 3 }, 1e-6)
check.close("clipped", deq.weight_norm(w, T.full({ 6 }, 100), { clip = 0.5 }), w * 0.5, 1e-6)
local limited = deq.spectral_norm(w, nil, { target = 0.9, iterations = 200 })
local gram = T.matmul(limited, limited, { ta = true })
local power = T.ones { 1, 4 }
for _ = 1, 100 do
  power = power:matmul(gram)
  power = power / T.sqrt(T.square(power):sum())
end
check.near("spectral norm", T.sqrt(T.square(power:matmul(gram)):sum()):item(), 0.81, 1e-4)
gap = hop.grad_check(function(v) return T.square(deq.weight_norm(v) - 1):sum() end, w)
check.that("gradient of the weight norm", gap < 0.02, tostring(gap))
gap = hop.grad_check(function(v) return T.square((deq.spectral_norm(v, nil, { iterations = 200 })) - 1):sum() end, w,
  { step = fp64 and 1e-5 or 1e-2 })
check.that("gradient of the spectral norm", gap < 0.02, tostring(gap))
check.raises("g of another size", "g has 3 elements", deq.weight_norm, w, T.ones { 3 })
check.raises("no such dimension", "dim = 3", deq.spectral_norm, w, nil, { dim = 3 })
check.raises("a vector", "at least 2", deq.weight_norm, T.ones { 3 })
check.raises("nothing to start from", "needs u and v", deq.spectral_norm, w, nil, { iterations = 0 })

-- --- in models ---
local cell = deq.fn { params = function(p) p.W = p:normal({ 8, 8 }, { std = 0.2 }) end,
  prepare = function(_, v) return nn.drop(v, 0.2) end, step = tanh_step }
local model = nn.sequential { nn.linear(4, 8), deq.layer { fn = cell, state = { 8 } }, nn.linear(8, 1) }
local step = hop.train_step { model = model, optim = hop.optim.adamw { lr = 1e-2 },
  loss = function(f, batch) return hop.loss.mse(f(batch.x), batch.y) end }
local inputs = T.randn { 32, 4 }:detach()
local batch = { x = inputs, y = T.tanh(inputs:sum(2, true)):detach() }
local first, last = step(batch).loss, nil
for _ = 1, 150 do last = step(batch).loss end
check.that("a model with a layer learns", last < 0.3 * first, ("from %.3g to %.3g"):format(first, last))

-- --- energies ---
local function energy_of(s, u) return s * s * 0.5 - u * s + T.sigmoid(s) * 0.1 end
local flow = layer { fn = deq.energy({}, function(_, s, u) return energy_of(s, u):sum(2) end, { rate = 0.3 }),
  forward = { solver = "picard", max_iter = 1, tol = 0 } }
local before, at = math.huge, T.zeros { 5, 4 }
for _ = 1, 12 do
  local now = energy_of(at, x):sum():item()
  check.that("the energy falls", now < before, ("from %.9g to %.9g"):format(before, now))
  before = now
  local from = at
  flow = layer { fn = flow:equilibrium().fn, init = function() return from end,
    forward = { solver = "picard", max_iter = 1, tol = 0 } }
  at = flow(x):detach()
end

-- --- Hopfield networks ---
hop.seed(3)
local images = T.rand { 6, 12 }:detach()
local function hopfield(o)
  o.layers = o.layers or { 12, 10, 8, 6, 5 }
  hop.seed(3)
  return nn.hopfield(o)
end
local function evaluations(update)
  local net = hopfield { update = update, forward = { solver = "picard", max_iter = 200, tol = 1e-5 } }
  for name, p in net:parameters() do
    if name:match "^W" then p:set_(p * 1.5) end
  end
  local _, info = net(images)
  check.equal(update .. " converges", info.converged:sum():item(), 6)
  return info.iterations:mean():item()
end
local ratio = evaluations "one_matrix" / evaluations "even_odd"
check.that("alternating updates need half the iterations", ratio > 1.7 and ratio < 2.3, tostring(ratio))

-- energies: their slope is the step; both updates of a HAM end at the same one (a CHN has several ends)
local levels = {}
for _, kind in ipairs { "ham", "chn" } do
  for i, update in ipairs { "one_matrix", "even_odd" } do
    local net = hopfield { kind = kind, update = update, forward = { solver = "picard", max_iter = 300, tol = 1e-6 } }
    local _, _, layers = net(images)
    levels[i] = net:energy(images, layers)
    if update == "one_matrix" then
      local e, state = net:equilibrium(), {}
      for l, part in ipairs(layers) do state[l] = (part * 0.9 + 0.05):detach() end
      local u = e.fn.prepare(net, images)
      local f = hop.deq_parts.bind(e.fn, net, u, 0)(state)
      local slope = T.grad(e.fn.energy(net, state, u):sum(), state)
      for l, part in ipairs(state) do
        local rho = T.sigmoid(part * 4 - 2)
        local scale = kind == "ham" and rho * (1 - rho) * 4 or T.ones(part:size())
        check.close(("slope of a %s's energy, layer %d"):format(kind, l), slope[l], scale * (part - f[l]), 2e-6)
      end
    end
  end
  if kind == "ham" then check.close("energies of both updates", levels[1], levels[2], 1e-4) end
end

for _, update in ipairs { "one_matrix", "even_odd" } do
  local net, none = hopfield { update = update }, hopfield { update = update, small_world = 0 }
  check.that(update .. ": small_world = 0 changes nothing", T.equal((net(images)), (none(images))))
  local n = 0
  for _ in none:parameters() do n = n + 1 end
  check.equal(update .. ": nor adds parameters", n, 8)

  local wired = hopfield { update = update, small_world = 0.3, layers = { 12, 40, 30, 20, 10 } }
  local connected, all = 0, 0
  for name, p in wired:parameters() do
    if name:match "^W%.%d%.%d" then
      connected, all = connected + T.ne(p, 0):sum():item(), all + p:numel()
    end
  end
  local far = update == "one_matrix" and 40 * 20 + 40 * 10 + 30 * 10 or 40 * 10
  check.equal(update .. ": entries that may be connected", all, far)
  check.near(update .. ": entries that are", connected / all, 0.3, 0.06)

  local train = hop.train_step { model = wired, optim = hop.optim.sgd { lr = 0.1 } }
  local was = {}
  for name, p in wired:parameters() do was[name] = p:detach() * 1 end
  for _, t in pairs(was) do t:table() end -- now, before it changes
  for _ = 1, 3 do train { x = images, y = T.eq(T.iota { shape = { 6, 10 } }, 3) } end
  for name, p in wired:parameters() do
    if name:match "^W%.%d%.%d" then
      local masked = T.eq(was[name], 0)
      check.equal(update .. ": " .. name .. " stays apart", T.abs(p * masked):sum():item(), 0)
      check.that(update .. ": " .. name .. " learns", T.abs(p - was[name]):sum():item() > 0)
    end
  end
end

-- ---- what users met ----

do
  -- metrics speak of the tolerance that the solve stopped by, whatever it is
  local halves = deq.fn { step = function(_, s, u) return s * 0.5 + u end }
  local layer_of = function(forward) return deq.layer { fn = halves, state = { 3 }, forward = forward } end
  local input = T.ones { 4, 3 }
  local function numbers(forward)
    local _, info = layer_of(forward)(input)
    local found = deq.metrics(info)
    return found["deq/iterations"]:item(), found["deq/not_converged"]:item(), found["deq/movement"]
  end
  local loose, none = numbers { solver = "picard", tol = 1e-2 }
  check.equal("a loose tolerance is met", none, 0)
  check.that("early", loose < 9, tostring(loose))
  local never, all = numbers { solver = "picard", tol = 1e-12, max_iter = 5 }
  check.equal("what does not converge counts its evaluations", never, 5)
  check.equal("and says so", all, 1)
  local fixed, still = numbers { solver = "picard", tol = 0 }
  check.that("without a tolerance 1e-4 counts", fixed > 10 and fixed < 16, tostring(fixed))
  check.equal("all get there", still, 0)
  local _, _, moved = numbers { solver = "anderson", tol = 1e-3 }
  check.that("the curve of a stopped sample ends below its tolerance",
    T.max(T.reshape(T.lt(moved, 1e-3):sum(1), { -1 })):item() >= 1, "it does not")

  -- a step may work in place; the state it was given is not touched
  local bent = deq.fn { step = function(_, s, u) s:mul_(0.5) return s + u end }
  for _, method in ipairs { "ift", "backprop", "full_adjoint", "phantom", "jfb", "unroll" } do
    local net = deq.layer { fn = bent, state = { 3 }, backward = { method = method },
      forward = { solver = "picard", tol = 0 } }
    core.training(true)
    check.close("in place, " .. method, (net(input)), input * 2, 1e-5)
    core.training(false)
  end

  -- a computed tensor that was read, then changed in place
  local t = T.ones { 200, 40 } * 2
  check.equal("before", t:sum():item(), 16000)
  t:mul_(0.5):add_(1)
  check.equal("after", t:sum():item(), 16000)

  check.raises("z > 0", "no single true or false", function() return t > 0 end)
  local idle = deq.check(deq.layer { fn = deq.fn { step = function(_, s) return s * 0.5 end },
    state = { 3 } }, input)
  check.that("a solution that depends on nothing is not ok", not idle.ok and
    idle.text:find("depends neither", 1, true), idle.text)
  local cut = deq.fn { params = function(p) p.w = p:normal({ 3, 3 }, { std = 0.1 }) end,
    step = function(p, s, u) return s:matmul(p.w):detach() + u end }
  core.training(true)
  check.raises("a detached state", "no gradient flows through the step", function()
    local leaf = input:detach():require_grad()
    deq.layer { fn = cut, state = { 3 } }(leaf):sum():backward()
  end)
  core.training(false)
end

-- ---- what is recorded of a solve ----

do
  -- z goes half of the way to u each time; the energy is the distance to u, squared, less a constant
  local nearing = deq.energy({}, function(_, s, u) return (s * s * 0.5 - s * u):sum(2) end, { rate = 0.5 })
  local u = T.from { { 1, 2 }, { 3, 0 } }
  local record = function(forward, options)
    local near = deq.layer { fn = nearing, state = { 2 }, forward = forward, backward = { method = "ift" } }
    return training(function()
      local _, info = near(u)
      return deq.metrics(info, options), info
    end)
  end
  local found, info = record({ solver = "picard", max_iter = 4, tol = 0 },
    { energy = true, state = 1, radius = 4 })
  local want = {}
  for k = 1, 4 do
    local rest = 0.25 ^ k / 2 - 0.5 -- of a u of length 1
    want[2 * k - 1], want[2 * k] = 5 * rest, 9 * rest
  end
  check.close("the energy after each evaluation", found["deq/energy"], T.reshape(T.from(want), { 4, 2 }), 1e-5)
  -- one more step than the solve: that of its gradient
  check.close("the state of one sample", found["deq/state"], T.from { { 0.96875, 1.9375 } }, 1e-6)
  check.close("the radius of each sample", found["deq/spectral_radius"], T.from { 0.5, 0.5 }, 1e-5)
  check.close("absolute residuals", found["deq/absolute"]:narrow(2, 2, 1), T.from { { 1.5 }, { 0.75 }, { 0.375 },
    { 0.1875 } }, 1e-6)
  check.equal("what ended them", info.stopped_by[1], "max_iter")
  check.equal("as numbers", found["deq/ended"]:sum():item(), 0)
  check.equal("steps as recorded", info.step:item(), 1)
  -- only some evaluations of a long solve; a sample that has stopped has no energy any more
  found = record({ solver = "picard", max_iter = 70, tol = 1e-3 }, { energy = true })
  local e = found["deq/energy"]
  check.equal("a long solve", e:size(1), 70)
  check.that("has gaps", e:table()[1][1] ~= e:table()[1][1])
  check.near("and its energies", e:table()[2][1], 5 * (0.25 ^ 2 / 2 - 0.5), 1e-5)
  check.that("until it stopped", e:table()[70][1] ~= e:table()[70][1])
  found = record({ solver = "anderson", max_iter = 6, tol = 0 }, { name = "first", state = 2 })
  check.that("under a name of its own", found["first/deq/state"] and found["first/deq/movement"] and
    not found["deq/iterations"])
  check.raises("a cell without energy", "has no energy", function()
    training(function()
      local _, other = layer {}(x)
      deq.metrics(other, { energy = true })
    end)
  end)
end

-- ---- even-odd updates are two synchronous ones ----

do
  local function output(update, count)
    local net = nn.hopfield { layers = { 20, 40, 30, 20, 10 }, update = update,
      forward = { solver = "picard", tol = 0, max_iter = count } }
    local chosen = {}
    local small = T.from { 0.01 } -- any weights, the same for both
    for name, p in net:parameters() do
      chosen[name] = T.reshape(T.iota { shape = { p:numel() }, step = 0.37 }, p:size())
      chosen[name] = (chosen[name] - T.floor(chosen[name]) - 0.5) * small
    end
    net:load_state(chosen)
    core.training(false)
    return net(T.reshape(T.iota { shape = { 60 }, step = 0.01 }, { 3, 20 }))
  end
  for k = 1, 4 do
    check.equal(("even-odd after %d is the other after %d"):format(k, 2 * k),
      T.max(T.reshape(T.abs(output("even_odd", k) - output("one_matrix", 2 * k)), { -1 })):item(), 0)
  end
end

check.done()
