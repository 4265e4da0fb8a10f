-- BERT and OPT in the form of public checkpoints: a directory with config.json and safetensors
-- (spec: language-models 1 and 2). Our own options stand in it under the key "hoplab", which other
-- loaders ignore: they run such a model with plain softmax.

local core, api, hop = ...
local nn, modules = hop.nn, hop.modules

local FORMAT = 1 -- of the object under "hoplab"

local function fail(path, message, hint) core.raise("E_FORMAT", path .. ": " .. message, hint) end

-- sizes: { our option, key, what other programs take where the key is missing, least value }
-- rates and numbers: the same without a least value
-- only: { key, the one value that our model computes }; a missing key means that value
local families = {
  bert = { kind = "nn.bert", architecture = "BertForMaskedLM",
    sizes = { { "layers", "num_hidden_layers", 12, 1 }, { "width", "hidden_size", 768, 1 },
      { "heads", "num_attention_heads", 12, 1 }, { "ffn", "intermediate_size", 3072, 1 },
      { "vocab", "vocab_size", 30522, 1 }, { "max_len", "max_position_embeddings", 512, 1 },
      { "types", "type_vocab_size", 2, 1 }, { "padding", "pad_token_id", 0, -1 } },
    numbers = { { "dropout", "hidden_dropout_prob", 0.1 },
      { "attn_dropout", "attention_probs_dropout_prob", 0.1 }, { "init_std", "initializer_range", 0.02 } },
    only = { { "hidden_act", "gelu" }, { "layer_norm_eps", 1e-12 }, { "position_embedding_type", "absolute" },
      { "is_decoder", false }, { "add_cross_attention", false }, { "tie_word_embeddings", true } },
    ignored = { "^bert%.pooler%.", "^cls%.seq_relationship%.", "^bert%.embeddings%.position_ids$" },
    tied = { { "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight" },
      { "cls.predictions.decoder.bias", "cls.predictions.bias" } },
    rename = function(name)
      return (name:gsub("LayerNorm%.gamma$", "LayerNorm.weight"):gsub("LayerNorm%.beta$", "LayerNorm.bias"))
    end,
    layer = "^bert%.encoder%.layer%.(%d+)%.",
    shapes = function(o)
      return { ["bert.embeddings.word_embeddings.weight"] = { o.vocab, o.width },
        ["bert.embeddings.position_embeddings.weight"] = { o.max_len, o.width },
        ["bert.embeddings.token_type_embeddings.weight"] = { o.types, o.width },
        ["bert.encoder.layer.0.intermediate.dense.weight"] = { o.ffn, o.width } }
    end },
  opt = { kind = "nn.opt", architecture = "OPTForCausalLM",
    sizes = { { "layers", "num_hidden_layers", 12, 1 }, { "width", "hidden_size", 768, 1 },
      { "heads", "num_attention_heads", 12, 1 }, { "ffn", "ffn_dim", 3072, 1 },
      { "vocab", "vocab_size", 50272, 1 }, { "max_len", "max_position_embeddings", 2048, 1 },
      { "embed", "word_embed_proj_dim", nil, 1 }, { "padding", "pad_token_id", 1, -1 } },
    numbers = { { "dropout", "dropout", 0.1 }, { "attn_dropout", "attention_dropout", 0 },
      { "init_std", "init_std", 0.02 } },
    only = { { "activation_function", "relu" }, { "activation_dropout", 0 }, { "layerdrop", 0 },
      { "enable_bias", true }, { "layer_norm_elementwise_affine", true },
      { "_remove_final_layer_norm", false }, { "tie_word_embeddings", true } },
    ignored = { "^model%.decoder%.version$" },
    tied = { { "lm_head.weight", "model.decoder.embed_tokens.weight" } },
    rename = function(name) return (name:gsub("^decoder%.", "model.decoder.")) end,
    layer = "^model%.decoder%.layers%.(%d+)%.",
    shapes = function(o)
      return { ["model.decoder.embed_tokens.weight"] = { o.vocab, o.embed },
        ["model.decoder.embed_positions.weight"] = { o.max_len + 2, o.width },
        ["model.decoder.layers.0.fc1.weight"] = { o.ffn, o.width } }
    end },
}

local function family_of(kind)
  for name, f in pairs(families) do
    if f.kind == kind then return f, name end
  end
end

local function shape_text(size) return "{" .. table.concat(size, ", ") .. "}" end

-- ---- reading: config.json ----

local function read_sizes(path, family, config, o)
  for _, s in ipairs(family.sizes) do
    local v = config[s[2]]
    if v == nil then v = s[3] end
    if v ~= nil and (math.type(v) ~= "integer" or v < s[4] or v > 1 << 40) then
      fail(path, ("%s is %s; it must be a whole number of at least %d"):format(s[2], tostring(v), s[4]))
    end
    o[s[1]] = v
  end
  o.embed = family.kind == "nn.opt" and (o.embed or o.width) or nil
  if o.width % o.heads ~= 0 then
    fail(path, ("hidden_size %d is not a multiple of num_attention_heads %d"):format(o.width, o.heads))
  end
end

local function read_config(dir)
  local path = dir .. "/config.json"
  local config = core.read_json(path)
  if type(config) ~= "table" then fail(path, "is no JSON object") end
  local family = families[config.model_type]
  if not family then
    fail(path, config.model_type == nil and "has no model_type" or
      ("model_type '%s' is not supported"):format(tostring(config.model_type)), "bert and opt are")
  end
  for _, f in ipairs(family.only) do
    local v = config[f[1]]
    if v ~= nil and v ~= f[2] then
      fail(path, ("%s is %s; only %s is supported"):format(f[1], tostring(v), tostring(f[2])))
    end
  end
  if config.quantization_config ~= nil then fail(path, "quantised weights (quantization_config) are not supported") end
  if type(config.pruned_heads) == "table" and next(config.pruned_heads) ~= nil then
    fail(path, "pruned heads (pruned_heads) are not supported")
  end
  local o = {}
  read_sizes(path, family, config, o)
  for _, s in ipairs(family.numbers) do
    local v = config[s[2]]
    if v == nil then v = s[3] end
    if type(v) ~= "number" or not (v >= 0 and v < math.huge) then
      fail(path, ("%s is %s; it must be a number of at least 0"):format(s[2], tostring(v)))
    end
    o[s[1]] = v
  end
  if family.kind == "nn.opt" then o.norm = config.do_layer_norm_before == false and "post" or "pre" end
  local own = type(config.hoplab) == "table" and config.hoplab or nil
  if own and own.format ~= FORMAT then
    fail(path, ("the object 'hoplab' is of format %s, this program reads %d"):format(tostring(own.format), FORMAT))
  end
  -- of our own fields only what the public ones cannot say: sizes are those of config.json
  for _, k in ipairs { "attention", "attn_init", "padding" } do
    if own and type(own.model) == "table" and own.model[k] ~= nil then o[k] = own.model[k] end
  end
  return family, o, own
end

-- ---- reading: weights ----

local function is_ignored(family, name)
  for _, p in ipairs(family.ignored) do
    if name:find(p) then return true end
  end
  return false
end

-- From the names of our parameters to the names in the files, and the sizes there by the latter.
local function map_names(path, family, weights)
  local sizes, map = core.weights_list(weights), {}
  for name in pairs(sizes) do
    local ours = family.rename(name)
    if not is_ignored(family, ours) then
      if map[ours] then fail(path, ("tensors '%s' and '%s' are the same parameter"):format(map[ours], name)) end
      map[ours] = name
    end
  end
  for _, pair in ipairs(family.tied) do
    local partner, main = map[pair[1]], map[pair[2]]
    if partner and main and not core.weights_same(weights, partner, main) then
      fail(path, ("'%s' differs from '%s': the model is not tied, which is not supported"):format(partner, main))
    end
    map[pair[2]], map[pair[1]] = main or partner, nil
  end
  return map, sizes
end

-- The sizes that config.json gives must be those of the files before anything of that size is made.
local function check_sizes(path, family, o, map, sizes)
  for name, want in pairs(family.shapes(o)) do
    local have = map[name] and sizes[map[name]]
    if not have then fail(path, ("there is no tensor '%s'"):format(name)) end
    if shape_text(have) ~= shape_text(want) then
      fail(path, ("tensor '%s' has shape %s, config.json says %s"):format(map[name], shape_text(have),
        shape_text(want)))
    end
  end
  local n = 0
  for name in pairs(map) do
    local i = name:match(family.layer)
    if i then n = math.max(n, (math.tointeger(tonumber(i)) or 0) + 1) end
  end
  if n ~= o.layers then
    fail(path, ("the tensors are of %d layers, config.json says %d"):format(n, o.layers))
  end
end

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

-- A gate that a public checkpoint knows nothing of keeps its start (spec: attention 5.3).
local function is_gate(name) return name:find(".alpha", 1, true) ~= nil end

-- Names in the files are the model's.
local no_family = { ignored = {}, tied = {}, rename = function(name) return name end }

-- Called once by the module tree, right after the parameters of m were drawn.
function modules.fill(m, path)
  local family = family_of(modules.kind(m)) or no_family
  local weights = core.weights_open(path)
  local map, sizes = map_names(path, family, weights)
  local with_gates = false
  for name in pairs(map) do with_gates = with_gates or is_gate(name) end
  for name, t in m:parameters() do
    local source = map[name]
    if not source and (with_gates or not is_gate(name)) then
      fail(path, ("there is no tensor '%s', which the model needs with shape %s"):format(name, shape_text(t:size())))
    end
    if source then
      if shape_text(sizes[source]) ~= shape_text(t:size()) then
        fail(path, ("tensor '%s' has shape %s, the model needs %s"):format(source, shape_text(sizes[source]),
          shape_text(t:size())))
      end
      core.weights_read(weights, source, t)
      map[name] = nil
    end
  end
  for _, name in ipairs(sorted_keys(map)) do
    fail(path, ("tensor '%s' with shape %s has no place in the model"):format(map[name],
      shape_text(sizes[map[name]])), is_gate(name) and "model.attention says which gate there is" or nil)
  end
end

-- A method by name says what the single settings say: whoever changes one of the two means that one.
local function with_changes(o, changes)
  local a, b = o.attention, changes.attention
  if type(b) == "table" and b.method then o.attention = nil end
  if type(a) == "table" and a.softmax then a.method = nil end
  for k, v in pairs(changes) do
    if type(v) == "table" and type(o[k]) == "table" then
      o[k] = with_changes(o[k], v)
    else
      o[k] = v
    end
  end
  return o
end

api.define(hop, { name = "nn.from_hf", safety = "setup",
  doc = "nn.bert or nn.opt as config.json of the directory says, with the weights of its model.safetensors " ..
    "(or of the files that model.safetensors.index.json names; F32, F16 and BF16). `changes` are options of " ..
    "the model: dropout, attention. Never runs code.",
  args = { { "path", "path" }, { "changes", "table", default = {} } }, returns = "module",
  example = 'nn.from_hf("opt-125m", { dropout = 0 })',
  fn = function(path, changes)
    local family, o = read_config(path)
    check_sizes(path, family, o, map_names(path, family, core.weights_open(path)))
    o = with_changes(o, changes)
    o.init = path
    return nn[family.kind:match "%.(.+)$"](o)
  end })

-- ---- writing ----

local function plain(v)
  if type(v) ~= "table" then return v end
  local out = {}
  for k, x in pairs(v) do out[k] = plain(x) end
  return out
end

-- config.json of a model given as plain options with `kind`.
local function config_for(model, about)
  local family, name = family_of(model.kind)
  if not family then
    core.raise("E_UNSUPPORTED", ("a model '%s' has no form that other programs know"):format(tostring(model.kind)),
      "nn.bert and nn.opt have one")
  end
  local c = { model_type = name, architectures = { family.architecture }, torch_dtype = about.dtype or "float32" }
  for _, list in ipairs { family.sizes, family.numbers } do
    for _, s in ipairs(list) do c[s[2]] = model[s[1]] end
  end
  for _, f in ipairs(family.only) do c[f[1]] = f[2] end
  if model.padding == nil or model.padding < 0 then c.pad_token_id = core.null end
  if name == "opt" then
    c.do_layer_norm_before = model.norm ~= "post"
    c.bos_token_id = model.padding == 1 and 2 or core.null -- the ids of OPT's own vocabulary, or none
    c.eos_token_id = c.bos_token_id
  end
  local own = plain(model)
  own.normaliser, own.init = nil, nil -- follows from attention; where it started is not where it is
  c.hoplab = { format = FORMAT, model = own, data = about.data, run = about.run, step = about.step }
  return c
end

local function options_of(m)
  local o = {}
  for k, v in pairs(modules.options(m)) do
    if type(v) ~= "function" then o[k] = v end
  end
  o.kind = modules.kind(m)
  return o
end

api.define(hop, { name = "hop.save_hf", safety = "setup",
  doc = "Writes nn.bert or nn.opt as a directory that the transformers library loads: config.json and " ..
    "model.safetensors. The directory must not exist, or be empty.",
  args = { { "path", "path" }, { "model", "module" } }, example = 'hop.save_hf("out", model)',
  fn = function(path, m)
    local tensors = {}
    for name, t in m:parameters() do tensors[name] = t end
    core.save_dir(path, tensors, config_for(options_of(m), { dtype = core.fp64() and "float64" or nil }))
  end })

hop.hf = { read_config = read_config, config_for = config_for, families = families }
