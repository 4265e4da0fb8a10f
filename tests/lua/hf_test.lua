-- Directories of public checkpoints: what is refused and how, damage, and models inside of models.
-- Run as: hoplab lua tests/lua/hf_test.lua GOLDEN/hf

local hop = require "hop"
local check = require "check"
local T, nn = hop.T, hop.nn
local golden = arg[1]

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "a"
  f:close()
  return s
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

-- a directory of its own with a tiny model of each family, as we write it
local function new_dir(model)
  local path = os.tmpname()
  os.remove(path)
  hop.save_hf(path, model)
  return path
end

local function remove(path)
  os.remove(path .. "/config.json")
  os.remove(path .. "/model.safetensors")
  os.remove(path)
end

local sizes = { layers = 2, width = 8, heads = 2, ffn = 12, vocab = 20, max_len = 6 }
local bert, opt = new_dir(nn.bert(sizes)), new_dir(nn.opt(sizes))
local texts = { [bert] = read(bert .. "/config.json"), [opt] = read(opt .. "/config.json") }
local tensors = { [bert] = hop.load(bert), [opt] = hop.load(opt) }

local function load(path)
  local m = nn.from_hf(path)
  m:parameters()
  return m
end

-- ---- config.json ----

local function config_raises(path, from, to, message)
  local text, n = texts[path]:gsub(from:gsub("[%-.]", "%%%0"), (to:gsub("%%", "%%%%")))
  check.that(from .. " stands there", n == 1, tostring(n))
  write(path .. "/config.json", text)
  check.raises(to, message, load, path)
  check.raises(to .. " names the file", path, load, path)
  write(path .. "/config.json", texts[path])
end

for _, c in ipairs {
  { '"model_type":"bert"', '"model_type":"gpt2"', "model_type 'gpt2' is not supported" },
  { '"model_type":"bert",', "", "has no model_type" },
  { '"hidden_act":"gelu"', '"hidden_act":"gelu_new"', "hidden_act is gelu_new; only gelu" },
  { '"layer_norm_eps":1e-12', '"layer_norm_eps":1e-5', "layer_norm_eps" },
  { '"position_embedding_type":"absolute"', '"position_embedding_type":"relative_key"', "relative_key" },
  { '"is_decoder":false', '"is_decoder":true', "is_decoder is true" },
  { '"tie_word_embeddings":true', '"tie_word_embeddings":false', "tie_word_embeddings is false" },
  { '"is_decoder":false', '"quantization_config":{}', "quantization_config" },
  { '"is_decoder":false', '"pruned_heads":{"0":[1]}', "pruned_heads" },
  { '"hidden_size":8', '"hidden_size":0', "hidden_size is 0" },
  { '"hidden_size":8', '"hidden_size":"8"', "hidden_size is 8; it must be a whole number" },
  { '"hidden_size":8', '"hidden_size":8.5', "hidden_size is 8.5" },
  { '"hidden_size":8', '"hidden_size":1e300', "hidden_size" },
  { '"hidden_size":8', '"hidden_size":7', "7 is not a multiple of num_attention_heads 2" },
  { '"num_attention_heads":2', '"num_attention_heads":3', "8 is not a multiple of num_attention_heads 3" },
  { '"vocab_size":20', '"vocab_size":1000000000000', "config.json says {1000000000000, 8}" },
  { '"vocab_size":20', '"vocab_size":21', "has shape {20, 8}, config.json says {21, 8}" },
  { '"intermediate_size":12', '"intermediate_size":13', "config.json says {13, 8}" },
  { '"max_position_embeddings":6', '"max_position_embeddings":7', "config.json says {7, 8}" },
  { '"num_hidden_layers":2', '"num_hidden_layers":1000000000', "of 2 layers, config.json says 1000000000" },
  { '"hidden_dropout_prob":0.1', '"hidden_dropout_prob":"NaN"', "hidden_dropout_prob" },
  { '"format":1', '"format":99', "of format 99" },
} do config_raises(bert, c[1], c[2], c[3]) end
for _, c in ipairs {
  { '"activation_function":"relu"', '"activation_function":"gelu"', "only relu" },
  { '"layerdrop":0', '"layerdrop":0.1', "layerdrop is 0.1" },
  { '"enable_bias":true', '"enable_bias":false', "enable_bias is false" },
  { '"word_embed_proj_dim":8', '"word_embed_proj_dim":4', "has shape {20, 8}, config.json says {20, 4}" },
  { '"do_layer_norm_before":true', '"do_layer_norm_before":false',
    "tensor 'model.decoder.final_layer_norm.bias' with shape {8} has no place" },
} do config_raises(opt, c[1], c[2], c[3]) end

-- any damage is an error that names the file, or a model
local function damaged(text, what)
  write(bert .. "/config.json", text)
  local ok, err = pcall(load, bert)
  if not ok and not tostring(err):find("nn.", 1, true) then
    check.that(what, tostring(err):find(bert, 1, true), tostring(err))
  end
end
local text = texts[bert]
for i = 0, #text - 1 do
  damaged(text:sub(1, i), "cut to " .. i)
  damaged(text:sub(1, i) .. string.char(text:byte(i + 1) ~ (1 << i % 7)) .. text:sub(i + 2), "flipped at " .. i)
end
damaged(("["):rep(100000), "deep")
damaged(('{"a":'):rep(100000), "deep objects")
damaged("[]", "a list")
damaged("7", "a number")
write(bert .. "/config.json", text)
check.that("undamaged again", pcall(load, bert))

-- ---- tensors ----

local function tensors_raise(path, changes, message)
  local t = {}
  for k, v in pairs(tensors[path]) do t[k] = v end
  for k, v in pairs(changes) do t[k] = v or nil end
  hop.save(path .. "/model.safetensors", t)
  check.raises(message, message, load, path)
  hop.save(path .. "/model.safetensors", tensors[path])
end

local q = "bert.encoder.layer.1.attention.self.query."
tensors_raise(bert, { [q .. "bias"] = false },
  "there is no tensor '" .. q .. "bias', which the model needs with shape {8}")
tensors_raise(bert, { [q .. "weight"] = T.zeros { 8, 9 } },
  "tensor '" .. q .. "weight' has shape {8, 9}, the model needs {8, 8}")
tensors_raise(bert, { [q .. "weight"] = T.zeros({ 8, 8 }, { dtype = "i32" }) }, "holds i32, the model needs floats")
tensors_raise(bert, { more = T.zeros { 3 } }, "tensor 'more' with shape {3} has no place in the model")
tensors_raise(bert, { [q .. "alpha"] = T.zeros { 2 } }, "has no place in the model")
tensors_raise(bert, { ["bert.embeddings.LayerNorm.gamma"] = T.zeros { 8 } }, "are the same parameter")
tensors_raise(bert, { ["cls.predictions.decoder.weight"] = T.zeros { 20, 8 } }, "the model is not tied")
tensors_raise(bert, { ["bert.embeddings.word_embeddings.weight"] = false },
  "there is no tensor 'bert.embeddings.word_embeddings.weight'")
tensors_raise(opt, { ["lm_head.weight"] = T.zeros { 20, 8 } }, "the model is not tied")
tensors_raise(opt, { ["model.decoder.layers.2.fc1.bias"] = T.zeros { 12 } }, "of 3 layers, config.json says 2")
check.raises("no directory", "/nowhere/at/all/config.json", load, "/nowhere/at/all")
check.raises("no weights", "neither model.safetensors nor", hop.load, golden)

-- ---- what it is good for ----

local file = hop.load(golden .. "/opt_sharded")
local n = 0
for _ in pairs(file) do n = n + 1 end
check.equal("tensors of all shards", n, 36)
check.raises("unknown option", "unknown option 'sofmax'", nn.from_hf, opt, { attention = { sofmax = "softmax1" } })
check.raises("a size of its own", "the model needs {40, 8}", function()
  nn.from_hf(opt, { vocab = 40 }):parameters()
end)

local ids = T.from({ { 3, 4, 5 } }, { dtype = "i32" })
local a, b = load(opt):eval(), nn.from_hf(opt, { attention = { softmax = "softmax1" } }):eval()
check.that("another method gives other logits", T.abs(a(ids) - b(ids)):sum():item() > 1e-4)
local own = new_dir(b)
check.close("the method is known again", nn.from_hf(own):eval()(ids), b(ids), 1e-6)
remove(own)
check.raises("too long", "longer than max_len = 6", function()
  a(T.from({ { 3, 3, 3, 3, 3, 3, 3 } }, { dtype = "i32" }))
end)

-- a model with such a model in it: its weights are there, its own parts drawn
local holder = nn.module { name = "holder",
  params = function(p) p.inner, p.w = nn.from_hf(opt), p:ones { 1 } end,
  forward = function(p, x) return p.inner(x) * p.w end } {}
holder:eval()
check.close("inside of a module", holder(ids), a(ids), 1e-6)
check.raises("a model of one's own", "has no form that other programs know", hop.save_hf, bert .. "-x", holder)

-- described by hand, filled from the files
local by_hand = nn.opt { layers = 2, width = 8, heads = 2, ffn = 12, vocab = 20, max_len = 6, init = opt }
check.close("init", by_hand:eval()(ids), a(ids), 1e-6)

remove(bert)
remove(opt)
check.done()
