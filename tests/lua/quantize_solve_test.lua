-- Quantized equilibrium models: numbers from the definition (tests/oracle/quantized_ham.py), simulated against
-- executed, ranges over the iterations of a solve, steps of one's own, and what is refused.

local hop = require "hop"
local check = require "check"
local T, nn, deq = hop.T, hop.nn, hop.deq

local function site(q, name)
  for _, s in ipairs(q:sites()) do
    if s.name == name then return s end
  end
  return nil
end

local function names(q)
  local list = {}
  for _, s in ipairs(q:sites()) do list[#list + 1] = s.name end
  return table.concat(list, " ")
end

local function same_bits(what, a, b)
  local x, y = T.reshape(a, { -1 }):table(), T.reshape(b, { -1 }):table()
  local n = 0
  for i = 1, #x do n = n + ((x[i] == y[i] or (x[i] ~= x[i] and y[i] ~= y[i])) and 0 or 1) end
  check.that(what, #x == #y and n == 0, ("%d of %d numbers differ"):format(n, #x))
end

-- ---- from the definition ----

local function rational(n, m, k)
  local rows = {}
  for i = 1, n do
    rows[i] = {}
    for j = 1, m do rows[i][j] = ((i * 37 + j * 11 + i * j * 7 + k * 5) % 43 - 21) / 42 end
  end
  return T.from(rows)
end

local function ham_of(update, layers)
  local m = nn.hopfield { layers = layers, update = update,
    forward = { solver = "picard", max_iter = 10, tol = 0 } }
  local last = #layers - 1
  m.U:set_(rational(layers[1], layers[2], 1))
  for l = 1, last do m["b." .. l]:set_(T.reshape(rational(1, layers[l + 1], 2 + l), { -1 }) / 10) end
  for l = 1, last - 1 do m["W." .. l]:set_(rational(layers[l + 1], layers[l + 2], 10 + l)) end
  return m
end

for _, want in ipairs(require "quantized_ham") do
  local what = ("%s, %d layers: "):format(want.update, #want.layers)
  local m = ham_of(want.update, want.layers)
  local function batch(k)
    return { x = rational(3, want.layers[1], 20 + k) * 2 + 0.5,
      y = rational(3, want.layers[#want.layers], 30 + k) + 0.5 }
  end
  local q = hop.quantize { model = m, outputs = function(v, b) return v:loss(b), (v(b.x)) end }
  check.near(what .. "in float", m:loss(batch(1)):item(), want.float, 1e-6)
  for k = 1, 2 do check.near(what .. "observed", q:observe(batch(k)):item(), want.observed[k], 2e-6) end
  for l = 1, #want.layers do
    local s = site(q, "rho." .. (l - 1))
    check.near(what .. s.name .. " from", s.lo, want.lo[l], 2e-6)
    check.near(what .. s.name .. " to", s.hi, want.hi[l], 2e-6)
  end
  local simulated, executed = q:run(batch(1)), q:execute(batch(1))
  check.near(what .. "simulated", simulated[1]:item(), want.simulated, 2e-6)
  check.near(what .. "executed", executed[1]:item(), want.simulated, 2e-6)
  check.close(what .. "output", T.reshape(executed[2], { -1 }), T.from(want.output), 5e-6)
end

-- ---- simulated and executed ----

hop.seed(3)
local function uniform(...) return T.uniform { shape = { ... } } end

-- Twice observed; loss, iterations and states are the same bits. Returns the quantized model and its loss.
local function agrees(what, model, batch)
  local q = hop.quantize { model = model, outputs = function(v, b)
    local out, info, z = v(b.x)
    return hop.loss.squared_error(out, b.y), info.iterations, z[1], z[#z]
  end }
  q:observe(batch)
  q:observe(batch)
  local s, e = q:run(batch), q:execute(batch)
  for i, part in ipairs { "loss", "iterations", "first part", "last part" } do
    same_bits(what .. ": " .. part, e[i], s[i])
  end
  check.that(what .. ": quantized", s[1]:item() ~= model:loss(batch):item())
  return q, s[1]:item()
end

for _, kind in ipairs { "ham", "chn" } do
  for _, update in ipairs { "even_odd", "one_matrix" } do
    for i, solver in ipairs { "picard", "anderson", "broyden" } do
      local layers = i % 2 == 1 and { 6, 14, 5 } or { 6, 10, 9, 8, 5 }
      local m = nn.hopfield { layers = layers, kind = kind, update = update,
        forward = { solver = solver, tol = 1e-4, max_iter = 20 } }
      agrees(("%s %s %s"):format(kind, update, solver), m, { x = uniform(12, 6), y = uniform(12, 5) })
    end
  end
end
local small = { x = uniform(12, 6), y = uniform(12, 5) }
local ham = nn.hopfield { layers = { 6, 14, 5 }, forward = { tol = 1e-4, max_iter = 20 } }
local q, simulated = agrees("ham", ham, small)
local float = ham:loss(small):item()
check.near("near the float one", simulated, float, 0.02 * float)
check.equal("a matrix has one quantizer for both ways", names(q), "rho.0 U rho.2 W.1 rho.1")
local _, values = q:execute(small)
check.close("what enters the solve", values["rho.0"], T.sigmoid(small.x * 4 - 2), site(q, "rho.0").scale)
local wide = nn.hopfield { layers = { 6, 10, 9, 8, 5 }, update = "one_matrix", small_world = 0.3,
  forward = { max_iter = 12 } }
q = agrees("further connections", wide, small)
check.that("they are quantized", site(q, "W.1.3") ~= nil and site(q, "W.1.3").bits == 8)
for what, o in pairs { ["4 bits"] = { weight_bits = 4, act_bits = 4 }, ["per channel"] = { per_channel = true },
  percentile = { percentile = 99 }, ["one left out"] = { skip = { "rho.1" } },
  ["weights alone"] = { acts = false }, ["activations alone"] = { weights = false },
  ["16 bits"] = { act_bits = 16 }, symmetric = { act_scheme = "symmetric" } } do
  o.model, o.outputs = ham, function(v, b) return v:loss(b) end
  local r = hop.quantize(o)
  r:observe(small)
  local s, e = r:run(small)[1]:item(), r:execute(small)[1]:item()
  check.near(what, e, s, 0, 1e-3)
  check.near(what .. ": near float", s, float, (what == "4 bits" and 0.3 or 0.02) * float)
end

-- per operator: after one evaluation, codes of what it gives
do
  local m = nn.hopfield { layers = { 60, 400, 50 }, update = "one_matrix",
    forward = { solver = "picard", max_iter = 1, tol = 0 } }
  local batch = { x = uniform(32, 60), y = uniform(32, 50) }
  local r = hop.quantize { model = m, outputs = function(v, b)
    local _, _, z = v(b.x)
    return v:loss(b), z[1], z[2]
  end }
  r:observe(batch)
  local s, e = r:run(batch), r:execute(batch)
  for l = 1, 2 do
    local scale = 1 / 255 -- of an activation that fills 0 to 1
    local function codes(z) return T.floor(T.sigmoid(z * 4 - 2) / scale + 0.5) end
    local d = T.reshape(T.abs(codes(s[l + 1]) - codes(e[l + 1])), { -1 })
    check.that("codes of layer " .. l, d:sum():item() <= math.max(1, 1e-4 * d:numel()) and d:max():item() <= 1,
      d:sum():item())
  end
end

-- samples that are done leave the batch: others do not know
do
  local many = { x = uniform(24, 6) * 3 - 1, y = uniform(24, 5) }
  local m = nn.hopfield { layers = { 6, 14, 5 }, forward = { tol = 1e-3, max_iter = 30 } }
  local r = hop.quantize { model = m, outputs = function(v, b)
    local out, info = v(b.x)
    return hop.loss.squared_error(out, b.y), out, info.iterations
  end }
  r:observe(many)
  for _, how in ipairs { "run", "execute" } do
    local whole = r[how](r, many)
    local n = whole[3]:table()
    check.that("some take longer: " .. how, math.max(table.unpack(n)) - math.min(table.unpack(n)) >= 3)
    for _, i in ipairs { 1, 9, 24 } do
      local alone = r[how](r, { x = many.x:narrow(1, i, 1), y = many.y:narrow(1, i, 1) })
      same_bits(("sample %d: %s"):format(i, how), whole[2]:narrow(1, i, 1), alone[2])
    end
  end
end

-- ---- ranges ----

-- z <- 1 - 0.9 z, from 0: 0, 1, 0.1, 0.91 … to 1 / 1.9
local function swinging(n, tol)
  local cell = deq.fn { params = function(p) p.W = p:zeros { 2, 2 } end,
    step = function(p, z, u) return z:matmul(p.W) + u end }
  local m = nn.module { name = "swing", params = function(p)
      p.core = deq.layer { fn = cell, state = { 2 }, forward = { solver = "picard", max_iter = n, tol = tol or 0 } }
    end,
    quantization = function() return {} end } {}
  m.core.W:set_(T.from { { -0.9, 0 }, { 0, -0.9 } })
  return m
end
local function range_of(m, batches, o)
  o = o or {}
  o.model, o.weights, o.act_bits = m, false, 16
  o.outputs = function(v, b) return T.sum((v.core(b.x))) end
  local r = hop.quantize(o)
  for _, x in ipairs(batches) do r:observe { x = x } end
  local s = site(r, "core.W.in")
  return s.lo, s.hi
end
local ones, halves = T.ones { 3, 2 }, T.ones { 3, 2 } / 2
local lo, hi = range_of(swinging(40), { ones })
check.near("extremes of all iterations, not of the solution", hi, 1, 1e-4)
check.equal("and of the start", lo, 0)
check.near("however many there are", select(2, range_of(swinging(4), { ones })), hi, 1e-4)
check.near("a solve is one batch", select(2, range_of(swinging(40), { ones, halves })), 0.95, 1e-4)
check.near("percentiles, too", select(2, range_of(swinging(40), { ones, halves }, { percentile = 100 })), 0.95, 1e-4)
local mixed = T.from { { 1, 1 }, { 0.01, 0 }, { 0, 0 }, { 0.5, 0.2 }, { 0, 0 } }
check.near("samples that are done early", select(2, range_of(swinging(60, 1e-3), { mixed })), 1, 1e-4)
check.near("batches of another size go on", select(2, range_of(swinging(9), { ones, T.ones { 1, 2 } / 2 })), 0.95, 1e-4)
check.raises("a search over iterations", "running_minmax", range_of, swinging(4), { ones }, { act_range = "mse_grid" })

-- ---- a step of one's own ----

local own = nn.module { name = "own", params = function(p)
    p.core = deq.layer { state = { 7 }, forward = { tol = 1e-3, max_iter = 15 }, fn = deq.fn {
      params = function(c)
        c.U, c.V = c:normal({ 6, 7 }, { std = 0.3 }), c:normal({ 7, 7 }, { std = 0.2 })
        c.mix, c.free = nn.linear(7, 7, { std = 0.1, act = "relu" }), c:normal({ 7, 7 }, { std = 0.1 })
      end,
      prepare = function(c, x) return x:matmul(c.U) end,
      step = function(c, z, u)
        return T.tanh(u + z:matmul(c.V:t()) + T.tanh(z):matmul(c.V) + c.mix(z) + z:matmul(c.free * 2))
      end } }
    p.head = nn.linear(7, 5)
  end,
  loss = function(p, b)
    local z, info = p.core(b.x)
    return hop.loss.squared_error(p.head(z), b.y), deq.metrics(info)
  end,
  quantization = function() return { in_float = { "head." } } end } {}
local r = hop.quantize { model = own }
local observed = r:observe(small):item()
check.near("a step of one's own", observed, own:loss(small):item(), 0.02)
check.equal("its quantizers: what a weight is made from is none", names(r),
  "core.U.in core.U core.V.in core.V core.V.in#2 core.mix.weight")
same_bits("executed", r:execute(small)[1], r:run(small)[1])

-- ---- numbers that are none ----

local broken = nn.hopfield { layers = { 6, 14, 5 }, forward = { max_iter = 8 } }
broken["b.1"]:set_(T.ones { 14 } / 0 - T.ones { 14 } / 0)
local nan = hop.quantize { model = broken }
for _ = 1, 2 do check.raises("NaN in a solve", "quantizer of 'rho.1'", nan.observe, nan, small) end
local late = swinging(60)
late.core.W:set_(T.from { { 0, -1e8 }, { 1e8, 0 } }) -- infinite after five evaluations
check.raises("infinite after some evaluations", "quantizer of 'core.W.in', batch 1", range_of, late, { ones })
local rows = hop.quantize { model = ham, outputs = function(v, b) return v:loss(b), (v(b.x)) end }
rows:observe(small)
local x = small.x:table()
x[1][1] = 0 / 0
local whole, spoilt = rows:execute(small)[2], rows:execute { x = T.from(x), y = small.y }[2]
check.that("a sample of NaN is NaN", T.reshape(spoilt:narrow(1, 1, 1), { -1 }):table()[1] ~=
  T.reshape(spoilt:narrow(1, 1, 1), { -1 }):table()[1])
same_bits("and the others are as they were", spoilt:narrow(1, 2, 11), whole:narrow(1, 2, 11))

check.done()
