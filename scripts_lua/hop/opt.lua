-- OPT, the decoder of arXiv 2205.01068, for causal language modelling (spec: language-models 2).
-- Parameter names are those of public checkpoints.

local _, api, hop = ...
local T, nn, gate = hop.T, hop.nn, hop.modules.gate

local layer = nn.module { name = "opt.layer",
  params = function(p, o)
    -- query, key, value and output start as plain linear layers unless the model's own start is
    -- asked for (spec: language-models 4)
    local std = o.attn_init == "model" and o.init_std or nil
    for _, name in ipairs { "k_proj", "v_proj", "q_proj", "out_proj" } do
      p["self_attn." .. name] = nn.linear(o.width, o.width, { std = std })
    end
    if o.normaliser.gate then gate.params(p, "self_attn.", o.normaliser.gate) end
    p.self_attn_layer_norm = nn.layer_norm(o.width)
    p.fc1 = nn.linear(o.width, o.ffn, { std = o.init_std, act = "relu" })
    p.fc2 = nn.linear(o.ffn, o.width, { std = o.init_std })
    p.final_layer_norm = nn.layer_norm(o.width)
  end,
  forward = function(p, x, mask, o, n)
    local tap = function(name, v, rows) return hop.tap(("layer.%d/%s"):format(n, name), v, rows) end
    local pre = o.norm == "pre"
    local h = pre and tap("attn.norm", p.self_attn_layer_norm(x)) or x
    local q, k, v = p["self_attn.q_proj"](h), p["self_attn.k_proj"](h), p["self_attn.v_proj"](h)
    local c, q_gate = hop.modules.attend(p, "self_attn.", n, o, q, k, v, mask, h, true)
    local a = x + nn.drop(tap("attn.out", p["self_attn.out_proj"](c)), o.dropout)
    if not pre then a = tap("attn.norm", p.self_attn_layer_norm(a)) end
    h = pre and tap("ffn.norm", p.final_layer_norm(a), "token") or a
    local f = tap("ffn.out", p.fc2(p.fc1(h)), "token")
    local out = a + nn.drop(f, o.dropout)
    if not pre then out = tap("ffn.norm", p.final_layer_norm(out)) end
    return tap("out", out), q_gate
  end }

-- Row numbers of the position table: t + 2; a padded token uses row 1.
local function positions(p, ids, mask, o)
  local n = ids:size(2)
  local table_ = p["model.decoder.embed_positions"].weight
  if n > o.max_len then
    api.fail("nn.opt", ("a sequence of %d tokens is longer than max_len = %d"):format(n, o.max_len))
  end
  if not mask then return table_:narrow(1, 3, n) end
  local m = T.cast(mask, "f32")
  return T.embedding(table_, T.cast(T.cumsum(m) * m + 1, "i32"))
end

-- the last hidden state, and the gates of the layers
local function hidden(p, ids, mask)
  local o, gates = p.options, {}
  local h = T.embedding(p["model.decoder.embed_tokens"].weight, ids, o.padding)
  if p["model.decoder.project_in"] then h = p["model.decoder.project_in"](h) end
  h = h + positions(p, ids, mask, o)
  for i, block in ipairs(p.blocks) do h, gates[i] = block(h, mask, o, i - 1) end
  if p["model.decoder.final_layer_norm"] then
    h = hop.tap("final.norm", p["model.decoder.final_layer_norm"](h))
  end
  if p["model.decoder.project_out"] then h = p["model.decoder.project_out"](h) end
  return h, gates
end

hop.modules.define { name = "nn.opt",
  doc = "OPT decoder for causal language modelling; forward gives logits.",
  example = "nn.opt { layers = 4, width = 256, heads = 4, max_len = 128 }",
  options = {
    { "layers", "integer", default = 12, min = 1, doc = "blocks" },
    { "width", "integer", default = 768, min = 1, doc = "of the residual stream" },
    { "heads", "integer", default = 12, min = 1, doc = "attention heads; divides width" },
    { "ffn", "integer", min = 1, doc = "inner width of the feed-forward part; default 4 width" },
    { "vocab", "integer", min = 1, doc = "rows of the token table; default: the data's" },
    hop.modules.init_option,
    { "max_len", "integer", default = 2048, min = 1, doc = "longest sequence" },
    { "embed", "integer", min = 1, doc = "width of the token table; default width" },
    { "norm", "string", default = "pre", choices = { "pre", "post" },
      doc = "layer norm before or after each part" },
    { "dropout", "number", default = 0.1, min = 0, max = 0.999, doc = "on both branches" },
    { "attn_dropout", "number", default = 0, min = 0, max = 0.999, doc = "on attention weights" },
    { "init_std", "number", default = 0.02, min = 0, doc = "of the normal start" },
    { "attn_init", "string", default = "default", choices = { "default", "model" },
      doc = "attention starts as plain linear layers, or like the rest" },
    { "padding", "integer", default = -1, min = -1, doc = "padding id (public checkpoints: 1)" },
    hop.modules.attention_options },
  def = {
    params = function(p, o)
      o.ffn, o.embed = o.ffn or 4 * o.width, o.embed or o.width
      if not o.vocab then api.fail("nn.opt", "option 'vocab' is missing", "there is no data to take it from") end
      o.normaliser = hop.modules.attention("nn.opt", o, "opt")
      local d = "model.decoder."
      p[d .. "embed_tokens"] = nn.embedding(o.vocab, o.embed, { std = o.init_std, padding = o.padding })
      p[d .. "embed_positions"] = nn.embedding(o.max_len + 2, o.width, { std = o.init_std })
      if o.embed ~= o.width then
        p[d .. "project_in"] = nn.linear(o.embed, o.width, { bias = false, std = o.init_std })
        p[d .. "project_out"] = nn.linear(o.width, o.embed, { bias = false, std = o.init_std })
      end
      local blocks = {}
      for i = 1, o.layers do
        blocks[i] = layer(o)
        p[d .. "layers." .. (i - 1)] = blocks[i]
      end
      if o.norm == "pre" then p[d .. "final_layer_norm"] = nn.layer_norm(o.width) end
      p.blocks, p.options = blocks, o
    end,
    forward = function(p, ids, mask)
      return T.linear((hidden(p, ids, mask)), p["model.decoder.embed_tokens"].weight)
    end,
    -- labels[b, t] is the token after ids[b, t], -100 where there is none
    loss = function(p, batch)
      local h, gates = hidden(p, batch.ids, batch.mask)
      return T.lm_loss(h, p["model.decoder.embed_tokens"].weight, nil, batch.labels), gate.metrics(gates)
    end,
    -- what stays in float, and where the context is quantized (spec: quantization 6.2)
    quantization = function() return { in_float = { ".alpha" }, gate_first = false } end,
    -- which activations the summary metrics are made of (spec: language-models 8.4)
    outliers = function()
      return { all = "norm$|out$", ffn = "/ffn%.out$", layer = "^layer%.%d+/out$", kurtosis = "norm$|out$" }
    end,
  } }
