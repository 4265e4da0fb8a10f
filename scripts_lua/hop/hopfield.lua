-- Hopfield networks as deep equilibrium models (arXiv 2311.15673; spec: deq 5): hierarchical
-- associative memories (HAM) and continuous Hopfield networks (CHN), updated all layers at once or odd
-- and even layers in turn. Weights are the blocks between layers, so both updates share parameters.

local core, api, hop = ...
local T, modules, deq = hop.T, hop.modules, hop.deq_parts

-- spec 5: sigmoid(4 (v - 1/2)); of layer l, 0 is the input: quantizers are called after it
local function rho(v, l)
  local r = T.sigmoid(v * 4 - 2)
  return l and core.label(r, "rho." .. l) or r
end
local function slope(r) return r * (1 - r) * 4 end -- rho' in terms of rho

-- ---- parameters ----

local function xavier(p, n, m) return p:uniform({ n, m }, { bound = math.sqrt(6 / (n + m)) }) end

local function update_of(o) return o.update == "even_odd" and 2 or 1 end

-- Pairs of layers k < l that may be connected beyond the chain (spec 5.6): any two when all are
-- updated at once, one even and one odd when they alternate.
local function small_world_pairs(o)
  local pairs_of, last = {}, #o.layers - 1
  for k = 1, last do
    for l = k + 1, last do
      if o.update == "one_matrix" or (k + l) % 2 == 1 then pairs_of[#pairs_of + 1] = { k, l } end
    end
  end
  return pairs_of
end

-- With probability o.small_world an entry is drawn anew from ±sqrt(3/N) and connected; others keep what
-- `weight` has.
local function rewire(p, o, weight, n, m, chained)
  local total = 0
  for l = 2, #o.layers do total = total + o.layers[l] end
  local bound = math.sqrt(3 / (o.update == "one_matrix" and total or total / 2))
  local new, chosen = p:uniform({ n, m }, { bound = bound }), p:uniform({ n, m }, { bound = 1 })
  local take = T.lt(chosen, 2 * o.small_world - 1)
  weight:set_(T.where(take, new, chained and weight or T.zeros { n, m }))
end

local function make_params(p, o)
  local n = table.move(o.layers, 2, #o.layers, 1, {})
  p.U = xavier(p, o.layers[1], n[1])
  for l = 1, #n do p["b." .. l] = p:normal({ n[l] }, { std = 0.01 }) end
  for l = 1, #n - 1 do p["W." .. l] = xavier(p, n[l], n[l + 1]) end
  if o.small_world == 0 then return end
  for _, kl in ipairs(small_world_pairs(o)) do
    local k, l = kl[1], kl[2]
    local chained = l == k + 1
    local name = chained and "W." .. k or ("W.%d.%d"):format(k, l)
    if not chained then p[name] = p:zeros { n[k], n[l] } end
    rewire(p, o, p[name], n[k], n[l], chained)
  end
end

-- ---- what a layer receives ----

-- A weight whose zeros are no connections: they stay zero, whatever the optimiser.
local function sparse(w)
  return w * hop.no_grad(function() return 1 - T.eq(w, 0) end)
end

-- The product of r, the activations of layer `from`, with the weights to layer `to`.
local function through(p, r, from, to)
  local k, l = math.min(from, to), math.max(from, to)
  local w = l == k + 1 and p["W." .. k] or sparse(p[("W.%d.%d"):format(k, l)])
  return T.matmul(r, w, { tb = from > to })
end

local function is_connected(o, k, l)
  if math.abs(k - l) == 1 then return true end
  return k ~= l and o.small_world > 0 and (o.update == "one_matrix" or (k + l) % 2 == 1)
end

-- u[l] plus what the connected layers send; r: activations by layer, of those that are known
local function receive(p, o, u, r, l)
  local sum = u[l]
  for k = 1, #o.layers - 1 do
    if r[k] and is_connected(o, k, l) then sum = sum + through(p, r[k], k, l) end
  end
  return sum
end

-- Biases for each sample, with the input's part in the first layer.
local function prepare(p, x)
  local o, u = modules.options(p), {}
  for l = 1, #o.layers - 1 do u[l] = T.expand(p["b." .. l], { x:size(1), o.layers[l + 1] }) end
  u[1] = u[1] + T.matmul(rho(x, 0), p.U)
  return u
end

-- ---- steps ----

local function activations(s)
  local r = {}
  for l, v in pairs(s) do r[l] = rho(v, l) end
  return r
end

local steps = {}

function steps.one_matrix_ham(p, s, u)
  local o, r, new = modules.options(p), activations(s), {}
  for l = 1, #s do new[l] = receive(p, o, u, r, l) end
  return new
end

function steps.one_matrix_chn(p, s, u)
  local o, r, new = modules.options(p), activations(s), {}
  for l = 1, #s do new[l] = slope(r[l]) * receive(p, o, u, r, l) end
  return new
end

-- The state is that of the even layers; odd ones are its function.
function steps.even_odd_ham(p, s, u)
  local o, r, h, new = modules.options(p), {}, {}, {}
  for i = 1, #s do r[2 * i] = rho(s[i], 2 * i) end
  for l = 1, #o.layers - 1, 2 do h[l] = rho(receive(p, o, u, r, l), l) end
  for i = 1, #s do new[i] = receive(p, o, u, h, 2 * i) end
  return new
end

local inner_steps, inner_rate = 10, 0.5 -- constants of the method (spec 5.2)

local function relax(s, c)
  for _ = 1, inner_steps do s = s * (1 - inner_rate) + slope(rho(s)) * c * inner_rate end
  return s
end

function steps.even_odd_chn(p, s, u)
  local o, new = modules.options(p), {}
  for first = 1, 2 do -- odd layers, then even ones
    local r = {}
    for l = 3 - first, #s, 2 do r[l] = rho(new[l] or s[l], l) end
    for l = first, #s, 2 do new[l] = relax(s[l], receive(p, o, u, r, l)) end
  end
  return new
end

-- States by layer: where the solve keeps the even ones alone, odd layers are what they receive.
local function by_layer(p, o, s, u)
  if o.kind ~= "ham" or o.update ~= "even_odd" then return s end
  local all, r = {}, {}
  for i = 1, #s do all[2 * i], r[2 * i] = s[i], rho(s[i]) end
  for l = 1, #o.layers - 1, 2 do all[l] = receive(p, o, u, r, l) end
  return all
end

-- Energy of each sample (spec 5.3): steps with one matrix follow its slope.
local function energy(p, z, u)
  local o = modules.options(p)
  local s = by_layer(p, o, deq.pack(z), u)
  local r, total = activations(s), 0
  for l = 1, #s do
    local own
    if o.kind == "ham" then
      local x = s[l] * 4 - 2 -- log(1 + exp(x)) without overflow
      own = (s[l] - u[l]) * r[l] - (T.maximum(x, 0) + T.log(T.exp(-T.abs(x)) + 1)) * 0.25
    else
      own = s[l] * s[l] * 0.5 - u[l] * r[l]
    end
    total = own:sum(2) + total
    for k = 1, l - 1 do
      if is_connected(o, k, l) then total = total - (through(p, r[k], k, l) * r[l]):sum(2) end
    end
  end
  return total
end

-- ---- the model ----

local function check(o)
  local n = #o.layers
  if n < 3 then api.fail("nn.hopfield", "'layers' needs an input, a hidden and an output layer") end
  for _, size in ipairs(o.layers) do
    if math.type(size) ~= "integer" or size < 1 then
      api.fail("nn.hopfield", "'layers' lists sizes, for example { 784, 1990, 10 }")
    end
  end
  if o.update == "even_odd" and n % 2 == 0 then
    api.fail("nn.hopfield", ("even-odd updates need an odd number of layers, not %d"):format(n),
      "input and output are both even; update = \"one_matrix\" takes any number")
  end
end

-- 1, 2, 3 for 3, 5, 7 layers, twice that with damping 1/2 (spec 9): solves take so many times longer
local function iteration_scale(o) return math.floor((#o.layers // 2) / (1 - o.damping)) end

local function complete(o)
  check(o)
  if not o.damping then o.damping = o.kind == "chn" and o.update == "one_matrix" and 0.5 or 0 end
  local scale = iteration_scale(o)
  o.forward.max_iter = o.forward.max_iter or 40 * scale
  o.backward.max_iter = o.backward.max_iter or 8 * scale
  for _, s in ipairs { o.forward, o.backward } do
    if s.solver == "anderson" then s.memory = s.memory or 4 end -- of spec 2.3, like its ridge
  end
  local state = {}
  for l = update_of(o), #o.layers - 1, o.kind == "ham" and update_of(o) or 1 do
    state[#state + 1] = { o.layers[l + 1] }
  end
  if o.kind == "chn" and o.update == "even_odd" then table.insert(state, 1, { o.layers[2] }) end
  local f = steps[o.update .. "_" .. o.kind]
  local step = function(p, s, u) return f(p, deq.pack(s), u) end -- one part comes as itself
  return { fn = { prepare = prepare, step = step, energy = energy }, state = state, init = "zeros",
    forward = o.forward, backward = o.backward, damping = o.damping }
end

-- Columns of the solution that are compared with the target.
local function readout(o, z)
  local last = #o.layers - 1
  if o.readout == "tail" and o.kind == "chn" and o.update == "even_odd" then
    return z[last - 1]:narrow(2, o.layers[last] - o.layers[last + 1] + 1, o.layers[last + 1])
  end
  return z[#z]
end

local function forward(p, x)
  local o = modules.options(p)
  local z, info = deq.solve_layer(p, complete(o), x)
  return readout(o, z), info, z
end

local function loss(p, batch)
  local o = modules.options(p)
  local out, info = forward(p, batch.x)
  local l = hop.loss.squared_error(out, batch.y) -- spec 3
  local metrics = { accuracy = hop.accuracy(out, batch.y) }
  local record = { damping = o.damping, radius = o.radius_steps, energy = o.record_energy, state = o.record_states }
  for name, v in pairs(hop.deq.metrics(info, record)) do metrics[name] = v end
  return l, metrics
end

local no_default = { max_iter = true }
local function without_defaults(list, changes)
  local out = {}
  for i, a in ipairs(list) do
    out[i] = {}
    for k, v in pairs(a) do out[i][k] = v end
    if no_default[a[1]] then
      out[i].default, out[i].doc = nil, out[i].doc .. "; default from the depth"
    elseif changes[a[1]] ~= nil then
      out[i].default = changes[a[1]]
    end
  end
  return out
end

modules.define { name = "nn.hopfield",
  doc = "Deep-equilibrium Hopfield network (arXiv 2311.15673): kind \"ham\" or \"chn\", updated \"even_odd\" or " ..
    "all layers at once. model(x) gives the output layer, the solve's report and all layers; " ..
    "model:loss{ x=, y= } half the squared error per sample.",
  example = 'nn.hopfield { layers = { 784, 1990, 10 }, kind = "ham", update = "even_odd" }',
  options = {
    { "layers", "table", required = true, doc = "sizes: input, hidden…, output" },
    { "kind", "string", default = "ham", choices = { "ham", "chn" }, doc = "hierarchical memory or continuous" },
    { "update", "string", default = "even_odd", choices = { "even_odd", "one_matrix" }, doc = "order of updates" },
    { "damping", "number", min = 0, max = 0.999999, doc = "default 0.5 for chn with one_matrix, else 0" },
    { "small_world", "number", default = 0, min = 0, max = 1, doc = "probability of further connections" },
    { "readout", "string", default = "output", choices = { "output", "tail" },
      doc = "tail: the last columns of the odd layers for chn with even_odd, as the paper's code has it" },
    { "radius_steps", "integer", default = 20, min = 0,
      doc = "power iterations for deq/spectral_radius on watched steps; 0: none" },
    { "record_energy", "boolean", default = false,
      doc = "on watched steps the energy along a solve, which takes another one" },
    { "record_states", "integer", default = 0, min = 0, max = 64,
      doc = "on watched steps the states of so many samples" },
    { "forward", "table", options = without_defaults(deq.forward_options, { relative = false }) },
    { "backward", "table", options = without_defaults(deq.backward_options,
      { method = "backprop", relative = false }) } },
  def = { params = function(p, o)
      complete(o)
      make_params(p, o)
    end,
    forward = forward, loss = loss,
    equilibrium = function(p) return complete(modules.options(p)) end,
    energy = function(p, x, z) return energy(p, z, prepare(p, x)) end,
    quantization = function() return {} end, -- biases and states are float anyway: no product has them
    outliers = function() return { all = ".", kurtosis = "." } end } }
