-- Vision Hopfield networks: image classifiers of associations (spec: theory 3; arXiv 2404.03827's and
-- 2404.03828's experiments). Queries retrieve from the tokens of an image; here the separation function
-- reaches the network, which in the reference it does not.

local _, api, hop = ...
local T, nn = hop.T, hop.nn

local BLOCK_EPS = 1e-6

-- Hopfield(R, Y): queries of R {B, L, d} retrieve from memories of Y {B, S, d}; values are made of the keys.
local hopfield = nn.module { name = "vih.hopfield",
  params = function(p, o)
    p.query, p.key = nn.linear(o.width, o.width), nn.linear(o.width, o.width)
    p.value, p.out = nn.linear(o.width, o.width), nn.linear(o.width, o.width)
    if o.kernel then p.kernel = nn.linear(o.width, o.width) end
  end,
  forward = function(p, r, y, o)
    if p.kernel then r, y = p.kernel(r), p.kernel(y) end
    local q, k = p.query(r), p.key(y)
    local v = p.value(o.kernel and y or k)
    for _ = 1, o.update_steps do
      q = T.attention(q, k, v, nil, { heads = o.heads, base = o.separation, scale = o.scale,
        dropout = hop.training() and o.dropout or 0 })
    end
    return p.out(q)
  end }

local block = nn.module { name = "vih.block",
  params = function(p, o)
    p.norm1, p.association = nn.layer_norm(o.width, { eps = BLOCK_EPS }), hopfield(o)
    p.norm2 = nn.layer_norm(o.width, { eps = BLOCK_EPS })
    local bound = math.sqrt(6 / (o.width + o.ffn)) -- Xavier, uniform
    p["fc1.weight"] = p:uniform({ o.ffn, o.width }, { bound = bound })
    p["fc1.bias"] = p:normal({ o.ffn }, { std = 1e-6 })
    p["fc2.weight"] = p:uniform({ o.width, o.ffn }, { bound = bound })
    p["fc2.bias"] = p:normal({ o.width }, { std = 1e-6 })
  end,
  forward = function(p, x, o, i)
    local h = p.norm1(x)
    x = x + p.association(h, h, o)
    h = nn.drop(T.gelu(T.linear(p.norm2(x), p["fc1.weight"], p["fc1.bias"])), o.mlp_dropout)
    x = x + nn.drop(T.linear(h, p["fc2.weight"], p["fc2.bias"]), o.mlp_dropout)
    return hop.tap(("layer.%d/out"):format(i - 1), x)
  end }

local function classify(p, x)
  local o = p.options
  local h = hop.tap("patches", p.embed(hop.modules.cut_patches("nn.vih", x, o)))
  local token = T.expand(p.token, { h:size(1), 1, o.width })
  if o.layers == 0 then
    return hop.tap("logits", p.head(p.norm(T.relu(p.association(token, h, o)):select(2, 1))))
  end
  h = T.cat({ token, h }, 2)
  for i, b in ipairs(p.list) do h = b(h, o, i) end
  h = T.relu(p.last_norm(h):select(2, 1))
  return hop.tap("logits", p.head(p.norm(h)))
end

local function complete(o)
  hop.modules.complete_patches("nn.vih", o)
  if o.width % o.heads ~= 0 then
    api.fail("nn.vih", ("width %d is not a multiple of %d heads"):format(o.width, o.heads))
  end
  o.separation = o.separation == "vanilla" and "softmax" or o.separation
end

hop.modules.define { name = "nn.vih",
  doc = "Vision Hopfield network: model(x) with x {B, channels height width} gives logits {B, classes}. With " ..
    "layers = 0 one association of a learned token with the patches, else so many blocks. model:loss{ x=, y= } is " ..
    "the cross entropy against the rows of y, and accuracy.",
  example = "nn.vih { image = { 1, 28, 28 }, patch = 7, layers = 3, width = 64, heads = 4, classes = 10 }",
  options = {
    { "image", "table", doc = "channels, height, width; default: the data's" },
    { "patch", "integer", default = 32, min = 1, doc = "side of a patch; divides height and width" },
    { "layers", "integer", default = 3, min = 0, doc = "blocks" },
    { "width", "integer", default = 512, min = 1, doc = "of a token" },
    { "heads", "integer", default = 4, min = 1, doc = "divides width" },
    { "ffn", "integer", min = 1, doc = "inner width of a block's second half; default 4 width" },
    { "classes", "integer", min = 1, doc = "default: the data's" },
    { "separation", "string", default = "softmax",
      choices = { "softmax", "vanilla", "softmax1", "sparsemax", "entmax15" }, doc = "what makes weights of scores" },
    { "kernel", "boolean", default = false, doc = "a learned kernel before queries, keys and values (U-Hop)" },
    { "update_steps", "integer", default = 1, min = 1, doc = "retrievals one after another" },
    { "scale", "number", default = 0, min = 0, doc = "of the scores; 0: 1 / sqrt(width / heads)" },
    { "dropout", "number", default = 0.1, min = 0, max = 0.999, doc = "on weights of an association" },
    { "mlp_dropout", "number", default = 0.3, min = 0, max = 0.999, doc = "in a block's second half" },
  },
  def = {
    params = function(p, o)
      complete(o)
      local blocks = {}
      p.embed = nn.linear(o.image[1] * o.patch * o.patch, o.width)
      p.token = p:normal({ 1, 1, o.width }, { std = 1 })
      if o.layers == 0 then p.association = hopfield(o) end
      for i = 1, o.layers do
        blocks[i] = block(o)
        p["blocks." .. (i - 1)] = blocks[i]
      end
      if o.layers > 0 then p.last_norm = nn.layer_norm(o.width, { eps = BLOCK_EPS }) end
      p.norm = nn.layer_norm(o.width, { eps = 1e-5 })
      p.head = nn.linear(o.width, o.classes)
      p.list, p.options = blocks, o
    end,
    forward = function(p, x) return (classify(p, x)) end,
    loss = function(p, batch)
      if batch.y:size(2) ~= p.options.classes then
        api.fail("nn.vih", ("the model has %d classes, the targets have %d"):format(p.options.classes, batch.y:size(2)))
      end
      local logits = classify(p, batch.x)
      return hop.loss.soft_cross_entropy(logits, batch.y, 0), { accuracy = hop.accuracy(logits, batch.y) }
    end,
    outliers = function() return { all = "out$|^patches$|^logits$", layer = "out$", kurtosis = "out$|^patches$" } end,
  } }
