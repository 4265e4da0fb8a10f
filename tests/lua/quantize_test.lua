-- Quantized models in scripts: what the quantizers are, recipes, and what is refused. The numbers of the
-- reference are in tests/golden/quantization.lua.

local hop = require "hop"
local check = require "check"
local T, nn = hop.T, hop.nn

hop.seed(5)
local function model(more)
  local o = { layers = 1, width = 16, heads = 2, vocab = 9, max_len = 8, dropout = 0 }
  for k, v in pairs(more or {}) do o[k] = v end
  return nn.opt(o)
end
local ids = T.from({ { 4, 5, 6, 7 }, { 1, 2, 3, 8 } }, { dtype = "i32" })
local labels = T.from({ { 5, 6, 7, -100 }, { 2, 3, 8, -100 } }, { dtype = "i32" })
local batch = { ids = ids, labels = labels }

local function site(q, name)
  for _, s in ipairs(q:sites()) do
    if s.name == name then return s end
  end
  return nil
end

-- ---- places and codes ----

local m = model()
local q = hop.quantize { model = m }
local loss = q:observe(batch):item()
local float = m:loss(batch):item()
check.that("already quantized while it is observed", loss ~= float and math.abs(loss - float) < 0.05, loss)
check.equal("quantizers", #q:sites(), 11 + 15)
local out, at = q:run(batch)
check.near("one batch: the same ranges", out[1]:item(), loss, 1e-6)
check.equal("scores of two heads", table.concat(at["model.decoder.layers.0.self_attn.scores"]:size(), "x"), "2x2x4x4")
local relu = site(q, "model.decoder.layers.0.fc1")
check.equal("ReLU: zero point", relu.zero_point, 0)
check.equal("a gain without negative numbers: codes", site(q, "model.decoder.final_layer_norm.weight").code_min, 0)
local probs = T.reshape(at["model.decoder.layers.0.self_attn.probs"], { -1 }):table()
local scale = site(q, "model.decoder.layers.0.self_attn.probs").scale
for _, p in ipairs(probs) do
  local code = p / scale
  if math.abs(code - math.floor(code + 0.5)) > 1e-4 then check.that("on the grid", false, p) end
end
check.near("a running average", (function()
  local other = { ids = T.from({ { 8, 8, 8, 8 }, { 1, 1, 1, 1 } }, { dtype = "i32" }), labels = labels }
  local before = site(q, "model.decoder.layers.0.fc2").hi
  q:observe(other)
  local now = hop.quantize { model = m }
  now:observe(other)
  return site(q, "model.decoder.layers.0.fc2").hi - (0.9 * before + 0.1 * site(now, "model.decoder.layers.0.fc2").hi)
end)(), 0, 2e-3)

-- ---- recipes ----

local function sites_on(o)
  o.model = m
  local r = hop.quantize(o)
  r:observe(batch)
  local n = { weight = 0, act = 0 }
  for _, s in ipairs(r:sites()) do
    if s.on then n[s.role] = n[s.role] + 1 end
  end
  return ("%d %d"):format(n.weight, n.act)
end
check.equal("all", sites_on {}, "11 15")
check.equal("no weights", sites_on { weights = false }, "0 15")
check.equal("no activations", sites_on { acts = false }, "11 0")
check.equal("with the head", sites_on { setup = "all" }, "11 16")
check.equal("one left out", sites_on { skip = { "model.decoder.layers.0.fc2" } }, "11 14")
local norms = hop.quantize { model = m, setup = "fp32_head+int16_final_LN" }
norms:observe(batch)
check.equal("16 bits of the last norm", site(norms, "model.decoder.final_layer_norm").bits, 16)
check.equal("8 of others", site(norms, "model.decoder.layers.0.final_layer_norm").bits, 8)
local gated = hop.quantize { model = model { attention = { method = "gated_outeffhop" } } }
gated:observe(batch)
check.that("a gate stays in float", site(gated, "model.decoder.layers.0.self_attn.alpha.0.weight") == nil)

-- ---- executed; a vision transformer ----

local head = hop.quantize { model = m, setup = "all" }
head:observe(batch)
check.near("the head in integers", head:execute(batch)[1]:item(), head:run(batch)[1]:item(), 1e-5)
check.near("in integers", q:execute(batch)[1]:item(), q:run(batch)[1]:item(), 1e-5)
local function same_executed(what, o)
  local r = hop.quantize(o)
  r:observe(batch)
  local simulated, executed = r:run(batch)[1]:item(), r:execute(batch)[1]:item()
  check.near(what, executed, simulated, 1e-4 * simulated)
end
same_executed("symmetric activations", { model = m, act_scheme = "symmetric" })
local positive = model()
for name, t in positive:parameters() do -- codes from 0 on
  if name:find "fc1.weight" then t:set_(T.abs(t)) end
end
same_executed("weights without a sign", { model = positive })
same_executed("both", { model = positive, act_scheme = "symmetric", per_channel = true })
local vit = hop.quantize { model = nn.vit { image = { 1, 8, 8 }, patch = 4, layers = 1, width = 16, heads = 2,
  classes = 3 }, outputs = function(v, b) return T.cross_entropy(v(b.x), b.y) end }
local pictures = { x = T.sigmoid(T.reshape(T.arange(1, 256), { 4, 64 }) * 0.1 - 10),
  y = T.from({ 0, 1, 2, 0 }, { dtype = "i32" }) }
vit:observe(pictures)
local vit_out, vit_at = vit:run(pictures)
check.equal("quantizers of a ViT", #vit:sites(), 9 + 14)
check.near("its loss in integers", vit:execute(pictures)[1]:item(), vit_out[1]:item(), 1e-5)
check.that("GELU before the quantizer", T.reshape(vit_at["blocks.0.mlp.fc1"], { -1 }):max():item() >= 0 and
  site(vit, "blocks.0.mlp.fc1").lo > -0.2)
check.that("the head stays in float", site(vit, "head") == nil)

-- ---- batches of other sizes, layers used twice, a head with an activation ----

local one = { ids = ids:narrow(1, 1, 1), labels = labels:narrow(1, 1, 1) }
local both = hop.quantize { model = m }
both:observe(batch)
local first = site(both, "model.decoder.layers.0.fc2").hi
both:observe(one)
local alone = hop.quantize { model = m }
alone:observe(one)
check.near("the average goes on in batches of another size", site(both, "model.decoder.layers.0.fc2").hi,
  0.9 * first + 0.1 * site(alone, "model.decoder.layers.0.fc2").hi, 2e-3 * first)

local twice = nn.module { name = "twice", params = function(p) p.a, p.e = nn.linear(4, 4), nn.embedding(6, 4) end,
  forward = function(p, i, act) return T.linear(p.a(p.a(p.e(i))), p.e.weight, nil, { act = act }) end,
  quantization = function() return {} end } {}
local small = { i = T.from({ 1, 2, 3, 5 }, { dtype = "i32" }), y = T.from({ 0, 1, 2, 3 }, { dtype = "i32" }) }
local w = hop.quantize { model = twice, setup = "all", outputs = function(v, b)
  return T.cross_entropy(v(b.i, "relu"), b.y)
end }
check.raises("before a batch", "observe a batch first", w.run, w, small)
w:observe(small)
check.that("the second of two", site(w, "a") ~= nil and site(w, "a#2") ~= nil)
check.near("a head's activation", w:run(small)[1]:item(), T.cross_entropy(twice(small.i, "relu"), small.y):item(), 0.05)
check.near("and in integers", w:execute(small)[1]:item(), w:run(small)[1]:item(), 1e-4)

-- ---- refused ----

check.raises("1 bit", "weight_bits", hop.quantize, { model = m, weight_bits = 1 })
check.raises("no such setup", "unknown choice", hop.quantize, { model = m, setup = "fp32" })
local unknown = hop.quantize { model = m, skip = { "model.decoder.layers.9.fc2" } }
check.raises("a name that is none", "model.decoder.layers.9.fc2", unknown.observe, unknown, batch)
local plain = nn.module { name = "plain", params = function(p) p.w = nn.linear(4, 4) end,
  forward = function(p, x) return p.w(x) end } {}
check.equal("and then no quantizers", #unknown:sites(), 0)
check.raises("percentiles of least error", "running_minmax", hop.quantize,
  { model = m, percentile = 99, act_range = "mse" })
check.raises("no loss", "no outputs", hop.quantize, { model = nn.module { name = "n", params = function(p)
  p.w = nn.linear(2, 2) end, forward = function(p, x) return p.w(x) end, quantization = function() return {} end } {} })
local nothing = nn.module { name = "nothing", params = function(p) p.w = p:zeros { 2 } end,
  forward = function(p, x) return x * p.w end, quantization = function() return {} end } {}
local none = hop.quantize { model = nothing, outputs = function(v, b) return T.sum(v(b.x)) end }
check.raises("nothing to quantize", "nothing to quantize", none.observe, none, { x = T.ones { 3, 2 } })
check.raises("a model that does not say", "may be quantized", hop.quantize, { model = plain,
  outputs = function(v, b) return T.sum(v(b.x)) end })
check.raises("a batch without a tensor", "labels", function() q:run { ids = ids } end)

local broken = model()
broken["model.decoder.layers.0"].fc1.weight:set_(T.zeros { 64, 16 } / 0)
local nan = hop.quantize { model = broken }
for _ = 1, 2 do
  check.raises("a weight that is no number", "quantizing 'model.decoder.layers.0.fc1.weight'", nan.observe, nan, batch)
end
broken = model()
broken["model.decoder.layers.0"].fc1.bias:set_(T.ones { 64 } / 0)
nan = hop.quantize { model = broken }
check.raises("an activation that is none", "quantizer of 'model.decoder.layers.0.fc1'", nan.observe, nan, batch)

local constant = model()
constant["model.decoder.layers.0"].fc1.weight:set_(T.zeros { 64, 16 })
constant["model.decoder.layers.0"].fc1.bias:set_(T.zeros { 64 })
local c = hop.quantize { model = constant }
c:observe(batch)
local values, values_at = c:run(batch)
check.that("a constant activation: a loss", values[1]:item() == values[1]:item())
check.equal("and zeros", T.reshape(T.abs(values_at["model.decoder.layers.0.fc1"]), { -1 }):max():item(), 0)

check.done()
