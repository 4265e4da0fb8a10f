-- Quantized tiny models against the reference's numbers (golden/quantization: tiny_bert, tiny_opt, pipeline):
-- ranges after each batch of calibration, quantizers, what comes out of them, logits and loss.
-- Run as: hoplab lua tests/golden/quantization.lua DIR

local hop = require "hop"
local check = require "check"
local T, nn = hop.T, hop.nn
local dir = arg[1]

local function numbers(t) return T.reshape(t:detach(), { -1 }):table() end

-- ---- names: of the reference's modules, and of ours ----

local special = {
  ["bert.embeddings.sum_input_token_type_embd_act_quantizer"] = "bert.embeddings.token_type_embeddings.sum",
  ["bert.embeddings.sum_pos_embd_act_quantizer"] = "bert.embeddings.position_embeddings.sum",
  ["model.decoder.embed_sum_act_quantizer"] = "model.decoder.embed_positions.sum",
  ["model.decoder.embed_positions.quant_embedding"] = "model.decoder.embed_positions",
}
local weights = { lm_head = "model.decoder.embed_tokens" } -- tied: one quantizer
local parts = {
  { "%.attn_scores_act_quantizer$", ".scores" }, { "%.attn_probs_act_quantizer$", ".probs" },
  { "%.context_act_quantizer$", ".context" }, { "%.self_attn_res_act_quantizer$", ".self_attn.out_proj.sum" },
  { "%.ffn_res_act_quantizer$", ".fc2.sum" }, { "%.res_act_quantizer$", ".dense.sum" },
  { "%.intermediate%.0$", ".intermediate.dense" }, { "%.fc1_act$", ".fc1" },
}
local function ours(name)
  if special[name] then return special[name] end
  for _, p in ipairs(parts) do
    local s, n = name:gsub(p[1], p[2])
    if n > 0 then return s end
  end
  return name
end

-- ---- one model ----

local function site_of(q, name, role)
  for _, s in ipairs(q:sites()) do
    if s.name == name and s.role == role then return s end
  end
  return nil
end

-- fraction of codes that differ, and by how much at most
local function compare_values(what, got, want, scale)
  local a, b, n, most = numbers(got), numbers(want), 0, 0
  if #a ~= #b then return check.that(what, false, ("%d numbers, want %d"):format(#a, #b)) end
  for i = 1, #a do
    local d = math.abs(a[i] - b[i]) / scale
    if d > 0.01 then n, most = n + 1, math.max(most, d) end
  end
  check.that(what, n <= 0.001 * #a and most < 1.01, ("%d of %d codes differ, by up to %.2f"):format(n, #a, most))
end

local function check_quantizer(what, s, want)
  local w = numbers(want)
  local value = function(i) return w[i] + w[i + 1] end
  check.near(what .. " delta", s.delta, value(1), 5e-6 * math.abs(w[1]))
  check.near(what .. " scale", s.scale, w[3], 5e-6 * w[3])
  check.near(what .. " zero", s.zero_float, value(4), 5e-6 * math.abs(w[4]))
  check.equal(what .. " zero point", s.zero_point, w[6])
  check.equal(what .. " least code", s.code_min, w[8])
  check.equal(what .. " largest code", s.code_max, w[9])
end

-- Linear layers in integers: the same codes but for ties, the same loss.
local function check_executed(what, q, batch, simulated, at)
  local out, at_too = q:execute(batch)
  check.near(what .. " executed loss", out[1]:item(), simulated[1]:item(), 1e-4 * simulated[1]:item())
  local n_codes, n_other, most = 0, 0, 0
  for name, t in pairs(at) do
    local a, b, scale = numbers(t), numbers(at_too[name] or t), site_of(q, name, "act").scale -- none: fused
    n_codes = n_codes + #a
    for i = 1, #a do
      local d = math.abs(a[i] - b[i]) / scale
      if d > 0.01 then n_other, most = n_other + 1, math.max(most, d) end
    end
  end
  check.that(what .. " executed codes", n_other <= math.max(1, 1e-4 * n_codes) and most < 1.01 or what:find "int16",
    ("%d of %d codes differ, by up to %.2f"):format(n_other, n_codes, most))
end

-- golden: tensors by name below the variant; batch(i): a batch of our names; loose: norms of 16 bits.
local function check_variant(what, q, golden, batch, loose, logits)
  check.close(what .. " logits in float", logits, golden["fp/logits"], 1e-5)
  for i = 0, 3 do
    q:observe(batch(i))
    for name, t in pairs(golden) do
      local module = name:match("^calib/(.*)%.activation_quantizer$")
      if module then
        local s, w = site_of(q, ours(module), "act"), t:table()[i + 1]
        local size = math.max(math.abs(w[1]), math.abs(w[3]))
        check.near(("%s batch %d %s lo"):format(what, i, module), s.lo, w[1] + w[2], 5e-6 * size)
        check.near(("%s batch %d %s hi"):format(what, i, module), s.hi, w[3] + w[4], 5e-6 * size)
      end
    end
  end
  local out, at = q:run(batch(4))
  local n = 0
  for name, t in pairs(golden) do
    local module, role = name:match("^q/(.*)%.(%a+)_quantizer$")
    if module then
      local tensor = role == "weight" and (weights[module] or ours(module)) .. ".weight" or ours(module)
      local s = site_of(q, tensor, role == "weight" and role or "act")
      if not (role == "weight" and weights[module]) then n = n + 1 end
      check.that(what .. " has " .. name, s ~= nil)
      if s and not (loose and s.bits == 16) then check_quantizer(what .. " " .. name, s, t) end
    end
    local o = name:match("^out/(.*)$")
    local got = o and at[ours(o)]
    if got and #got:size() == 3 and o:find "context" and t:size(3) ~= got:size(3) then -- heads apart
      local size = got:size()
      local heads = size[3] // t:size(3)
      got = T.permute(T.reshape(got, { size[1], size[2], heads, t:size(3) }), { 1, 3, 2, 4 })
    end
    if got then compare_values(what .. " " .. name, got, t, site_of(q, ours(o), "act").scale) end
  end
  check.equal(what .. " quantizers", #q:sites(), n)
  check_executed(what, q, batch(4), out, at)
  check.near(what .. " loss", out[1]:item(), golden.loss:item(), (loose and 1e-2 or 2e-6) * golden.loss:item())
  if not loose then check.close(what .. " logits", out[2], golden.logits, 5e-6) end
end

local function variants_of(file)
  local params, batches, variants = {}, {}, {}
  for name, t in pairs(file) do
    local head, rest = name:match("^([^/]+)/(.*)$")
    if head == "param" then params[rest] = t
    elseif head:match("^batch%d$") then
      batches[tonumber(head:sub(6))] = batches[tonumber(head:sub(6))] or {}
      batches[tonumber(head:sub(6))][rest] = t
    else
      variants[head] = variants[head] or {}
      variants[head][rest] = t
    end
  end
  return params, batches, variants
end

local function load(model, params, rename)
  for name, t in model:parameters() do
    local from = params[rename(name)]
    if not from then error("no " .. name .. " in the golden file") end
    t:set_(T.reshape(from, t:size()))
  end
end

-- ---- BERT ----

local params, batches, variants = variants_of(hop.load(dir .. "/tiny_bert.safetensors"))
local bert_kinds = { vanilla = {}, softmax1 = { softmax = "softmax1" }, clipped = { softmax = "clipped(-.025:1)" },
  gated = { gate = "conditional_per_token", gate_predictor = "mlp" } }
for kind, attention in pairs(bert_kinds) do
  local m = nn.bert { layers = 2, width = 16, heads = 2, ffn = 32, vocab = 44, max_len = 12, dropout = 0,
    attn_dropout = 0, attention = attention }
  load(m, params, function(name)
    return (name:gsub("^cls%.predictions%.transform%.", "cls."):gsub("^cls%.predictions%.bias$", "cls.decoder.bias"))
  end)
  local q = hop.quantize { model = m, outputs = function(model, b)
    local logits = model(b.ids, b.mask)
    return T.cross_entropy(logits, b.labels), logits
  end }
  local function batch(i)
    local b = batches[i]
    return { ids = T.cast(b.input_ids, "i32"), mask = T.cast(b.attention_mask, "bool"),
      labels = T.cast(b.labels, "i32") }
  end
  check_variant("bert " .. kind, q, variants[kind], batch, false, m(batch(4).ids, batch(4).mask))
end

-- ---- OPT ----

params, batches, variants = variants_of(hop.load(dir .. "/tiny_opt.safetensors"))
local opt_kinds = { vanilla = {}, softmax1 = { softmax = "softmax1" },
  clip = { softmax = ("clipped(%.17g:1)"):format(-1 / 9) },
  gated = { gate = "conditional_per_token", gate_init = 0.25 },
  gated_softmax1 = { softmax = "softmax1", gate = "conditional_per_token", gate_init = 0.25 } }

local function next_tokens(ids)
  local labels = {}
  for r, row in ipairs(ids:table()) do
    labels[r] = table.move(row, 2, #row, 1, {})
    labels[r][#row] = -100
  end
  return T.from(labels, { dtype = "i32" })
end

local final_norm = nn.module { name = "final_norm",
  params = function(p) p["model.decoder.final_layer_norm"] = nn.layer_norm(16) end,
  forward = function(p, x) return p["model.decoder.final_layer_norm"](x) end }

-- The toy of the reference has layers in post-norm order and the final normalisation all the same.
local function post_norm_logits(norm)
  return function(model, b)
    local table_ = model["model.decoder.embed_tokens"].weight
    local h = T.embedding(table_, b.ids) + model["model.decoder.embed_positions"].weight:narrow(1, 3, b.ids:size(2))
    for i, block in ipairs(model.blocks) do h = block(h, nil, model.options, i - 1) end
    local logits = T.linear(norm(h), table_)
    return T.cross_entropy(logits, b.labels), logits
  end
end

local function logits_of(model, b)
  local logits = model(b.ids)
  return T.cross_entropy(logits, b.labels), logits
end

for name, golden in pairs(variants) do
  local kind, setup, percentile = name:match("^(.-)__(.-)__(.*)$")
  local is_post, same = kind == "vanilla_post", function(n) return n end
  local m = nn.opt { layers = 2, width = 16, heads = 2, ffn = 32, vocab = 40, max_len = 16, dropout = 0,
    attention = opt_kinds[kind], norm = is_post and "post" or "pre" }
  local norm = is_post and final_norm {} or nil
  load(m, params, same)
  if norm then load(norm, params, same) end
  local q = hop.quantize { model = m, setup = setup, percentile = percentile ~= "nopct" and 99.999 or nil,
    outputs = norm and post_norm_logits(norm) or logits_of }
  local function batch(i)
    return { ids = T.cast(batches[i].input_ids, "i32"), labels = next_tokens(batches[i].input_ids) }
  end
  local _, logits = (norm and post_norm_logits(norm) or logits_of)(m, batch(4))
  check_variant("opt " .. name, q, golden, batch, setup:find("int16") ~= nil, logits)
end

-- ---- the pipeline: two linear layers, softmax, a product ----

local pipeline = nn.module { name = "pipeline",
  params = function(p)
    p.ln, p.fc, p.val = nn.layer_norm(64, { eps = 1e-5 }), nn.linear(64, 8), nn.linear(64, 64)
  end,
  forward = function(p, x, normaliser)
    local h = p.ln(hop.tap("in_q", x))
    local probs = hop.tap("probs_q", (T.normalise(p.fc(h), normaliser)))
    return hop.tap("ctx_q", T.matmul(probs, p.val(h)))
  end,
  quantization = function() return { also = { "in_q", "probs_q", "ctx_q" } } end }

params, batches, variants = {}, {}, {}
for name, t in pairs(hop.load(dir .. "/pipeline.safetensors")) do
  local head, rest = name:match("^([^/]+)/(.*)$")
  if not head then batches[tonumber(name:sub(2))] = t
  elseif head == "param" then params[rest] = t
  else
    variants[head] = variants[head] or {}
    variants[head][rest] = t
  end
end
local sites_of = { ["in"] = "in_q", ln = "ln", scores = "fc", val = "val", probs = "probs_q", ctx = "ctx_q" }
local normalisers = { vanilla = {}, softmax1 = { base = "softmax1" }, clipped = { gamma = -0.025, eta = 1 } }

-- codes of a tensor on a grid
local function codes_of(t, s)
  return numbers(T.cast(t / s.scale + s.zero_point + 0.5, "f32"))
end

for name, golden in pairs(variants) do
  local what, m = "pipeline " .. name, pipeline {}
  load(m, params, function(n) return n end)
  local q = hop.quantize { model = m, percentile = name:find "p99" and 99.999 or nil,
    weight_bits = name:find "w4" and 4 or 8, per_channel = name:find "_pc" ~= nil,
    outputs = function(model, b)
      local out = model(b.x, normalisers[name:match "^%a+%d?"])
      return T.sum(out), out
    end }
  for i = 0, 3 do
    q:observe { x = batches[i] }
    for key, t in pairs(golden) do
      local site, e = key:match(("^calib%d/(.*)%%.activation_quantizer/x_(m%%a+)$"):format(i))
      if site then
        local lo = golden[key .. "_lo"]
        local want = t:item() + (lo and lo:item() or 0)
        local s = site_of(q, site, "act")
        check.near(("%s batch %d %s %s"):format(what, i, site, e), e == "min" and s.lo or s.hi, want,
          5e-6 * math.abs(want))
      end
    end
  end
  for _, mode in ipairs { "run", "execute" } do
    local out, at = q[mode](q, { x = batches[4] })
    check.equal(what .. " outputs", out[2]:numel(), golden["out/ctx"]:numel())
    for short, site in pairs(sites_of) do
      compare_values(("%s %s %s"):format(what, mode, short), at[site], golden["out/" .. short],
        site_of(q, site, "act").scale)
    end
    for short, key in pairs { ln = "ln", scores = "scores", val = "val", probs = "probs", ctx = "ctx" } do
      local s, n = site_of(q, sites_of[short], "act"), 0
      local got, want = codes_of(at[sites_of[short]], s), numbers(golden["int/" .. key .. "/q"])
      for i = 1, #want do
        if math.floor(got[i]) ~= want[i] then n = n + 1 end
      end
      check.that(("%s %s codes of %s"):format(what, mode, short), n <= math.max(1, 1e-4 * #want),
        ("%d of %d differ"):format(n, #want))
    end
  end
  for key, t in pairs(golden) do
    local site, role, field = key:match "^q/(.*)%.(%a+)_quantizer/(scale)$"
    if site and t:numel() == 1 then
      local s = site_of(q, role == "weight" and site .. ".weight" or site, role == "weight" and role or "act")
      check.near(what .. " " .. key, s[field], t:item(), 5e-6 * t:item())
    end
  end
end

check.done()
