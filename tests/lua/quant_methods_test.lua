-- Methods of quantization that are not static, against the papers' formulas in numpy and torch
-- (tests/oracle/quant_methods.py), and what must hold of each whatever the numbers.
-- Run as: hoplab lua tests/lua/quant_methods_test.lua DIR, where DIR has methods.safetensors

local hop = require "hop"
local check = require "check"
local T, nn = hop.T, hop.nn
local golden = hop.load(arg[1] .. "/methods.safetensors")

local function outputs(m, batch)
  local y = m(batch.x)
  return T.sum(y), y
end
local layer = nn.module { name = "layer", params = function(p) p.a = nn.linear(20, 6, { bias = false }) end,
  forward = function(p, x) return p.a(x) end, quantization = function() return {} end } {}
layer.a.weight:set_(golden.w)
local batch = { x = golden.x }

local function quantized(o)
  o.model, o.outputs = o.model or layer, o.outputs or outputs
  return hop.quantize(o)
end
local function output(o, calibrate)
  local q = quantized(o)
  if calibrate then calibrate(q) end
  local out = q:run(batch)
  return out[2], q
end
local function inputs(q)
  q:inputs { x = golden.x:narrow(1, 1, 40) } -- sums go on over batches of other sizes
  q:inputs { x = golden.x:narrow(1, 41, 8) }
end
local function error_of(y)
  local d = y - layer(golden.x)
  return T.sum(d * d):item()
end

-- ---- the papers' numbers: a code of another value would be off by a hundred times the tolerance ----

local groups = { group = 8, group_bits = 4 }
local function with(o, more)
  local all = {}
  for k, v in pairs(more or {}) do all[k] = v end
  for k, v in pairs(o) do all[k] = v end
  return all
end
local rtn = output(with({ method = "rtn" }, groups))
local gptq = output(with({ method = "gptq" }, groups), inputs)
local awq = output(with({ method = "awq" }, groups), inputs)
check.close("rtn", rtn, golden.rtn, 2e-5)
check.close("rtn, whole rows", output { method = "rtn", group = 0 }, golden.rtn_0, 2e-5)
check.close("gptq", gptq, golden.gptq, 2e-5)
check.close("gptq, whole rows", output({ method = "gptq", group = 0 }, inputs), golden.gptq_0, 2e-5)
check.close("awq", awq, golden.awq, 2e-5)
check.close("per token", output { method = "per_token" }, golden.per_token, 2e-5)
for _, f in ipairs { "fp8_e4m3", "fp8_e5m2" } do check.close(f, output { method = f }, golden[f], 2e-5) end
for name, t in pairs { ["6"] = 6, ["0"] = 0, ["1e+09"] = 1e9 } do
  local y, q = output { method = "llm_int8", threshold = t }
  check.close("llm_int8 " .. name, y, golden["llm_int8_" .. name], 5e-5)
  check.equal("its outliers", q:sites()[1].most_outliers, ({ ["6"] = 1, ["0"] = 20, ["1e+09"] = 0 })[name])
end

local behind = nn.module { name = "behind",
  params = function(p) p.norm, p.a = nn.layer_norm(20), nn.linear(20, 6, { bias = false }) end,
  forward = function(p, x) return p.a(p.norm(x)) end, quantization = function() return {} end } {}
behind.a.weight:set_(golden.w)
behind.norm.weight:set_(golden.gain)
behind.norm.bias:set_(golden.bias)
for _, alpha in ipairs { 0.5, 0.8 } do
  local want = golden[("smooth_%g"):format(alpha)]:table()
  local function smooth(weights)
    local q = quantized { model = behind, method = "smoothquant", alpha = alpha, weights = weights }
    q:inputs(batch)
    q:observe(batch)
    local at = {}
    for _, s in ipairs(q:sites()) do at[s.name] = s end
    return q, at
  end
  local q, at = smooth(true)
  check.near("smoothed weights", at["a.weight"].scale, want[3], 1e-5 * want[3])
  check.near("in integers", q:execute(batch)[1]:item(), q:run(batch)[1]:item(), 1e-3)
  local _, alone = smooth(false)
  check.near("smoothed least", alone.norm.lo, want[1], 1e-5 * math.abs(want[1]))
  check.near("smoothed most", alone.norm.hi, want[2], 1e-5 * want[2])
end

-- ---- what must hold ----

check.that("GPTQ is nearer than rounding", error_of(gptq) < 0.5 * error_of(rtn))
check.that("and so is AWQ", error_of(awq) < 0.5 * error_of(rtn))
check.close("outliers are all: half precision", output { method = "llm_int8", threshold = 0 }, layer(golden.x), 2e-2)
check.close("no outliers: rows alone", output { method = "llm_int8", threshold = 1e9 },
  output { method = "per_token" }, 0)
check.close("weights in float, activations in float", output { method = "fp8_e4m3", weights = false, acts = false },
  layer(golden.x), 0)
check.that("weights alone",
  error_of(output { method = "fp8_e4m3", acts = false }) < error_of(output { method = "fp8_e4m3" }))
check.close("8 bits of a group of one", output { method = "rtn", group = 1, group_bits = 8 }, layer(golden.x), 1e-4)

hop.seed(5)
local ids = T.from({ { 4, 5, 6, 7 }, { 1, 2, 3, 8 } }, { dtype = "i32" })
local words = { ids = ids, labels = T.from({ { 5, 6, 7, -100 }, { 2, 3, 8, -100 } }, { dtype = "i32" }) }
local function build(name)
  return nn[name] { layers = 2, width = 16, heads = 2, vocab = 9, max_len = 8, dropout = 0,
    attention = { method = "gated_outeffhop" } }
end
for _, name in ipairs { "opt", "bert" } do
  local m = build(name)
  local float = m:loss(words):item()
  local still = hop.quantize { model = m, method = "smoothquant", weights = false, acts = false }
  still:inputs(words)
  check.near(name .. ": smoothing changes no function", still:run(words)[1]:item(), float, 1e-5)
  local smooth, static = hop.quantize { model = m, method = "smoothquant" }, hop.quantize { model = m }
  smooth:inputs(words)
  smooth:observe(words)
  static:observe(words)
  check.equal(name .. ": the same quantizers", #smooth:sites(), #static:sites())
  check.near(name .. " smoothed", smooth:run(words)[1]:item(), float, 0.05)
  for _, method in ipairs { "per_token", "llm_int8", "fp8_e4m3", "fp8_e5m2", "rtn", "gptq", "awq" } do
    for _, setup in ipairs { "fp32_head", "all" } do
      local q = hop.quantize { model = m, method = method, setup = setup }
      if method == "gptq" or method == "awq" then q:inputs(words) end
      local loss = q:run(words)[1]:item()
      check.that(name .. " " .. method, loss ~= float and math.abs(loss - float) < 0.1, loss - float)
      check.equal(name .. " layers", #q:sites(), setup == "all" and 13 or 12)
      check.equal(name .. " executed is simulated", q:execute(words)[1]:item(), loss)
    end
  end
end

-- The whole model is the one whose layers have the weights that each gets alone: nothing else is quantized.
local function rounded(w, o)
  local size = w:size()
  local alone = nn.module { name = "alone", params = function(p)
    p.a = nn.linear(size[2], size[1], { bias = false }) end, forward = function(p, x) return p.a(x) end,
    quantization = function() return {} end } {}
  alone.a.weight:set_(w)
  local unit = {}
  for i = 1, size[2] do
    unit[i] = {}
    for j = 1, size[2] do unit[i][j] = i == j and 1 or 0 end
  end
  o.model, o.outputs = alone, outputs
  return hop.quantize(o):run({ x = T.from(unit) })[2]:t()
end
for _, o in ipairs { { method = "rtn", group = 5 }, { method = "fp8_e4m3", acts = false } } do
  local m = build "opt"
  local method, group, acts = o.method, o.group, o.acts
  local got = hop.quantize { model = m, method = method, group = group, acts = acts }:run(words)[1]:item()
  for i = 0, 1 do
    local l = m["model.decoder.layers." .. i]
    for _, name in ipairs { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj",
      "fc1", "fc2" } do
      l[name].weight:set_(rounded(l[name].weight, { method = method, group = group, acts = acts }))
    end
  end
  check.near("layer by layer, " .. method, got, m:loss(words):item(), 2e-6)
end

-- Layers that share weights, in one group with others and not.
local shared = nn.module { name = "shared", params = function(p) p.a, p.b = nn.linear(20, 20), nn.linear(20, 6) end,
  forward = function(p, x) return p.b(p.a(T.relu(p.a(x)))) + p.b(x) end,
  quantization = function() return {} end } {}
local function shared_error(method, calibrate)
  local d = output({ model = shared, method = method }, calibrate) - shared(golden.x)
  return T.sum(d * d):item()
end
local nearest = shared_error "rtn"
for _, method in ipairs { "gptq", "awq" } do
  local e = shared_error(method, inputs)
  check.that("shared weights, " .. method, e < nearest, ("%g, rtn %g"):format(e, nearest))
end
local e = shared_error("smoothquant", function(q)
  q:inputs(batch)
  q:observe(batch)
end)
check.that("shared weights, smoothquant", e < 0.1 * nearest, ("%g, rtn %g"):format(e, nearest))

-- ---- what is refused, and what is not ----

check.raises("no such method", "unknown choice", hop.quantize, { model = layer, outputs = outputs, method = "gtpq" })
check.raises("1 bit", "group_bits", hop.quantize, { model = layer, outputs = outputs, method = "rtn", group_bits = 1 })
check.raises("no damping", "damping", hop.quantize, { model = layer, outputs = outputs, method = "gptq", damping = 0 })
local q = quantized { method = "gptq" }
check.raises("without inputs", "observe inputs first", q.run, q, batch)
check.raises("no ranges", "no ranges of activations", q.observe, q, batch)
check.equal("nothing is half made", #q:sites(), 0)
q:inputs { x = golden.x:narrow(1, 1, 1) } -- one token for twenty columns
check.that("one token", error_of(q:run(batch)[2]) < 1e4)
check.raises("too late", "made already", q.inputs, q, batch)
q = quantized { method = "gptq" }
q:inputs { x = golden.x * 0 }
check.close("no inputs: rounding", q:run(batch)[2], output { method = "rtn" }, 1e-5)
q = quantized { method = "smoothquant" }
check.raises("not smoothed", "observes inputs first", q.observe, q, batch)
q = quantized { method = "rtn" }
check.raises("nothing to look at", "does not look", q.inputs, q, batch)
q = quantized { method = "awq" }
q:inputs { x = golden.x / 0 }
check.raises("inputs that are no numbers", "quantizing 'a.weight'", q.run, q, batch)
layer.a.weight:set_(golden.w / 0)
for _, method in ipairs { "rtn", "fp8_e4m3" } do
  q = quantized { method = method }
  check.raises("weights that are none, " .. method, "quantizing 'a.weight'", q.run, q, batch)
end

check.done()
