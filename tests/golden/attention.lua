-- Reference numbers of tests/golden/attention (its README: seeds, definitions, tolerances):
-- normalisers, edge cases, BERT and OPT attention blocks, three tiny whole models with the clipped
-- AdamW step. Run as: hoplab lua tests/golden/attention.lua DIR

local hop = require "hop"
local check = require "check"
local T, nn = hop.T, hop.nn
local dir = arg[1]

-- a file, or nil (with a visible skip) where this selection does not have it
local function load(name)
  local path = dir .. "/" .. name .. ".safetensors"
  local f = io.open(path)
  if not f then
    check.skip(name, "not in " .. dir)
    return nil
  end
  f:close()
  return hop.load(path)
end
if not load "normalisers" then hop.exit(77) end

-- "clipped_g-0.025_e1.1" -> the arguments of T.normalise
local function normaliser(id)
  if id:find("_alpha12_L512$") then
    local base = id:gsub("_alpha12_L512", ""):gsub("^clipped$", "vanilla"):gsub("^clippedsoftmax1$", "softmax1")
    return nn.normaliser(base, 12, 512)
  end
  local base, g, e = id:match("^(%w+)_g([^_]+)_e(.+)$")
  if base then return nn.normaliser(("%s(%s:%s)"):format(base, g, e)) end
  return nn.normaliser(id)
end

-- ---- normalisers ----

local function ids_of(file, prefix)
  local ids = {}
  for name in pairs(file) do
    local id = name:match("^" .. prefix:gsub("%.", "%%.") .. "(.+)%.out$")
    if id then ids[#ids + 1] = id end
  end
  table.sort(ids)
  return ids
end

local function check_group(file, prefix, label)
  local ids = ids_of(file, prefix)
  check.that(label .. " has all normalisers", #ids == 13, #ids .. " found")
  for _, id in ipairs(ids) do
    local f = normaliser(id)
    local x = file[prefix .. "scores"]:detach():require_grad()
    local y = T.normalise(x, { base = f.base, gamma = f.gamma, eta = f.eta })
    check.close(label .. " " .. id, y, file[prefix .. id .. ".out"], 1e-6)
    local g = T.grad((y * file[prefix .. "grad_out"]):sum(), { x })[1]
    check.close(label .. " " .. id .. " vjp", g, file[prefix .. id .. ".vjp"], 1e-6)
  end
end

check_group(load "normalisers", "", "normaliser")
local edge = load "normalisers_edge"
check_group(edge, "extreme.", "extreme")
check_group(edge, "hardmask.", "hardmask")

-- ---- gates ----

-- Predictor parameters below `prefix` as gate.apply reads them; names: their file names.
local function predictor(g, prefix, file, leaf)
  local names = {}
  local function pair(at)
    names[#names + 1], names[#names + 2] = at .. "weight", at .. "bias"
    return { weight = leaf(at .. "weight"), bias = leaf(at .. "bias") }
  end
  if file[prefix] then
    names[1] = prefix
    return leaf(prefix), names
  elseif g.predictor == "all_features" then
    local all = pair(prefix .. ".")
    return function(x) return T.linear(x, all.weight, all.bias) end, names
  end
  local heads = {}
  for h = 1, g.heads do
    local at = ("%s.%d."):format(prefix, h - 1)
    heads[h] = g.predictor == "linear" and pair(at) or { ["0"] = pair(at .. "0."), ["2"] = pair(at .. "2.") }
  end
  return heads, names
end

-- [B, H, T, n] to [B, T, H n]
local function merge_heads(x)
  local b, h, t, n = table.unpack(x:size())
  return T.reshape(T.permute(x, { 1, 3, 2, 4 }), { b, t, h * n })
end

-- [B or 1, T or 1, H] to [B or 1, H, T or 1, 1]
local function as_stored(q)
  local b, t, h = table.unpack(q:size())
  return T.reshape(T.permute(q, { 1, 3, 2 }), { b, h, t, 1 })
end

local function check_gate(file, variant)
  local type_, which = variant:match "^([%w_]+)%.?([%w_]*)$"
  local fine = which == "linear_ft"
  local g = { type = type_, predictor = fine and "linear" or which, heads = 3, width = 8,
    scale = file[variant .. ".scale"]:item() }
  local list, at = {}, variant .. "."
  local function leaf(name)
    list[#list + 1] = file[name]:detach():require_grad()
    return list[#list]
  end
  local alpha, names = predictor(g, at .. "alpha", file, leaf)
  local hidden, context = leaf "hidden", leaf "context"
  local out, q = hop.modules.gate.apply({ alpha = alpha }, "", g, merge_heads(context), hidden)
  check.close(variant .. " gate", as_stored(q), file[at .. "gate"], 2e-6)
  check.close(variant .. " out", out, merge_heads(file[at .. "out"]), 2e-6)
  check.close(variant .. " avg_prob", T.mean(q, { 1, 2 }), file[at .. "avg_prob"], 2e-6)
  local grads = T.grad((out * merge_heads(file.grad_out)):sum(), list)
  names[#names + 1], names[#names + 2] = at .. "hidden", at .. "context"
  for i, name in ipairs(names) do
    local want = file[at .. "grad." .. name:sub(#at + 1)]
    check.close(("%s grad %s"):format(variant, name), grads[i] or T.zeros(want:size()), want, 2e-6, 2e-6)
  end
end

local gates = load "gates"
if gates then
  for _, variant in ipairs { "unconditional_per_head", "conditional_per_head.linear", "conditional_per_head.mlp",
    "conditional_per_token.linear", "conditional_per_token.linear_ft", "conditional_per_token.mlp",
    "conditional_per_token.mlp2", "conditional_per_token.all_features" } do
    check_gate(gates, variant)
  end
end

-- ---- attention blocks ----

-- the same weights through whole matrices: what the fused kernel must agree with
local function probabilities(q, k, mask, heads, causal, f)
  local b, t, w = table.unpack(q:size())
  local function split(x) return T.permute(T.reshape(x, { b, t, heads, w // heads }), { 1, 3, 2, 4 }) end
  local scores = T.matmul(split(q), split(k), { tb = true }) * (1 / math.sqrt(w // heads))
  local permitted = T.expand(T.reshape(T.cast(mask, "f32"), { b, 1, 1, t }), { b, heads, t, t })
  if causal then
    local rows = T.expand(T.reshape(T.arange(1, t), { 1, 1, t, 1 }), { b, heads, t, t })
    local cols = T.expand(T.reshape(T.arange(1, t), { 1, 1, 1, t }), { b, heads, t, t })
    permitted = permitted * T.le(cols, rows)
  end
  local forbidden = T.full({ b, heads, t, t }, -math.huge)
  return T.normalise(T.where(permitted, scores, forbidden), { base = f.base, gamma = f.gamma, eta = f.eta })
end

local function leaves(file, names)
  local out, list = {}, {}
  for i, name in ipairs(names) do
    out[name] = file[name]:detach():require_grad()
    list[i] = out[name]
  end
  return out, list
end

-- c, gated as the method says by the block's input x; its parameters join names and list
local function gated(file, label, prefix, f, names, list, c, x)
  if not f.gate then return c end
  local alpha, more = predictor(f.gate, prefix .. "alpha", file, function(name)
    list[#list + 1] = file[name]:detach():require_grad()
    return list[#list]
  end)
  for _, name in ipairs(more) do names[#names + 1] = name end
  local out, q = hop.modules.gate.apply({ alpha = alpha }, "", f.gate, c, x)
  check.close(label .. " gate", as_stored(q), file.gate, 1e-5)
  check.close(label .. " gate_avg_prob", T.mean(q, { 1, 2 }), file.gate_avg_prob, 1e-5)
  return out
end

local function check_grads(label, file, names, loss, list)
  local grads = T.grad(loss, list)
  for i, name in ipairs(names) do
    local want = file["grad." .. name]
    check.close(label .. " grad " .. name, grads[i] or T.zeros(want:size()), want, 5e-5)
  end
end

local function bert_block(file, label, f)
  local file_names = { "hidden" }
  for _, p in ipairs { "attention.self.query", "attention.self.key", "attention.self.value",
    "attention.output.dense", "attention.output.LayerNorm" } do
    file_names[#file_names + 1] = p .. ".weight"
    file_names[#file_names + 1] = p .. ".bias"
  end
  local p, list = leaves(file, file_names)
  local mask = T.cast(file.attention_mask, "bool")
  local function linear(name, x) return T.linear(x, p[name .. ".weight"], p[name .. ".bias"]) end
  local q, k, v = linear("attention.self.query", p.hidden), linear("attention.self.key", p.hidden),
    linear("attention.self.value", p.hidden)
  check.close(label .. " probs", probabilities(q, k, mask, 4, false, f), file.probs, 1e-5)
  local c = T.attention(q, k, v, mask, { heads = 4, base = f.base, gamma = f.gamma, eta = f.eta })
  c = gated(file, label, "attention.self.", f, file_names, list, c, p.hidden)
  check.close(label .. " attn_out", c, file.attn_out, 1e-5)
  local out = T.layernorm(linear("attention.output.dense", c) + p.hidden,
    p["attention.output.LayerNorm.weight"], p["attention.output.LayerNorm.bias"], 1e-12)
  check.close(label .. " out", out, file.out, 1e-5)
  check_grads(label, file, file_names, (out * file.grad_out):sum(), list)
end

local function opt_block(file, label, f)
  local names = { "hidden", "self_attn_layer_norm.weight", "self_attn_layer_norm.bias" }
  for _, p in ipairs { "k_proj", "v_proj", "q_proj", "out_proj" } do
    names[#names + 1] = "self_attn." .. p .. ".weight"
    names[#names + 1] = "self_attn." .. p .. ".bias"
  end
  local p, list = leaves(file, names)
  local mask = T.cast(file.attention_mask, "bool")
  local h = T.layernorm(p.hidden, p["self_attn_layer_norm.weight"], p["self_attn_layer_norm.bias"], 1e-5)
  local function linear(name, x)
    return T.linear(x, p["self_attn." .. name .. ".weight"], p["self_attn." .. name .. ".bias"])
  end
  local q, k, v = linear("q_proj", h), linear("k_proj", h), linear("v_proj", h)
  check.close(label .. " probs", probabilities(q, k, mask, 4, true, f), file.probs, 1e-5)
  local c = T.attention(q, k, v, mask, { heads = 4, causal = true, base = f.base, gamma = f.gamma, eta = f.eta })
  local a = linear("out_proj", gated(file, label, "self_attn.", f, names, list, c, h))
  check.close(label .. " attn_out", a, file.attn_out, 1e-5)
  local out = p.hidden + a
  check.close(label .. " out", out, file.out, 1e-5)
  check_grads(label, file, names, (out * file.grad_out):sum(), list)
end

-- A method as its name says, in blocks of width 32 with 4 heads.
local function method(name, family, length)
  local o = { width = 32, heads = 4, max_len = length, attention = { method = name } }
  return hop.modules.attention("a block", o, family)
end

local methods = { "vanilla", "clipped_softmax", "gated_attention", "outeffhop", "clipped_outeffhop",
  "gated_outeffhop" }
for _, name in ipairs(methods) do
  for family, block in pairs { bert = bert_block, opt = opt_block } do
    local label = ("%s_block_%s"):format(family, name)
    local file = load(label)
    if file then block(file, label, method(name, family, 512)) end
  end
end
local quirk = load "bert_block_clipped_outeffhop_quirk"
if quirk then bert_block(quirk, "bert quirk", nn.normaliser "clippedsoftmax1(-.025:1.1)") end

-- ---- tiny whole models ----

-- labels[b, t] = next id; the last of a block counts nothing
local function shifted(labels)
  local rows = labels:table()
  for _, row in ipairs(rows) do
    table.remove(row, 1)
    row[#row + 1] = -100
  end
  return T.from(rows, { dtype = "i32" })
end

local function check_model(name, make, shift, optim)
  local file, label = load(name), name
  local model = make()
  local batch = { ids = T.cast(file.input_ids, "i32"), mask = T.cast(file.attention_mask, "bool"),
    labels = shift and shifted(file.labels) or T.cast(file.labels, "i32") }
  model:load_state(file)
  model:eval()
  check.close(label .. " logits", model(batch.ids, batch.mask), file.logits, 1e-5, 1e-5)
  local names, list, norm = {}, {}, 0
  for n, t in model:parameters() do
    names[#names + 1] = n
    list[#list + 1] = t
  end
  local loss = model:loss(batch)
  check.near(label .. " loss", loss:item(), file.loss:item(), 1e-5)
  for i, g in pairs(T.grad(loss, list)) do
    check.close(label .. " grad " .. names[i], g, file["grad." .. names[i]], 1e-4, 1e-4)
    norm = norm + T.square(g):sum():item()
  end
  check.near(label .. " grad_norm", math.sqrt(norm), file.grad_norm:item(), 1e-4, 1e-4)
  -- one clipped AdamW step
  if not file["step1." .. names[1]] then return check.skip(label .. " step1", "not in " .. dir) end
  local step = hop.train_step { model = model, optim = optim, max_grad_norm = 1.0 }
  local out = step(batch)
  check.near(label .. " step loss", out.loss, file.loss:item(), 1e-5)
  check.near(label .. " step grad_norm", out.grad_norm, file.grad_norm:item(), 1e-4, 1e-4)
  for n, t in model:parameters() do
    local sure = T.le(T.full(t:size(), 1e-3), T.abs(file["grad." .. n]))
    check.close(label .. " step1 " .. n, t:detach(), file["step1." .. n], 2e-5, nil, sure)
  end
end

local opt = hop.optim.adamw
check_model("tiny_bert_mlm", function()
  return nn.bert { layers = 2, width = 32, heads = 4, ffn = 64, vocab = 40, max_len = 16, dropout = 0,
    attn_dropout = 0, attention = { softmax = "softmax1" } }
end, false, opt { lr = 0.01, betas = { 0.9, 0.999 }, weight_decay = 0.01, no_decay = { "bias", "LayerNorm.weight" } })
check_model("tiny_opt_clm_prenorm", function()
  return nn.opt { layers = 2, width = 32, heads = 4, ffn = 64, vocab = 40, max_len = 16, dropout = 0,
    padding = 1, attention = { softmax = ("clipped(%.17g:1)"):format(-12 / 512) } }
end, true, opt { lr = 0.01, betas = { 0.9, 0.95 }, weight_decay = 0.1, no_decay = { "bias" } })
check_model("tiny_opt_clm_postnorm_proj", function()
  return nn.opt { layers = 2, width = 32, heads = 4, ffn = 64, vocab = 40, max_len = 16, embed = 16,
    dropout = 0, padding = 1, norm = "post", attention = { softmax = "softmax1" } }
end, true, opt { lr = 0.01, betas = { 0.9, 0.95 }, weight_decay = 0.1, no_decay = { "bias", "layer_norm.weight" } })

-- ---- outlier metrics ----

local m = load "metrics"
local function kurtosis(rows)
  local out = {}
  for i, r in ipairs(rows:table()) do
    local n, m2, m4 = r[1], r[4], r[6]
    local s2 = m2 / (n - 1)
    out[i] = m4 / n / (s2 * s2 + 1e-6)
  end
  return T.from(out)
end
local function inf_norm(rows)
  local out = {}
  for i, r in ipairs(rows:table()) do out[i] = math.max(-r[7], r[8]) end
  return T.from(out)
end
for _, act in ipairs { "a", "b" } do
  for batch = 0, 2 do
    local x = ("%s.batch%d"):format(act, batch)
    for leading, kind in pairs { "seq", "tok" } do
      local rows = T.moments(m[x], { leading = leading, bins = false })
      check.close(x .. " kurtosis " .. kind, kurtosis(rows), m[x .. ".kurtosis_" .. kind], 0, 1e-5)
      check.close(x .. " inf " .. kind, inf_norm(rows), m[x .. ".inf_" .. kind], 0, 1e-5)
    end
  end
end
check.close("constant rows", kurtosis(T.moments(m["eps.x"], { leading = 1, bins = false })),
  m["eps.kurtosis"], 1e-5, 1e-5)

check.done()
