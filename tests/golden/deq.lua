-- Reference numbers of tests/golden/deq (its README: seeds, definitions, tolerances): Hopfield networks
-- under every solver and gradient method, their exact fixed points, trainings of 12 steps.
-- Run as: hoplab lua tests/golden/deq.lua DIR

local hop = require "hop"
local check = require "check"
local reference = require "reference"
local core = require "hop.core"
local T, nn, deq, optim = hop.T, hop.nn, hop.deq, hop.optim
core.training(true) -- gradients are recorded
local dir = arg[1]
local biggest = reference.biggest

local function open(name) return reference.open(dir, name) end
if not open "ham_evenodd_12-9-5" then hop.exit(77) end

-- ---- Hopfield networks ----

-- Columns of layer l among those that `layers` lists, of the given sizes.
local function spans(layers, list)
  local at, out = 1, {}
  for _, l in ipairs(list) do
    out[l] = { at, layers[l + 1] }
    at = at + layers[l + 1]
  end
  return out
end

local function every(first, last, by)
  local out = {}
  for l = first, last, by do out[#out + 1] = l end
  return out
end

-- Where the file keeps each layer's state, bias and weights.
local function layout(kind, update, layers)
  local last = #layers - 1
  local all, even, odd = every(1, last, 1), every(2, last, 2), every(1, last, 2)
  local lay = { update = update, last = last }
  if update == "one_matrix" then
    lay.state, lay.column = all, spans(layers, all)
  else
    lay.state = kind == "ham" and even or table.move(odd, 1, #odd, #even + 1, table.move(even, 1, #even, 1, {}))
    lay.even, lay.odd = spans(layers, even), spans(layers, odd)
  end
  return lay
end

local function bias_of(lay, get, l)
  if lay.update == "one_matrix" then
    local s = lay.column[l]
    return T.reshape(get "b":narrow(2, s[1], s[2]), { s[2] })
  end
  local s = (l % 2 == 0 and lay.even or lay.odd)[l]
  return T.reshape(get(l % 2 == 0 and "b_even" or "b_odd"):narrow(2, s[1], s[2]), { s[2] })
end

-- W_l as {n_l, n_l+1}
local function weight_of(lay, get, l)
  if lay.update == "one_matrix" then
    local r, c = lay.column[l], lay.column[l + 1]
    return get "W":narrow(1, r[1], r[2]):narrow(2, c[1], c[2])
  end
  local e, o = l % 2 == 0 and l or l + 1, l % 2 == 0 and l + 1 or l
  local r, c = lay.even[e], lay.odd[o]
  local w = get "W":narrow(1, r[1], r[2]):narrow(2, c[1], c[2])
  return l % 2 == 0 and w or w:t()
end

local function load_params(m, lay, get)
  local state = { U = get "U" }
  for l = 1, lay.last do state["b." .. l] = bias_of(lay, get, l) end
  for l = 1, lay.last - 1 do state["W." .. l] = weight_of(lay, get, l) end
  m:load_state(state, { strict = true })
end

-- Parts of a state in the file's order of columns.
local function in_file_order(lay, z)
  local columns = {}
  for i, l in ipairs(lay.state) do columns[i] = z[lay.first(l)] end
  return T.cat(columns, 2)
end

local solvers = { picard = { solver = "picard" },
  anderson = { solver = "anderson", memory = 4, ridge = 1e-10, relative = false } }

local function settings(name, iterations, extra)
  local o = { max_iter = iterations, tol = 0 }
  for k, v in pairs(solvers[name]) do o[k] = v end
  for k, v in pairs(extra or {}) do o[k] = v end
  return o
end

local function network(kind, update, layers, forward, backward, readout)
  return nn.hopfield { layers = layers, kind = kind, update = update, readout = readout,
    forward = forward, backward = backward }
end

-- f-values' relative movements of a training step: the forward's, then the backward's (spec deq 8).
local function movements(info, with_backward)
  local rows = info.movement:size(1)
  local list = { info.movement:narrow(1, 2, rows - 1) }
  if not with_backward then return list[1] end
  local function step(a, b)
    local d, s = 0, 0
    for i = 1, #a do
      d = T.square(b[i] - a[i]):sum(2, true) + d
      s = T.square(b[i]):sum(2, true) + s
    end
    return T.reshape(T.sqrt(d / s), { 1, -1 })
  end
  if info.backward then list[2] = info.backward.movement end
  local values = info.backward_values
  local before = not info.backward and info.z or values[1]
  for k = info.backward and 2 or 1, #values do
    list[#list + 1] = step(before, values[k])
    before = values[k]
  end
  if info.after then list[#list + 1] = step(before, info.after) end
  return T.cat(list, 1)
end

-- Did-not-converge count and time to convergence in the reference's reading (index 0 is "never").
local function literal(r, damping)
  local rows = r:size(1)
  local first = T.eq(T.cumsum(T.lt(r, 1e-4):t()), 0):sum(2)
  local none = T.maximum(T.eq(first, 0), T.eq(first, rows))
  return none:sum():item(), (T.where(none, T.full(first:size(), rows), first):mean() * (1 - damping)):item()
end

local function compare_movements(what, got, want, spread)
  check.equal(what .. " residual rows", got:size(1), want:size(1))
  local big = T.lt(1e-4, want)
  local allowed = math.max(0.01, 10 * spread)
  local off = T.where(big, T.abs(got - want) / want, T.zeros(want:size()))
  check.that(what .. " residuals", biggest(off) <= allowed,
    ("off by %.3g, allowed %.3g"):format(biggest(off), allowed))
  return biggest(T.where(T.lt(T.abs(want - 1e-4), 1e-4 * allowed), T.ones(want:size()), T.zeros(want:size()))) > 0
end

local parts = hop.deq_parts

-- Solution, loss and gradients of a training step on the file's batch, as the file has them under `name`.
local function compare_step(file, m, lay, name, tol, z, loss, x)
  local function grad(suffix) return function(key) return file[name .. suffix .. key] end end
  local plain, wide = grad ".", grad ".f64."
  local function agrees(what, got)
    reference.agrees(("%s.%s"):format(name, what), got, plain(what), wide(what), tol)
  end
  agrees("z_star", in_file_order(lay, z))
  agrees("loss", loss)
  agrees("grad.x", x.grad)
  agrees("grad.U", m.U.grad)
  local half = lay.update == "one_matrix" and 0.5 or 1 -- the file's blocks carry half the tied gradient
  local function part(key, of, by, l)
    local want, wider = of(lay, grad ".grad.", l), nil
    if wide "grad.U" then wider = of(lay, grad ".f64.grad.", l) end
    local whole = plain(key == "W" and "grad.W" or "grad.b")
    reference.agrees(("%s.grad.%s.%d"):format(name, key, l), m[("%s.%d"):format(key, l)].grad * by, want, wider,
      tol, whole and biggest(whole))
  end
  for l = 1, lay.last do part("b", bias_of, 1, l) end
  for l = 1, lay.last - 1 do part("W", weight_of, half, l) end
end

local function step_of(file, m, lay)
  local x = file.x:detach():require_grad()
  m:zero_grad()
  local z, info = parts.solve_layer(m, m:equilibrium(), x)
  local loss = T.square(lay.out(z) - file.y):sum() * (0.5 / 3)
  loss:backward()
  info.z = z
  return z, info, loss, x
end

local function run_one(file, m, lay, name, run, damping)
  local z, info, loss, x = step_of(file, m, lay)
  if name:find "full_adjoint" then
    local o = m:equilibrium()
    local u = o.fn.prepare(m, file.x)
    info.after = parts.bind(o.fn, m, u, o.damping)(info.backward_values[2])
  end
  -- in double the iteration stands still: what the safeguard decides there is noise
  local still = core.fp64() and name:find("full.anderson.anderson.backprop", 1, true)
  if not run.comparable or still then
    for p, t in m:parameters() do
      check.that(("%s gradient of %s is finite"):format(name, p), biggest(t.grad) < math.huge)
    end
    return
  end
  compare_step(file, m, lay, name, run.tol, z, loss, x)
  local spread = run["rel_residual_dev_above_1e-4"]
  local all = movements(info, true)
  local close = compare_movements(name, all, file[name .. ".rel_residual"], spread)
  local slack = close and 1 or 0
  local dnc, t2c = literal(all, damping)
  check.near(name .. " dnc", dnc, file[name .. ".telemetry.train_dnc"]:item(), slack)
  check.near(name .. " t2c", t2c, file[name .. ".telemetry.train_t2c"]:item(), slack * 40 + 1e-3)
  dnc, t2c = literal(movements(info, false), damping)
  check.near(name .. " test dnc", dnc, file[name .. ".telemetry.test_dnc"]:item(), slack)
  check.near(name .. " test t2c", t2c, file[name .. ".telemetry.test_t2c"]:item(), slack * 40 + 1e-3)
end

-- A network of the file: its weights, and its output where `readout` says.
local function loaded(file, kind, layers, lay, forward, backward, readout)
  local m = network(kind, lay.update, layers, forward, backward, readout)
  m:train()
  load_params(m, lay, function(key) return file["param." .. key] end)
  lay.first = function(l) return kind == "ham" and lay.update == "even_odd" and l // 2 or l end
  lay.out = function(z)
    local last = lay.last
    if readout == "tail" then
      return z[last - 1]:narrow(2, layers[last] - layers[last + 1] + 1, layers[last + 1])
    end
    return z[#z]
  end
  return m
end

local function readout_of(kind, update, run_name)
  local literally = kind == "chn" and update == "even_odd" and not run_name:find "even_readout"
  return literally and "tail" or "output"
end

-- Solvers that may take as long as they like. CHNs have several fixed points, and the file's is that of
-- the smooth flow: small steps find it.
local patient = {
  ham = { picard = {}, anderson = { memory = 10 }, broyden = { memory = 64 } },
  chn = { picard = {} } }

-- The exact fixed point and its gradient, within the tolerance of the run that solves the same equations
-- in 40 * scale iterations; returns the layer, its solution and its spectral radius.
local function compare_exact(file, kind, layers, lay, runs)
  local found = {}
  for name, run in pairs(runs) do
    for solver, extra in pairs(name:match "^exact" and patient[kind] or {}) do
      local o = { solver = solver, max_iter = 3000, tau = 0.5, tol = core.fp64() and 1e-13 or 1e-7, pick = "best" }
      for k, v in pairs(extra) do o[k] = v end
      local back = { method = "ift" }
      for k, v in pairs(o) do back[k] = v end
      local m = loaded(file, kind, layers, lay, o, back, readout_of(kind, lay.update, name))
      local z, _, loss, x = step_of(file, m, lay)
      local tol = runs["full.anderson.anderson.full_adjoint" .. name:sub(#"exact" + 1)].tol
      compare_step(file, m, lay, name, core.fp64() and 2e-5 or tol, z, loss, x)
      found = { m = m, z = z, x = file.x, radius = run.spectral_radius_undamped }
    end
  end
  return found
end

local function hopfield_file(kind, update, layers)
  local name = ("%s_%s_%s"):format(kind, update:gsub("_", ""), table.concat(layers, "-"))
  local file, meta = open(name)
  if not file then return end
  local lay = layout(kind, update, layers)
  local damping = kind == "chn" and update == "one_matrix" and 0.5 or 0
  local n_runs, runs = 0, meta "runs"
  for run_name, run in pairs(runs) do
    local forward, backward, method = run_name:match "^%w+%.(%w+)%.(%w+)%.([%w_]+)"
    if forward and not run.reference_error then
      n_runs = n_runs + 1
      local m = loaded(file, kind, layers, lay, settings(forward, run.fwd_iter),
        settings(backward, run.bwd_iter, { method = method }), readout_of(kind, update, run_name))
      run_one(file, m, lay, run_name, run, damping)
    end
  end
  check.that(name .. " has runs", n_runs >= 5, n_runs .. " found")
  return compare_exact(file, kind, layers, lay, runs)
end

-- The same network under both updates (spec deq 5.3): one fixed point, except for one sample of the deep
-- CHN, which has several; the spectral radius of alternating updates of a HAM is the square of the other.
local function compare_updates(kind, layers, one, two)
  local what = ("%s %s"):format(kind, table.concat(layers, "-"))
  local apart = {}
  for i, part in ipairs(two.z) do
    apart[i] = T.abs(part - one.z[kind == "ham" and 2 * i or i])
  end
  local same = T.lt(T.max(T.cat(apart, 2)), 1e-4):sum():item()
  check.equal(what .. ": samples with one solution", same, kind == "chn" and #layers == 5 and 2 or 3)
  if kind ~= "ham" then return end
  for _, s in ipairs { one, two } do
    local r = deq.spectral_radius(s.m, s.x, s.z, { iterations = 500 })
    s.estimate = T.max(r):item()
    check.near(what .. " spectral radius", s.estimate, s.radius, 0, 1e-3)
  end
  check.near(what .. " squared spectral radius", one.estimate ^ 2, two.estimate, 0, 1e-3)
end

for _, layers in ipairs { { 12, 9, 5 }, { 12, 8, 7, 6, 5 } } do
  for _, kind in ipairs { "ham", "chn" } do
    local one, two = hopfield_file(kind, "one_matrix", layers), hopfield_file(kind, "even_odd", layers)
    if one and two then compare_updates(kind, layers, one, two) end
  end
end

-- ---- trainings ----

-- 12 steps with Madam, the rate of each from the file (stepped every 3), on batches of 3.
local function training(kind, update)
  local name = ("train_%s_%s"):format(kind, update:gsub("_", ""))
  local file, meta = open(name)
  if not file then return end
  local layers = { 12, 9, 5 }
  local lay = layout(kind, update, layers)
  local m = network(kind, update, layers, settings("picard", tonumber(meta "fwd_iter")),
    settings("picard", tonumber(meta "bwd_iter"), { method = "backprop" }), "tail")
  load_params(m, lay, function(key) return file["param0." .. key] end)
  local step = hop.train_step { model = m, optim = optim.madam { lr = 0.01, p_scale = 1024, g_bound = 3 } }
  for i = 1, 12 do
    step.lr = file.lr[i]:item()
    local out = step { x = file.x[i]:detach(), y = file.y[i]:detach() }
    check.near(("%s loss %d"):format(name, i), out.loss, file.loss[i]:item(), 1e-6, 1e-4)
  end
  local function final(key) return file["param_final." .. key] end
  reference.agrees(name .. " U", m.U, final "U", nil, 1e-4)
  for l = 1, lay.last do
    reference.agrees(("%s b.%d"):format(name, l), m["b." .. l], bias_of(lay, final, l), nil, 1e-4)
  end
  for l = 1, lay.last - 1 do
    reference.agrees(("%s W.%d"):format(name, l), m["W." .. l], weight_of(lay, final, l), nil, 1e-4)
  end
end

for _, kind in ipairs { "ham", "chn" } do
  for _, update in ipairs { "one_matrix", "even_odd" } do training(kind, update) end
end

check.done()
