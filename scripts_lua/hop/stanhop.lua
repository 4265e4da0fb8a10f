-- STanHop-Net of arXiv 2312.17346 for forecasting several time series, as arXiv 2404.03828 trains it (spec:
-- stanhop 2 to 6, 10). Parameter names are those of its reference code, so that its weights load as they
-- are; what that code computes twice is computed once here.

local _, api, hop = ...
local T, nn, gate = hop.T, hop.nn, hop.modules.gate

-- Names an activation as the reference calls the module that gives it: in evaluations, which make statistics
-- of all modules (spec 8.2). In training hop.tap names few.
local function see(at, name, x)
  if hop.training() then return x end
  return hop.tap(at .. name, x)
end

-- ---- association: Hopfield and HopfieldPooling ----

-- Of spec 5: the arguments of T.normalise. gamma and eta are the model's where the mode clips.
local modes = { softmax = { "softmax" }, softmax1 = { "softmax1" }, sparsemax = { "sparsemax" },
  entmax = { "entmax" }, clip = { "softmax", true }, clip_softmax1 = { "softmax1", true } }

-- what the activation's submodule is called
local function activation(o) return "inner_attention." .. (o.variant == "original" and "entmax" or "softmax") end

local hopfield = nn.module { name = "stanhop.hopfield",
  params = function(p, o)
    if o.has_patterns then p.key = p:normal({ 1, o.factor, o.width }, { std = 0.02 }) end
    if o.mode == "entmax" then
      local chooser = p:normal { 1 } -- of the reference, which does not use it
      chooser:set_(T.maximum(T.sigmoid(chooser * 2) * 2 + 1, 1.0001))
      p[activation(o) .. ".alpha_chooser"], p[activation(o) .. ".alpha"] = chooser, p:normal { 1 }
    end
    for _, name in ipairs { "query", "key", "value", "out" } do
      p[name .. "_projection"] = nn.linear(o.width, o.width)
    end
    if o.gating then gate.params(p, "", o.gating) end
  end }

-- alpha in (1, 3), in the original in (1, 2); nil where the mode has none
local function alpha_of(p, o)
  if o.mode ~= "entmax" then return nil end
  return T.sigmoid(p[activation(o) .. ".alpha"]) * (o.variant == "original" and 1 or 2) + 1
end

local function split(x, heads)
  local b, l, d = table.unpack(x:size())
  return T.permute(T.reshape(x, { b, l, heads, d // heads }), { 1, 3, 2, 4 })
end

-- Attention weights {B, H, L, S}: nothing but statistics needs them, and without those they are not computed.
local function see_weights(at, q, k, alpha, o)
  local scores = T.matmul(split(q, o.heads), split(k, o.heads), { tb = true }) * (o.heads / o.width) ^ 0.5
  local f = o.normaliser
  local weights = T.normalise(scores, alpha, { base = f.base, gamma = f.gamma, eta = f.eta })
  see(at, "." .. activation(o), weights)
  see(at, ".inner_attention.dropout", weights)
end

-- x {B, L, D} asks the keys z {B, S, D}, or, without z, the layer's own patterns, which are the same for
-- the whole batch: then all its queries are those of one sequence. Values come from the projected keys.
local function associate(p, x, z, o, at)
  local b, l, d = table.unpack(x:size())
  local q = see(at, ".query_projection", p.query_projection(x))
  local k = p.key_projection(z or T.reshape(p.key, { 1, o.factor, d }))
  local v = p.value_projection(k)
  local alpha, f = alpha_of(p, o), o.normaliser
  if not hop.training() then
    local n = k:size(2)
    local keys = z and k or T.expand(k, { b, n, d })
    see(at, ".key_projection", keys)
    see(at, ".value_projection", z and v or T.expand(v, { b, n, d }))
    see_weights(at, q, keys, alpha, o)
  end
  if not z then q = T.reshape(q, { 1, b * l, d }) end
  local c = T.attention(q, k, v, nil, alpha, { heads = o.heads, base = f.base, gamma = f.gamma, eta = f.eta,
    dropout = hop.training() and o.dropout or 0 })
  c = T.reshape(c, { b, l, d })
  if o.gating then
    local open
    c, open = gate.apply(p, "", o.gating, c, x)
    o.gates[#o.gates + 1] = open
  end
  -- rows are cut from [H, L, E], not from [L, H, E]: heads and positions mix
  c = see(at, ".inner_attention", T.reshape(split(c, o.heads), { b, l, d }))
  local out = see(at, ".out_projection", p.out_projection(c))
  return see(at, "", out)
end

-- ---- the STHM layer ----

local function mlp(p, name, o)
  p[name .. ".0"] = nn.linear(o.width, o.ffn)
  p[name .. ".2"] = nn.linear(o.ffn, o.width)
end

local function run_mlp(p, name, x, at)
  at = at .. "." .. name
  local h = see(at, ".1", T.gelu(see(at, ".0", p[name .. ".0"](x))))
  local out = see(at, ".2", p[name .. ".2"](h))
  return hop.tap(at, out)
end

local sthm = nn.module { name = "stanhop.sthm",
  params = function(p, o)
    p.cross_time = hopfield(o)
    p.cross_series = hopfield(setmetatable({ has_patterns = true }, { __index = o }))
    p.hopfield = hopfield(o)
    for i = 1, 4 do
      if i == 3 or o.variant == "original" then p["norm" .. i] = nn.layer_norm(o.width) end
    end
    mlp(p, "MLP1", o)
    mlp(p, "MLP2", o)
  end,
  -- x {B, T, S, D}
  forward = function(p, x, o, at)
    local b, t, s, d = table.unpack(x:size())
    local function drop(y) return nn.drop(y, o.dropout) end
    local function norm(i, y)
      if not p["norm" .. i] then return y end
      return see(at, ".norm" .. i, p["norm" .. i](y))
    end
    local u = T.reshape(x, { b * t, s, d })
    u = norm(1, u + drop(associate(p.cross_time, u, u, o, at .. ".cross_time")))
    u = norm(2, u + drop(run_mlp(p, "MLP1", u, at)))
    u = T.reshape(T.permute(T.reshape(u, { b, t, s, d }), { 1, 3, 2, 4 }), { b * s, t, d })
    local g = associate(p.cross_series, u, nil, o, at .. ".cross_series")
    local q = associate(p.hopfield, u, u, o, at .. ".hopfield")
    local e = norm(3, g + drop(q))
    local m = run_mlp(p, "MLP2", e, at)
    see(at, ".dropout", m)
    e = norm(4, e + drop(m))
    return hop.tap(at, T.permute(T.reshape(e, { b, s, t, d }), { 1, 3, 2, 4 }))
  end }

-- ---- segments ----

-- Neighbouring w segments become one. Missing ones are the last of those that are there, in their order.
local merge = nn.module { name = "stanhop.merge",
  params = function(p, o)
    p.linear_trans = nn.linear(o.win_size * o.width, o.width)
    p.norm = nn.layer_norm(o.win_size * o.width)
  end,
  forward = function(p, x, o, at)
    local b, t, s, d = table.unpack(x:size())
    local w = o.win_size
    local k = -s % w
    if k > 0 then x = T.cat({ x, x:narrow(3, s - k + 1, k) }, 3) end
    x = see(at, ".norm", p.norm(T.reshape(x, { b, t, (s + k) // w, w * d })))
    x = see(at, ".linear_trans", p.linear_trans(x))
    return see(at, "", x)
  end }

local block = nn.module { name = "stanhop.block",
  params = function(p, o)
    if o.merges then p[o.variant == "original" and "coarse_grain" or "merge_layer"] = merge(o) end
    p["encode_layers.0"] = sthm(o)
  end,
  forward = function(p, x, o, at)
    local first = p.merge_layer or p.coarse_grain
    if first then x = first(x, o, at .. (p.merge_layer and ".merge_layer" or ".coarse_grain")) end
    return see(at, "", p["encode_layers.0"](x, o, at .. ".encode_layers.0"))
  end }

local decoder_layer = nn.module { name = "stanhop.decoder_layer",
  params = function(p, o)
    p.sthm, p.hopfield = sthm(o), hopfield(o)
    p.norm1, p.norm2 = nn.layer_norm(o.width), nn.layer_norm(o.width)
    p.first = o.variant == "original" and "MLP1.0" or "MLP1"
    p.second = o.variant == "original" and "MLP1.2" or "MLP2"
    p[p.first] = nn.linear(o.width, o.width)
    p[p.second] = nn.linear(o.width, o.width)
    p.linear_pred = nn.linear(o.width, o.seg_len)
  end,
  -- x {B, T, S, D} and an encoder state {B, T, S', D}: the next x and its prediction {B, T, S, seg_len}
  forward = function(p, x, state, o, at)
    local b, t, s, d = table.unpack(x:size())
    x = T.reshape(p.sthm(x, o, at .. ".sthm"), { b * t, s, d })
    local a = associate(p.hopfield, x, T.reshape(state, { b * t, state:size(3), d }), o, at .. ".hopfield")
    see(at, ".dropout", a)
    x = see(at, ".norm1", p.norm1(x + nn.drop(a, o.dropout)))
    local h = see(at, ".gelu", T.gelu(see(at, "." .. p.first, p[p.first](x))))
    h = hop.tap(at .. "." .. p.second, p[p.second](h))
    o.outputs[#o.outputs + 1] = h
    x = hop.tap(at, T.reshape(see(at, ".norm2", p.norm2(x + h)), { b, t, s, d }))
    return x, see(at, ".linear_pred", p.linear_pred(x))
  end }

-- ---- the model ----

local function ceil_div(a, b) return (a + b - 1) // b end

-- Do merges find the segments that they pad with (spec 3)?
local function check_merges(o)
  local s, w = ceil_div(o.in_len, o.seg_len), o.win_size
  for i = 1, o.layers - 1 do
    local k = -s % w
    if k > s then
      api.fail("nn.stanhop", ("block %d has %d segments and cannot be padded to groups of win_size = %d"):format(i, s,
        w), "take a longer in_len, a shorter seg_len or a smaller win_size")
    end
    s = ceil_div(s, w)
  end
end

local function complete(o)
  for _, name in ipairs { "series", "in_len", "out_len" } do
    if not o[name] then
      api.fail("nn.stanhop", ("option '%s' is missing"):format(name), "there is no data to take it from")
    end
  end
  if o.width % o.heads ~= 0 then
    api.fail("nn.stanhop", ("width %d is not a multiple of %d heads"):format(o.width, o.heads))
  end
  if o.variant == "original" and o.mode ~= "entmax" then
    api.fail("nn.stanhop", ("the original STanHop has mode \"entmax\" alone, not \"%s\""):format(o.mode))
  end
  check_merges(o)
  o.ffn = o.ffn or 2 * o.width
  local m = modes[o.mode]
  o.normaliser = { base = m[1], gamma = m[2] and o.gamma or 0, eta = m[2] and o.eta or 1 }
  if o.gate ~= "none" then
    local start = o.gate_init and math.min(math.max(o.gate_init, 1e-16), 1 - 1e-16)
    o.gating = { type = o.gate, predictor = o.gate_predictor, heads = o.heads, width = o.width // o.heads,
      bias = start and -math.log(1 / start - 1), scale = 1 }
  end
end

local function params(p, o)
  complete(o)
  local n_in, n_out = ceil_div(o.in_len, o.seg_len), ceil_div(o.out_len, o.seg_len)
  p.enc_pos = p:normal { 1, o.series, n_in, o.width }
  p.dec_pos = p:normal { 1, o.series, n_out, o.width }
  p["enc_emb.linear"] = nn.linear(o.seg_len, o.width)
  p.pre_norm = nn.layer_norm(o.width)
  local blocks, layers = {}, {}
  for i = 0, o.layers - 1 do
    blocks[i + 1] = block(setmetatable({ merges = i > 0 and o.win_size > 1 }, { __index = o }))
    p["encoder.encode_blocks." .. i] = blocks[i + 1]
  end
  for j = 0, o.layers do
    layers[j + 1] = decoder_layer(o)
    p["decoder.decode_layers." .. j] = layers[j + 1]
  end
  p.blocks, p.layers, p.options = blocks, layers, o
end

-- {B, in_len, C} to segments {B, C, S, seg_len}; the first step is repeated in front where they do not fit
local function cut(x, o)
  local b, n, c = table.unpack(x:size())
  if n ~= o.in_len or c ~= o.series then
    api.fail("nn.stanhop", ("windows of %d steps of %d series were expected, these are {%d, %d, %d}"):format(o.in_len,
      o.series, b, n, c))
  end
  local pad = -n % o.seg_len
  if pad > 0 then x = T.cat({ T.expand(x:narrow(2, 1, 1), { b, pad, c }), x }, 2) end
  if not hop.training() then x = hop.tap("input", x) end -- one of the quantizers' places
  return T.permute(T.reshape(x, { b, (n + pad) // o.seg_len, o.seg_len, c }), { 1, 4, 2, 3 })
end

local function embed(p, x, o)
  local e = p["enc_emb.linear"](cut(x, o))
  local b, c, s, d = table.unpack(e:size())
  e = e + T.reshape(p.enc_pos, { 1, c, s, d }) -- reshaped: what the quantizing pass knows as a table
  -- the reference adds in place, so its statistics of both are of the sum
  see("enc_emb", ".linear", T.reshape(e, { b * c * s, d }))
  see("enc_emb", "", e)
  return see("pre_norm", "", p.pre_norm(e))
end

-- {B, in_len, C} to {B, out_len, C}, the gates of the layers, and the decoder layers' MLP outputs
local function forecast(p, x)
  local o = setmetatable({ gates = {}, outputs = {} }, { __index = p.options })
  local states, predictions, b = { embed(p, x, o) }, {}, x:size(1)
  for i, f in ipairs(p.blocks) do
    states[i + 1] = f(states[i], o, ("encoder.encode_blocks.%d"):format(i - 1))
  end
  local size = p.dec_pos:size()
  local d = T.expand(p.dec_pos, { b, size[2], size[3], size[4] })
  for j, f in ipairs(p.layers) do
    d, predictions[j] = f(d, states[j], o, ("decoder.decode_layers.%d"):format(j - 1))
  end
  -- a sum over an axis, not of two activations: it has no quantizer
  local y = T.sum(T.cat(predictions, 4):reshape { b, size[2], size[3], #predictions, o.seg_len }, 4)
  y = see("decoder", "", T.reshape(T.permute(y, { 1, 3, 4, 2 }), { b, size[3] * o.seg_len, size[2] }))
  y = y:narrow(2, 1, o.out_len)
  if o.baseline then y = y + T.mean(x, 2, true) end
  return see("(root)", "", y), o.gates, o.outputs
end

-- Largest size and kurtosis of what the decoder layers' MLPs give for a batch, of all together and the
-- mean of each one's (spec 8.2)
local function output_outliers(p, batch)
  local _, _, outputs = forecast(p, batch.x)
  local function kurtosis(x)
    x = x - T.mean(x)
    local squares = x * x
    local m2 = T.mean(squares)
    return T.mean(squares * squares) / (m2 * m2)
  end
  local flat, sum = {}, 0
  for j, h in ipairs(outputs) do
    flat[j] = T.reshape(h, { -1 })
    sum = kurtosis(h) + sum
  end
  local all = T.cat(flat, 1)
  return { inf_norm_output = T.max(T.abs(all)):item(), kurtosis_output = kurtosis(all):item(),
    kurtosis_output_mean = sum:item() / #outputs }
end

hop.modules.stanhop = { hopfield = hopfield, associate = associate, sthm = sthm, merge = merge } -- for the golden tests

local gate_types = { "none", "unconditional_per_head", "conditional_per_head", "conditional_per_token" }

hop.modules.define { name = "nn.stanhop",
  doc = "STanHop-Net, which forecasts several series at once: model(x) with x {B, in_len, series}, standardised, " ..
    "gives {B, out_len, series}. model:loss{ x=, y= } is the mean squared error; " ..
    "model:output_outliers{ x= } describes what the decoder's MLPs give.",
  example = "nn.stanhop { series = 7, in_len = 168, out_len = 24, seg_len = 6, layers = 3, mode = \"softmax1\" }",
  options = {
    { "series", "integer", min = 1, doc = "forecast at once; default: the data's" },
    { "in_len", "integer", min = 1, doc = "steps that are seen; default: the data's" },
    { "out_len", "integer", min = 1, doc = "steps that are forecast; default: the data's" },
    { "seg_len", "integer", default = 6, min = 1, doc = "steps of a segment" },
    { "win_size", "integer", default = 1, min = 1, doc = "segments that each block but the first merges into one" },
    { "factor", "integer", default = 10, min = 1, doc = "patterns of a pooling layer" },
    { "layers", "integer", default = 2, min = 1, doc = "encoder blocks; the decoder has one layer more" },
    { "width", "integer", default = 256, min = 1, doc = "of a segment's vector" },
    { "heads", "integer", default = 4, min = 1, doc = "attention heads; divides width" },
    { "ffn", "integer", min = 1, doc = "inner width of the feed-forward parts; default 2 width" },
    hop.modules.init_option,
    { "mode", "string", default = "entmax",
      choices = { "entmax", "softmax1", "softmax", "sparsemax", "clip", "clip_softmax1" },
      doc = "how scores become weights: STanHop is entmax (a learned alpha in each layer), Hopfield softmax, " ..
        "SparseHopfield sparsemax, OutEffHop softmax1" },
    { "gamma", "number", default = -0.1, min = -1e6, max = 0, doc = "lower end of the stretch of clip, clip_softmax1" },
    { "eta", "number", default = 1.1, min = 1, max = 1e6, doc = "upper end of it" },
    { "gate", "string", default = "none", choices = gate_types, doc = "what multiplies a head's output" },
    { "gate_predictor", "string", default = "linear", choices = { "linear", "mlp", "mlp2", "all_features" },
      doc = "of conditional gates" },
    { "gate_init", "number", min = 0, max = 1,
      doc = "gate at the start, linear predictor; default: as a linear layer" },
    { "dropout", "number", default = 0.5, min = 0, max = 0.999, doc = "on attention weights and branches" },
    { "baseline", "boolean", default = false, doc = "forecasts are added to the mean of what is seen" },
    { "variant", "string", default = "outeffhop", choices = { "outeffhop", "original" },
      doc = "original: the network of arXiv 2312.17346, four norms in a layer and alpha in (1, 2)" } },
  def = {
    params = params,
    forward = function(p, x) return (forecast(p, x)) end,
    loss = function(p, batch)
      local y, gates = forecast(p, batch.x)
      local loss, metrics = hop.loss.forecast(y, batch)
      for name, value in pairs(gate.metrics(gates) or {}) do metrics[name] = value end
      return loss, metrics
    end,
    output_outliers = output_outliers,
    -- spec 11
    quantize_defaults = function() return { setup = "all", data = "eval" } end,
    quantization = function(_, recipe)
      local in_float = recipe and recipe.setup ~= "all" and { ".alpha", "linear_pred." } or { ".alpha" }
      return { in_float = in_float, also = { "input" }, tables = { "enc_pos", "dec_pos", "cross_series.key" },
        gate_first = true }
    end,
    -- which activations the summary metrics are made of (spec 8.2)
    outliers = function()
      local all = "^encoder|^decoder|^enc_emb|^pre_norm$|^%(root%)$"
      return { all = all, ffn = "%.MLP", layer = "^decoder%.decode_layers%.%d+$", kurtosis = all }
    end,
  } }
