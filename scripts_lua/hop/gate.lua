-- How scores become weights and what happens to what they gather: the attention options of the models,
-- the six methods by name, and gates (spec: attention 4, 5 and 7).

local _, api, hop = ...
local T, nn = hop.T, hop.nn

-- ---- options ----

local types = { "none", "unconditional_per_head", "conditional_per_head", "conditional_per_token" }

-- The attention options every model takes.
hop.modules.attention_options = { "attention", "table", doc = "how scores become weights", options = {
  { "method", "string", choices = { "vanilla", "clipped_softmax", "gated_attention", "outeffhop",
    "clipped_outeffhop", "gated_outeffhop" }, doc = "one of the six published settings of what follows" },
  { "softmax", "string",
    doc = "vanilla (default) | softmax1 | entmax15 | sparsemax | clipped(g:e) | clippedsoftmax1(g:e)" },
  { "alpha", "number", min = 0, doc = "clip with gamma = -alpha / max_len" },
  { "gate", "string", choices = types, doc = "what multiplies a head's output; default none" },
  { "gate_predictor", "string", choices = { "linear", "mlp", "mlp2", "all_features" },
    doc = "of conditional gates; default linear" },
  { "gate_init", "number", min = 0, max = 1, doc = "gate at the start, linear predictor; default 0.5" },
  { "fine_tuning", "boolean", default = false,
    doc = "start close to an ungated model: small weights, output times 1 / gate_init" } } }

-- What a method's clip and gate are in each family.
local families = {
  bert = { clip = { gamma = "-.025" }, gate = { "conditional_per_token", "mlp", 0.5 }, std = 0.01 },
  opt = { clip = { alpha = 12 }, gate = { "conditional_per_token", "linear", 0.25 }, std = 0.001,
    causal = true },
  vit = { clip = { gamma = "-.00001" }, gate = { "conditional_per_token", "linear", 0.25 }, std = 0.01 },
}

local settings = { "softmax", "alpha", "gate", "gate_predictor", "gate_init" }

local completed = setmetatable({}, { __mode = "k" }) -- a model whose making failed is made again

local function apply_method(who, a, family)
  for _, key in ipairs(settings) do
    if a[key] ~= nil then
      api.fail(who, ("attention.%s is given, and method '%s' has one too"):format(key, a.method),
        "leave out one of them")
    end
  end
  local base = a.method:find("outeffhop", 1, true) and "softmax1" or "vanilla"
  a.softmax = base
  if a.method:find("^clipped") then
    a.alpha = family.clip.alpha
    if family.clip.gamma then
      a.softmax = ("%s(%s:1)"):format(base == "softmax1" and "clippedsoftmax1" or "clipped", family.clip.gamma)
    end
  elseif a.method:find("^gated") then
    a.gate, a.gate_predictor, a.gate_init = table.unpack(family.gate)
  end
end

-- Completes the attention options of a model in place; returns what its layers need: the normaliser,
-- and `gate`, nil if there is none. family: "bert", "opt" or "vit".
function hop.modules.attention(who, o, family)
  local a, f = o.attention, families[family]
  if a.method and not completed[a] then apply_method(who, a, f) end
  completed[a] = true
  a.softmax, a.gate = a.softmax or "vanilla", a.gate or "none"
  a.gate_predictor, a.gate_init = a.gate_predictor or "linear", a.gate_init or 0.5
  if o.width % o.heads ~= 0 then
    api.fail(who, ("width %d is not a multiple of %d heads"):format(o.width, o.heads))
  end
  local out = nn.normaliser(a.softmax, a.alpha, o.max_len)
  if a.gate == "none" then return out end
  if a.gate == "conditional_per_head" and f.causal and a.gate_predictor ~= "all_features" then
    api.fail(who, "a gate per head averages over all positions, so a causal model would see the future",
      'gate = "conditional_per_token"')
  end
  local conditional = a.gate ~= "unconditional_per_head"
  local start = math.min(math.max(a.gate_init, 1e-16), 1 - 1e-16)
  out.gate = { type = a.gate, predictor = a.gate_predictor, heads = o.heads, width = o.width // o.heads,
    bias = -math.log(1 / start - 1), std = a.fine_tuning and f.std or nil,
    scale = conditional and a.fine_tuning and 1 / start or 1 }
  return out
end

-- ---- parameters ----

local linear = nn.module { name = "gate.linear",
  params = function(p, o)
    p.weight = o.std and p:normal({ 1, o.n }, { std = o.std }) or p:uniform { 1, o.n }
    p.bias = o.bias and p:full({ 1 }, o.bias) or p:uniform({ 1 }, { fan_in = o.n })
  end }

local mlp = nn.module { name = "gate.mlp",
  params = function(p, o)
    p["0"], p["2"] = nn.linear(o.n, o.inner), nn.linear(o.inner, 1)
  end }

-- Makes p[name .. "alpha"], of the names and shapes of public checkpoints.
local function params(p, name, g)
  name = name .. "alpha"
  if g.type == "unconditional_per_head" then
    p[name] = p:zeros { g.heads }
  elseif g.predictor == "all_features" then
    p[name] = nn.linear(g.heads * g.width, g.heads)
  else
    local inner = g.predictor == "mlp" and g.width // 4 or g.width
    local heads = {}
    for h = 1, g.heads do
      heads[h] = g.predictor == "linear" and linear { n = g.width, bias = g.bias, std = g.std }
        or mlp { n = g.width, inner = inner }
    end
    p[name] = nn.list(heads)
  end
end

-- ---- gating ----

-- Each head's own linear layer on its slice of x, as one product with a matrix that is zero elsewhere:
-- x {…, H n} to {…, H m}. parts: H of weight {m, n}, bias {m}.
local function slice_by_slice(x, parts, act)
  local heads, weights, biases = #parts, {}, {}
  for h, part in ipairs(parts) do weights[h], biases[h] = part.weight, part.bias end
  local m, n = table.unpack(weights[1]:size())
  local one = T.eq(T.reshape(T.arange(1, heads), { heads, 1 }), T.reshape(T.arange(1, heads), { 1, heads }))
  local w = T.reshape(T.cat(weights, 1), { heads, m, 1, n }) * T.reshape(one, { heads, 1, heads, 1 })
  return T.linear(x, T.reshape(w, { heads * m, heads * n }), T.cat(biases, 1), { act = act })
end

local function logits(alpha, g, x)
  if g.type == "unconditional_per_head" then return T.reshape(alpha, { 1, 1, g.heads }) end
  if g.predictor == "all_features" then return alpha(x) end
  local first, second = {}, {}
  for h = 1, g.heads do first[h], second[h] = alpha[h]["0"] or alpha[h], alpha[h]["2"] end
  local a = slice_by_slice(x, first, g.predictor ~= "linear" and "relu" or nil)
  if g.predictor ~= "linear" then a = slice_by_slice(a, second) end
  if g.type == "conditional_per_head" then a = T.mean(a, 2, true) end
  return a
end

-- c {B, T, D}, what the heads gathered, times the gate that p's parameters predict from x {B, T, D},
-- the input of the attention part; and the gate, {B or 1, T or 1, H}.
local function apply(p, name, g, c, x)
  local q = T.sigmoid(logits(p[name .. "alpha"], g, x))
  local size = c:size()
  local q4 = T.reshape(q, { q:size(1), q:size(2), g.heads, 1 })
  local out = T.reshape(c, { size[1], size[2], g.heads, g.width }) * q4
  if g.scale ~= 1 then out = out * g.scale end
  return T.reshape(out, size), q
end

-- What the heads of layer n gather, {B, T, D}, by the model's options o, gated by the input x; and the
-- gate, nil where there is none. p's gate parameters are below `name`.
function hop.modules.attend(p, name, n, o, q, k, v, mask, x, causal)
  local f = o.normaliser
  local c = T.attention(q, k, v, mask, { heads = o.heads, causal = causal, base = f.base, gamma = f.gamma,
    eta = f.eta, dropout = hop.training() and o.attn_dropout or 0 })
  if not f.gate then return c end
  local out, gate = apply(p, name, f.gate, c, x)
  -- one that no input moves is a parameter, no activation
  if f.gate.type ~= "unconditional_per_head" then gate = hop.tap(("layer.%d/attn.gate"):format(n), gate) end
  return out, gate
end

-- Metrics of a model's gates, one per layer: their mean, and the curve of means by layer and head
-- (spec: attention 5.5). nil where there are none.
local function metrics(gates)
  if #gates == 0 then return nil end
  local means = {}
  for i, q in ipairs(gates) do means[i] = T.reshape(T.mean(q, { 1, 2 }), { 1, q:size(3) }) end
  local by_head = T.cat(means, 1):detach()
  return { gate = T.mean(by_head), gates = by_head }
end

hop.modules.gate = { params = params, apply = apply, metrics = metrics }
