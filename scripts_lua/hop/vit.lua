-- The vision transformer of arXiv 2010.11929 for classifying images (spec: language-models 11). Parameter
-- names and shapes are timm's, so that its weights load as they are: hence one matrix for query, key and
-- value, and a patch projection of four dimensions.

local _, api, hop = ...
local T, nn, gate = hop.T, hop.nn, hop.modules.gate

local eps = 1e-6

local function norm(o) return nn.layer_norm(o.width, { eps = eps }) end

local layer = nn.module { name = "vit.layer",
  params = function(p, o)
    p.norm1 = norm(o)
    p["attn.qkv"] = nn.linear(o.width, 3 * o.width, { std = o.init_std, bias = o.qkv_bias })
    if o.normaliser.gate then gate.params(p, "attn.", o.normaliser.gate) end
    p["attn.proj"] = nn.linear(o.width, o.width, { std = o.init_std })
    p.norm2 = norm(o)
    p["mlp.fc1"] = nn.linear(o.width, o.ffn, { std = o.init_std })
    p["mlp.fc2"] = nn.linear(o.ffn, o.width, { std = o.init_std })
  end,
  forward = function(p, x, o, n)
    local tap = function(name, v) return hop.tap(("layer.%d/%s"):format(n, name), v) end
    local h = tap("attn.norm", p.norm1(x))
    local qkv = tap("attn.qkv", p["attn.qkv"](h))
    local function part(i) return qkv:narrow(3, i * o.width + 1, o.width) end
    local c, q_gate = hop.modules.attend(p, "attn.", n, o, part(0), part(1), part(2), nil, h)
    x = x + nn.drop(tap("attn.out", p["attn.proj"](c)), o.dropout)
    h = tap("ffn.in", p["mlp.fc1"](tap("ffn.norm", p.norm2(x))))
    h = tap("ffn.out", p["mlp.fc2"](tap("ffn.act", T.gelu(h))))
    return tap("out", x + nn.drop(h, o.dropout)), q_gate
  end }

-- For all models that cut images into patches. x {B, C H W} or {B, C, H, W} to {B, patches, C P P}: what a
-- convolution whose stride is its kernel sees.
function hop.modules.cut_patches(name, x, o)
  local channels, height, width = table.unpack(o.image)
  local size, n = x:size(), o.patch
  local flat = #size == 2 and size[2] == channels * height * width
  if not flat and not (#size == 4 and table.concat(size, " ", 2) == table.concat(o.image, " ")) then
    api.fail(name, ("images of %d x %d x %d were expected (channels, height, width), as {B, %d} or of four " ..
      "dimensions; these are {%s}"):format(channels, height, width, channels * height * width,
      table.concat(size, ", ")))
  end
  x = T.reshape(x, { size[1], channels, height // n, n, width // n, n })
  return T.reshape(T.permute(x, { 1, 3, 5, 2, 4, 6 }), { size[1], o.patches, channels * n * n })
end

-- Checks what the options say of images, and completes ffn and patches.
function hop.modules.complete_patches(name, o)
  if not o.image then
    api.fail(name, "option 'image' is missing", "there is no data to take it from; write image = { 1, 28, 28 }")
  elseif not o.classes then
    api.fail(name, "option 'classes' is missing", "there is no data to take it from")
  end
  for i = 1, 3 do
    if #o.image ~= 3 or math.type(o.image[i]) ~= "integer" or o.image[i] < 1 then
      api.fail(name, "'image' lists channels, height and width, for example { 3, 32, 32 }")
    end
  end
  local _, height, width = table.unpack(o.image)
  if height % o.patch ~= 0 or width % o.patch ~= 0 then
    api.fail(name, ("images of %d x %d cannot be cut into patches of %d x %d"):format(height, width, o.patch,
      o.patch), "'patch' must divide both")
  end
  o.ffn = o.ffn or 4 * o.width
  o.patches = (height // o.patch) * (width // o.patch)
end

-- logits {B, classes}, and the gates of the layers
local function classify(p, x)
  local o, gates, e = p.options, {}, "patch_embed.proj."
  local w = T.reshape(p[e .. "weight"], { o.width, -1 })
  local h = hop.tap("patches", T.linear(hop.modules.cut_patches("nn.vit", x, o), w, p[e .. "bias"]))
  local token = T.expand(p.cls_token, { h:size(1), 1, o.width })
  h = nn.drop(T.cat({ token, h }, 2) + p.pos_embed, o.dropout)
  if p.norm_pre then h = hop.tap("embed.norm", p.norm_pre(h)) end
  for i, block in ipairs(p.list) do h, gates[i] = block(h, o, i - 1) end
  h = hop.tap("final.norm", p.norm(h))
  return hop.tap("logits", p.head(h:select(2, 1))), gates
end

local function complete(o)
  hop.modules.complete_patches("nn.vit", o)
  o.max_len = o.patches + 1 -- what alpha is a share of
  o.normaliser = hop.modules.attention("nn.vit", o, "vit")
end

local function params(p, o)
  complete(o)
  local channels, n, blocks = o.image[1], o.patch, {}
  local fan_in = channels * n * n
  p["patch_embed.proj.weight"] = p:uniform({ o.width, channels, n, n }, { fan_in = fan_in })
  if not o.pre_norm then p["patch_embed.proj.bias"] = p:uniform({ o.width }, { fan_in = fan_in }) end
  p.cls_token = p:normal({ 1, 1, o.width }, { std = 1e-6 })
  -- timm truncates the normal starts at ±2, a hundred standard deviations
  p.pos_embed = p:normal({ 1, o.max_len, o.width }, { std = o.init_std })
  if o.pre_norm then p.norm_pre = norm(o) end
  for i = 1, o.layers do
    blocks[i] = layer(o)
    p["blocks." .. (i - 1)] = blocks[i]
  end
  p.norm = norm(o)
  p.head = nn.linear(o.width, o.classes, { std = o.init_std })
  p.list, p.options = blocks, o
end

hop.modules.define { name = "nn.vit",
  doc = "Vision transformer that classifies images; model(x) with x {B, channels height width}, or of four " ..
    "dimensions, gives logits. model:loss{ x=, y= } is the cross entropy against the rows of y, and the metrics " ..
    "accuracy and, of more than five classes, top5.",
  example = "nn.vit { image = { 1, 28, 28 }, patch = 4, layers = 4, width = 64, heads = 4, classes = 10 }",
  options = {
    { "image", "table", doc = "channels, height, width; default: the data's" },
    { "patch", "integer", default = 16, min = 1, doc = "side of a patch; divides height and width" },
    { "layers", "integer", default = 12, min = 1, doc = "blocks" },
    { "width", "integer", default = 384, min = 1, doc = "of the residual stream" },
    { "heads", "integer", default = 6, min = 1, doc = "attention heads; divides width" },
    { "ffn", "integer", min = 1, doc = "inner width of the feed-forward part; default 4 width" },
    { "classes", "integer", min = 1, doc = "default: the data's" },
    hop.modules.init_option,
    { "pre_norm", "boolean", default = true,
      doc = "a layer norm before the first block, and no bias of the patches: the model of arXiv 2404.03828" },
    { "qkv_bias", "boolean", default = false, doc = "a bias of query, key and value, as timm's models have" },
    { "dropout", "number", default = 0, min = 0, max = 0.999, doc = "on embeddings and branches" },
    { "attn_dropout", "number", default = 0, min = 0, max = 0.999, doc = "on attention weights" },
    { "init_std", "number", default = 0.02, min = 0, doc = "of the normal start" },
    { "label_smoothing", "number", default = 0, min = 0, max = 0.999,
      doc = "share of each training target that is spread over all classes" },
    hop.modules.attention_options },
  def = {
    params = params,
    forward = function(p, x) return (classify(p, x)) end,
    loss = function(p, batch)
      local o = p.options
      if batch.y:size(2) ~= o.classes then
        api.fail("nn.vit", ("the model has %d classes, the targets have %d"):format(o.classes, batch.y:size(2)))
      end
      local logits, gates = classify(p, batch.x)
      local metrics = gate.metrics(gates) or {}
      metrics.accuracy = hop.accuracy(logits, batch.y)
      if o.classes > 5 then metrics.top5 = hop.accuracy(logits, batch.y, 5) end
      return hop.loss.soft_cross_entropy(logits, batch.y, hop.training() and o.label_smoothing or 0), metrics
    end,
    -- which activations the summary metrics are made of (spec: language-models 11, validate_vit)
    -- what stays in float (spec: quantization 6.3, ours: as BERT's), and where the context is quantized
    quantization = function() return { in_float = { "head.", ".alpha" }, gate_first = true } end,
    outliers = function()
      local all = "norm$|out$|qkv$|/ffn%.in$|/ffn%.act$|^patches$|^logits$" -- no gates
      return { all = all, ffn = "/ffn%.in$|/ffn%.act$|/ffn%.out$", layer = "^layer%.%d+/out$", kurtosis = all }
    end,
  } }
