-- BERT, the encoder of arXiv 1810.04805, for masked language modelling (spec: language-models 1).
-- Parameter names are those of public checkpoints.

local _, api, hop = ...
local T, nn, gate = hop.T, hop.nn, hop.modules.gate

local eps = 1e-12

local layer = nn.module { name = "bert.layer",
  params = function(p, o)
    local std = o.attn_init == "model" and o.init_std or nil
    for _, name in ipairs { "query", "key", "value" } do
      p["attention.self." .. name] = nn.linear(o.width, o.width, { std = std })
    end
    if o.normaliser.gate then gate.params(p, "attention.self.", o.normaliser.gate) end
    p["attention.output.dense"] = nn.linear(o.width, o.width, { std = o.init_std })
    p["attention.output.LayerNorm"] = nn.layer_norm(o.width, { eps = eps })
    p["intermediate.dense"] = nn.linear(o.width, o.ffn, { std = o.init_std, act = "gelu" })
    p["output.dense"] = nn.linear(o.ffn, o.width, { std = o.init_std })
    p["output.LayerNorm"] = nn.layer_norm(o.width, { eps = eps })
  end,
  forward = function(p, x, mask, o, n)
    local tap = function(name, v) return hop.tap(("layer.%d/%s"):format(n, name), v) end
    local q, k, v = p["attention.self.query"](x), p["attention.self.key"](x), p["attention.self.value"](x)
    local c, q_gate = hop.modules.attend(p, "attention.self.", n, o, q, k, v, mask, x)
    local a = nn.drop(tap("attn.out", p["attention.output.dense"](c)), o.dropout) + x
    a = tap("attn.norm", p["attention.output.LayerNorm"](a))
    local f = nn.drop(tap("ffn.out", p["output.dense"](p["intermediate.dense"](a))), o.dropout) + a
    return tap("out", p["output.LayerNorm"](tap("norm.in", f))), q_gate
  end }

-- the head's transformed hidden state, and the gates of the layers
local function hidden(p, ids, mask)
  local o, e, gates = p.options, "bert.embeddings.", {}
  local n = ids:size(2)
  if n > o.max_len then
    api.fail("nn.bert", ("a sequence of %d tokens is longer than max_len = %d"):format(n, o.max_len))
  end
  local h = p[e .. "word_embeddings"](ids) + p[e .. "token_type_embeddings"].weight:select(1, 1) +
    p[e .. "position_embeddings"].weight:narrow(1, 1, n)
  h = nn.drop(p[e .. "LayerNorm"](h), o.dropout)
  for i, block in ipairs(p.blocks) do h, gates[i] = block(h, mask, o, i - 1) end
  local t = "cls.predictions.transform."
  return p[t .. "LayerNorm"](p[t .. "dense"](h)), gates
end

hop.modules.define { name = "nn.bert",
  doc = "BERT encoder for masked language modelling; forward gives logits.",
  example = "nn.bert { layers = 6, width = 256, heads = 4, max_len = 128 }",
  options = {
    { "layers", "integer", default = 12, min = 1, doc = "blocks" },
    { "width", "integer", default = 768, min = 1, doc = "of the residual stream" },
    { "heads", "integer", default = 12, min = 1, doc = "attention heads; divides width" },
    { "ffn", "integer", min = 1, doc = "inner width of the feed-forward part; default 4 width" },
    { "vocab", "integer", min = 1, doc = "rows of the token table; default: the data's" },
    hop.modules.init_option,
    { "max_len", "integer", default = 512, min = 1, doc = "longest sequence" },
    { "types", "integer", default = 2, min = 1, doc = "rows of the segment table" },
    { "dropout", "number", default = 0.1, min = 0, max = 0.999, doc = "on embeddings and branches" },
    { "attn_dropout", "number", default = 0.1, min = 0, max = 0.999, doc = "on attention weights" },
    { "init_std", "number", default = 0.02, min = 0, doc = "of the normal start" },
    { "attn_init", "string", default = "default", choices = { "default", "model" },
      doc = "query, key, value start as plain linear layers, or like the rest" },
    { "padding", "integer", default = 0, min = -1, doc = "padding id; -1: none" },
    hop.modules.attention_options },
  def = {
    params = function(p, o)
      o.ffn = o.ffn or 4 * o.width
      if not o.vocab then api.fail("nn.bert", "option 'vocab' is missing", "there is no data to take it from") end
      o.normaliser = hop.modules.attention("nn.bert", o, "bert")
      local e, std = "bert.embeddings.", { std = o.init_std }
      p[e .. "word_embeddings"] = nn.embedding(o.vocab, o.width, { std = o.init_std, padding = o.padding })
      p[e .. "position_embeddings"] = nn.embedding(o.max_len, o.width, std)
      p[e .. "token_type_embeddings"] = nn.embedding(o.types, o.width, std)
      p[e .. "LayerNorm"] = nn.layer_norm(o.width, { eps = eps })
      local blocks = {}
      for i = 1, o.layers do
        blocks[i] = layer(o)
        p["bert.encoder.layer." .. (i - 1)] = blocks[i]
      end
      local t = "cls.predictions."
      p[t .. "bias"] = p:zeros { o.vocab }
      p[t .. "transform.dense"] = nn.linear(o.width, o.width, { std = o.init_std, act = "gelu" })
      p[t .. "transform.LayerNorm"] = nn.layer_norm(o.width, { eps = eps })
      p.blocks, p.options = blocks, o
    end,
    forward = function(p, ids, mask)
      return T.linear((hidden(p, ids, mask)), p["bert.embeddings.word_embeddings"].weight,
        p["cls.predictions.bias"])
    end,
    loss = function(p, batch)
      local h, gates = hidden(p, batch.ids, batch.mask)
      return T.lm_loss(h, p["bert.embeddings.word_embeddings"].weight, p["cls.predictions.bias"],
        batch.labels), gate.metrics(gates)
    end,
    -- what stays in float, and where the context is quantized (spec: quantization 6.1)
    quantization = function() return { in_float = { "cls.", ".alpha" }, gate_first = true } end,
    -- which activations the summary metrics are made of (spec: language-models 8.3)
    outliers = function()
      return { all = "/ffn%.out$|/norm%.in$|/out$", ffn = "/ffn%.out$", layer = "^layer%.%d+/out$",
        kurtosis = "/ffn%.out$|/out$", norm_in = "/norm%.in$" }
    end,
  } }
