-- Reference numbers of tests/golden/deq (its README: seeds, definitions, tolerances): Hopfield networks
-- under every solver and gradient method, trainings of 12 steps, a tanh layer against torchdeq, its
-- regularisers. Run as: hoplab lua tests/golden/deq.lua DIR

local hop = require "hop"
local check = require "check"
local core = require "hop.core"
local T, nn = hop.T, hop.nn
core.training(true) -- gradients are recorded
local dir = arg[1]

local function open(name)
  local path = dir .. "/" .. name .. ".safetensors"
  local f = io.open(path)
  if not f then
    check.skip(name, "not in " .. dir)
    return nil
  end
  f:close()
  return hop.load(path), function(key) return hop.metadata(path, key) end
end
if not open "ham_evenodd_12-9-5" then hop.exit(77) end

local function biggest(t) return T.max(T.reshape(T.abs(t), { -1 })):item() end

-- The README's error: the largest difference over the largest value; against the plain or the float64
-- numbers, whichever is nearer.
local function agrees(what, got, file, name, tol)
  local plain = file[name]
  local wide = file[name:gsub("^(.*)%.([^.]*)$", "%1.f64.%2")] or
    file[name:gsub("%.grad%.", ".f64.grad.")] or plain
  got = T.reshape(got, plain:size())
  local e = math.min(biggest(got - plain) / biggest(plain), biggest(got - wide) / biggest(wide))
  check.that(what .. " " .. name, e <= tol, ("error %.3g, allowed %.3g"):format(e, tol))
end

local function finite(what, t) check.that(what .. " is finite", biggest(t) < math.huge, "it is not") end

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

local function run_one(file, m, lay, name, run, damping)
  local method = name:match "full_adjoint" or "backprop"
  local x = file.x:detach():require_grad()
  m:zero_grad()
  local z, info = parts.solve_layer(m, m:equilibrium(), x)
  local out = lay.out(z)
  local loss = T.square(out - file.y):sum() * (0.5 / 3)
  loss:backward()
  info.z = z
  if method == "full_adjoint" then
    local o = m:equilibrium()
    local u = o.fn.prepare(m, file.x)
    info.after = parts.bind(o.fn, m, u, o.damping)(info.backward_values[2])
  end
  if not run.comparable then
    finite(name .. " U", m.U.grad)
    return
  end
  agrees("", in_file_order(lay, z), file, name .. ".z_star", run.tol)
  agrees("", loss, file, name .. ".loss", run.tol)
  agrees("", x.grad, file, name .. ".grad.x", run.tol)
  agrees("", m.U.grad, file, name .. ".grad.U", run.tol)
  local function grad(suffix) return function(key) return file[name .. suffix .. key] end end
  local half = lay.update == "one_matrix" and 0.5 or 1 -- the file's blocks carry half the tied gradient
  local wide = {}
  for l = 1, lay.last do
    wide[#wide + 1] = { "b." .. l, 1, function(get) return bias_of(lay, get, l) end, "b" }
  end
  for l = 1, lay.last - 1 do
    wide[#wide + 1] = { "W." .. l, half, function(get) return weight_of(lay, get, l) end, "W" }
  end
  local scale = { W = biggest(file[name .. ".grad.W"]) }
  scale.b = file[name .. ".grad.b"] and biggest(file[name .. ".grad.b"])
  for _, w in ipairs(wide) do
    local got = m[w[1]].grad * w[2]
    local plain, other = w[3](grad ".grad."), w[3](grad ".f64.grad.")
    local size = scale[w[4]] or biggest(plain)
    local e = math.min(biggest(got - plain), biggest(got - other)) / size
    check.that(("%s grad %s"):format(name, w[1]), e <= run.tol,
      ("error %.3g, allowed %.3g"):format(e, run.tol))
  end
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

local function hopfield_file(kind, update, layers)
  local name = ("%s_%s_%s"):format(kind, update:gsub("_", ""), table.concat(layers, "-"))
  name = name:gsub("onematrix", "onematrix")
  local file, meta = open(name)
  if not file then return end
  local lay = layout(kind, update, layers)
  local damping = kind == "chn" and update == "one_matrix" and 0.5 or 0
  local n_runs = 0
  for run_name, run in pairs(meta "runs") do
    local forward, backward, method = run_name:match "^%w+%.(%w+)%.(%w+)%.([%w_]+)"
    if forward and not run.reference_error then
      n_runs = n_runs + 1
      local readout = kind == "chn" and update == "even_odd" and not run_name:find "even_readout" and
        "tail" or "output"
      local m = network(kind, update, layers, settings(forward, run.fwd_iter),
        settings(backward, run.bwd_iter, { method = method }), readout)
      m:train()
      load_params(m, lay, function(key) return file["param." .. key] end)
      lay.first = function(l) return kind == "ham" and update == "even_odd" and l // 2 or l end
      lay.out = function(z)
        local last = lay.last
        if readout == "tail" then
          return z[last - 1]:narrow(2, layers[last] - layers[last + 1] + 1, layers[last + 1])
        end
        return z[#z]
      end
      run_one(file, m, lay, run_name, run, damping)
    end
  end
  check.that(name .. " has runs", n_runs >= 5, n_runs .. " found")
end

for _, layers in ipairs { { 12, 9, 5 }, { 12, 8, 7, 6, 5 } } do
  for _, kind in ipairs { "ham", "chn" } do
    for _, update in ipairs { "one_matrix", "even_odd" } do hopfield_file(kind, update, layers) end
  end
end

check.done()
