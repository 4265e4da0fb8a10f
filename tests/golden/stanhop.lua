-- Reference numbers of STanHop-Net (tests/golden/README.md: seeds, definitions, tolerances): normalisers,
-- layers, whole models of all modes with their gradients, training steps, outlier statistics and W8A8.
-- Run as: hoplab lua tests/golden/stanhop.lua DIR

local hop = require "hop"
local check = require "check"
local reference = require "reference"
local core = require "hop.core"
local T = hop.T
local dir, wide = arg[1], core.fp64()

-- ---- normalisers ----

local function check_rows(file)
  local x, alpha = file["rows.X"], file["rows.alpha"]
  for i = 1, 8 do
    local row, a = x:narrow(1, i, 1):detach():require_grad(), alpha:narrow(1, i, 1):detach():require_grad()
    local y = T.normalise(row, a, { base = "entmax" })
    local what = ("entmax row %d, alpha %.3g"):format(i, a:item())
    check.close(what, y, file["rows.Y"]:narrow(1, i, 1), wide and 2e-7 or 2e-6)
    local g = T.grad((y * file["rows.dY"]:narrow(1, i, 1)):sum(), { row, a })
    check.close(what .. " dX", g[1], file["rows.dX"]:narrow(1, i, 1), 2e-6, 2e-6)
    check.close(what .. " dalpha", g[2], file["rows.dalpha"]:narrow(1, i, 1), 1e-5)
  end
end

local function check_module(file, at)
  local x, a = file[at .. "X"]:detach():require_grad(), file[at .. "alpha_raw"]:detach():require_grad()
  local y = T.normalise(x, T.sigmoid(a) * 2 + 1, { base = "entmax" })
  check.close(at .. "Y", y, file[at .. "Y"], 1e-6)
  local g = T.grad((y * file[at .. "dY"]):sum(), { x, a })
  check.close(at .. "dX", g[1], file[at .. "dX"], 2e-6)
  check.close(at .. "dalpha_raw", g[2], file[at .. "dalpha_raw"], 1e-5)
end

local entmax = reference.open(dir, "entmax")
if not entmax then hop.exit(77) end
check_rows(entmax)
for k = 0, 2 do check_module(entmax, ("module.%d."):format(k)) end

local how = { softmax = { base = "softmax" }, softmax1 = { base = "softmax1" }, sparsemax = { base = "sparsemax" },
  clip = { base = "softmax", gamma = -0.1, eta = 1.1 }, clip_softmax1 = { base = "softmax1", gamma = -0.1, eta = 1.1 } }
local activations = reference.open(dir, "activations")
for mode, f in pairs(how) do
  local x = activations.X:detach():require_grad()
  local y = T.normalise(x, f)
  check.close(mode, y, activations[mode .. ".Y"], 1e-6)
  check.close(mode .. " dX", T.grad((y * activations.dY):sum(), { x })[1], activations[mode .. ".dX"], 1e-6)
end

-- ---- modules ----

-- Weights of files that have none: all modes have the same.
local base = reference.open(dir, "model_entmax") or {}

-- Parameters of m from file[prefix .. name]; returns their names and tensors.
local function fill(m, file, prefix)
  local state, names, tensors = {}, {}, {}
  for name, t in m:parameters() do
    state[name] = file[prefix .. name] or base["param." .. name]
    names[#names + 1], tensors[#tensors + 1] = name, t
  end
  m:load_state(state)
  return names, tensors
end

local function count(file, prefix)
  local n = 0
  for name in pairs(file) do
    if name:find(prefix, 1, true) == 1 then n = n + 1 end
  end
  return n
end

-- Largest difference of tensors from wanted ones (by name), of all at once; over the largest wanted value
-- if `relative`. Where it is too large the tensors are gone through one by one.
local function check_all(what, names, got, want, tol, relative)
  local a, b, n = {}, {}, 0
  for _ in pairs(want) do n = n + 1 end
  for i, name in ipairs(names) do
    if want[name] == nil then -- a selection has some, a whole file all but those of alpha_chooser
      check.that(("%s: %s has none"):format(what, name), got[i] == nil or n < #names / 2)
    elseif got[i] == nil then
      check.that(("%s: %s"):format(what, name), false, "is missing")
    else
      a[#a + 1], b[#b + 1] = T.reshape(got[i], { -1 }), T.reshape(want[name], { -1 })
    end
  end
  local all = T.cat(b, 1)
  local size = relative and reference.biggest(all) or 1
  local error = reference.biggest(T.cat(a, 1) - all) / size
  check.that(what, error <= tol, ("off by %.3g, allowed %.3g"):format(error, tol))
  for i, name in ipairs(error <= tol and {} or names) do
    if got[i] and want[name] then
      check.that(("%s: %s"):format(what, name), reference.biggest(T.reshape(got[i], want[name]:size()) - want[name]) <=
        tol * size)
    end
  end
end

-- The tensors of a file below a prefix
local function below(file, prefix)
  local out = {}
  for name, t in pairs(file) do
    if name:find(prefix, 1, true) == 1 then out[name:sub(#prefix + 1)] = t end
  end
  return out
end

local parts = hop.modules.stanhop
local function options(mode, more)
  local o = { width = 8, heads = 2, ffn = 12, factor = 4, win_size = 4, dropout = 0, mode = mode,
    normaliser = { base = mode, gamma = 0, eta = 1 } }
  for k, v in pairs(more or {}) do o[k] = v end
  return o
end

local function check_part(file, at, m, inputs, run)
  local names, tensors = fill(m, file, at .. "param.")
  local xs = {}
  for i, name in ipairs(inputs) do
    xs[i] = file[at .. name]:detach():require_grad()
    names[#names + 1], tensors[#tensors + 1] = name, xs[i]
  end
  local y = run(m, table.unpack(xs))
  check.close(at .. "output", y, file[at .. "output"], 2e-6)
  local g = T.grad((y * file[at .. "doutput"]):sum(), tensors)
  local want = below(file, at .. "grad.")
  for _, name in ipairs(inputs) do want[name] = file[at .. "d" .. name] end
  check_all(at .. "gradients", names, g, want, 2e-6, true)
  check.equal(at .. "parameters", count(file, at .. "param."), #names - #inputs)
end

local modules = reference.open(dir, "modules")
if modules then
  local o = options "softmax1"
  local pool = options("softmax", { has_patterns = true })
  check_part(modules, "seg_merging.", parts.merge(o), { "x" }, function(m, x) return m(x, o, "merge") end)
  check_part(modules, "hopfield_cross.", parts.hopfield(o), { "query", "keys" },
    function(m, x, z) return parts.associate(m, x, z, o, "hopfield") end)
  check_part(modules, "hopfield_pooling.", parts.hopfield(pool), { "query" },
    function(m, x) return parts.associate(m, x, nil, pool, "pooling") end)
  check_part(modules, "sthm_layer.", parts.sthm(o), { "x" }, function(m, x) return m(x, o, "sthm") end)
end

-- ---- models ----

-- Configuration A of the files.
local function model(more)
  local o = { series = 3, in_len = 24, out_len = 12, seg_len = 6, width = 16, heads = 2, ffn = 32, layers = 3,
    win_size = 2, factor = 4, dropout = 0 }
  for k, v in pairs(more) do o[k] = v end
  return hop.nn.stanhop(o)
end

local models = { softmax = {}, softmax1 = {}, sparsemax = {}, entmax = {}, clip = {}, clip_softmax1 = {},
  original_entmax = { mode = "entmax", variant = "original" },
  gate_softmax = { mode = "softmax", gate = "conditional_per_token" },
  gate_softmax1 = { mode = "softmax1", gate = "conditional_per_token" } }

-- What f records under hop.tap, by name.
local function watch(f)
  local seen, tap = {}, hop.tap
  hop.tap = function(name, x)
    seen[name] = x
    return x
  end
  local ok, err = pcall(f)
  hop.tap = tap
  if not ok then error(err, 0) end
  return seen
end

local function check_states(name, m, file, tol)
  local seen, names, got, want = watch(function() m(file.input) end), {}, {}, {}
  local function wanted(key, tap)
    names[#names + 1], got[#got + 1], want[key] = key, seen[tap], file["act." .. key]
  end
  for i = 0, 3 do
    local at = ("decoder.decode_layers.%d"):format(i)
    wanted("enc." .. i, i == 0 and "pre_norm" or ("encoder.encode_blocks.%d"):format(i - 1))
    wanted(("dec.%d.state"):format(i), at)
    wanted(("dec.%d.pred"):format(i), at .. ".linear_pred")
  end
  check_all(name .. " states", names, got, want, tol)
end

for name, o in pairs(models) do
  local file = reference.open(dir, "model_" .. name)
  if file then
    o.mode = o.mode or name
    local steep = o.mode == "entmax" or o.mode == "sparsemax"
    local tol = wide and 1e-6 or steep and 2e-3 or 5e-5
    local m = model(o)
    local names, tensors = fill(m, file, "param.")
    if count(file, "param.") > 0 then check.equal(name .. " parameters", count(file, "param."), #names) end
    m:eval()
    check.close(name .. " output", m(file.input), file.output, tol)
    if file["act.enc.0"] then check_states(name, m, file, tol) end
    m:train()
    local loss = m:loss { x = file.input, y = file.target }
    check.near(name .. " loss", loss:item(), file.loss:item(), tol)
    check_all(name .. " gradients", names, T.grad(loss, tensors), below(file, "grad."),
      wide and 1e-6 or steep and 1e-3 or 1e-4, true)
  end
end

-- ---- training ----

-- Six steps of the recipe: Adam, decay in the gradient, gradients clipped to norm 5.
local function check_training(name, decay)
  local file = reference.open(dir, "train_" .. name)
  if not file then return end
  local m = model { mode = name }
  local names, tensors = fill(m, file, "init.")
  local step = hop.train_step { model = m, max_grad_norm = 5,
    optim = hop.optim.adam { lr = 1e-3, weight_decay = decay } }
  local losses, norms = file.loss:table(), file.grad_norm:table()
  for s = 1, #losses do
    local out = step { x = file["input." .. s - 1], y = file["target." .. s - 1] }
    -- 5e-6, or four units in the last place of a float: losses are up to 41
    check.near(("%s loss of step %d"):format(name, s), out.loss, losses[s], 5e-6, 2.4e-7)
    check.near(("%s norm of step %d"):format(name, s), out.grad_norm, norms[s], 1e-5, 1e-5)
  end
  local want = below(file, "final.")
  if wide then return check_all(name .. " weights", names, tensors, want, 2e-6) end
  -- Adam makes steps of full size of gradients that are rounding noise: a few elements may differ
  local a, b = {}, {}
  for i, key in ipairs(names) do
    if want[key] then a[#a + 1], b[#b + 1] = T.reshape(tensors[i], { -1 }), T.reshape(want[key], { -1 }) end
  end
  local d = T.abs(T.cat(a, 1) - T.cat(b, 1))
  local n, most = T.lt(2e-6, d):sum():item(), T.max(d):item()
  check.that(name .. " weights", n <= 5e-4 * d:numel() and most < 1e-4,
    ("%d of %d differ by more than 2e-6, at most by %.3g"):format(n, d:numel(), most))
end

check_training("softmax1", 0.01)
check_training("entmax", 0)

-- ---- outlier statistics ----

-- Per module sums over rows; tensors by name, of one batch. The moments op gives n, n_bad, mean, m2, m3,
-- m4, min, max of each row.
local function add_moments(sums, seen)
  for name, x in pairs(seen) do
    local r = T.moments(T.cast(x, "f32"), { leading = 1, bins = false })
    sums[name] = sums[name] or { n = 0, inf = 0, kurtosis = 0 }
    local s = sums[name]
    for _, row in ipairs(r:table()) do
      local n, m2, m4, min, max = row[1], row[4], row[6], row[7], row[8]
      s.n, s.inf = s.n + 1, s.inf + math.max(-min, max)
      s.kurtosis = s.kurtosis + m4 / n / ((m2 / (n - 1)) ^ 2 + 1e-6)
    end
  end
end

-- Mean absolute, squared, root, absolute and squared relative errors of a batch, as the reference averages them
local function measures(y, want)
  local e = y - want
  local mse, share = T.mean(e * e), e / want
  return { T.mean(T.abs(e)), mse, T.sqrt(mse), T.mean(T.abs(share)), T.mean(share * share) }
end

local function check_outliers(file)
  local m, sums, errors = model { mode = "softmax1" }, {}, {}
  fill(m, file, "param.")
  m:eval()
  for i, rows in ipairs { 4, 4, 2 } do
    local batch = { x = file.input:narrow(1, 4 * i - 3, rows), y = file.target:narrow(1, 4 * i - 3, rows) }
    local metrics
    local seen = watch(function() metrics = select(2, m:loss(batch)) end)
    seen.input = nil
    add_moments(sums, seen)
    for j, v in ipairs(measures(metrics.prediction, batch.y)) do
      errors[j] = (errors[j] or 0) + v:item() * rows / 10
    end
    if i == 3 then
      for key, v in pairs(m:output_outliers(batch)) do
        key = key:gsub("^inf", "Inf")
        check.near("last batch: " .. key, v, file["last." .. key]:item(), 0, 1e-4)
      end
    end
  end
  local groups, n, all = m:outliers(), 0, { inf = {}, kurtosis = {} }
  local function best(key, field, pattern)
    local most = 0
    for name, s in pairs(sums) do
      if not pattern or name:find(pattern) then most = math.max(most, s[field] / s.n) end
    end
    check.near("summary: " .. key, most, file["summary." .. key]:item(), 0, 1e-4)
  end
  for name, s in pairs(sums) do
    n = n + 1
    check.that(name .. " is a module", file["inf_norm." .. name] ~= nil)
    check.near("inf norm of " .. name, s.inf / s.n, file["inf_norm." .. name]:item(), 0, 1e-4)
    check.near("kurtosis of " .. name, s.kurtosis / s.n, file["kurtosis." .. name]:item(), 0, 1e-2)
    all.kurtosis[#all.kurtosis + 1] = s.kurtosis / s.n
  end
  check.equal("modules", n, count(file, "inf_norm."))
  best("max_inf_norm", "inf")
  best("max_ffn_inf_norm", "inf", groups.ffn)
  best("max_layer_inf_norm", "inf", groups.layer)
  best("max_kurtosis", "kurtosis")
  best("max_kurtosis_layers", "kurtosis", groups.layer)
  local sum = 0
  for _, k in ipairs(all.kurtosis) do sum = sum + k end
  check.near("summary: avg_kurtosis", sum / n, file["summary.avg_kurtosis"]:item(), 0, 1e-4)
  local want = file["metric.mae_mse_rmse_mape_mspe"]:table()
  for j, v in ipairs(errors) do check.near("error " .. j, v, want[j], 0, 1e-4) end
end

local outlier = reference.open(dir, "outlier_softmax1")
if outlier then check_outliers(outlier) end

-- ---- eight bits ----

-- The file's name of a place, from ours: sums are called after the layer that is added.
local function place(name)
  local at = name:match("^(.*)%.hopfield%.out_projection%.sum$")
  if at then return at .. (at:find("decode_layers%.%d+$") and ".res1" or ".res3") end
  local block = name:match("^(.*)%.cross_time%.out_projection%.sum$")
  if block then return block .. ".res1" end
  block = name:match("^(.*)%.MLP1%.2%.sum$")
  if block then return block .. ".res2" end
  block = name:match("^(.*)%.MLP2%.2%.sum$")
  if block then return block .. ".res4" end
  block = name:match("^(.*)%.MLP2%.sum$")
  if block then return block .. ".res2" end
  if name == "enc_emb.linear.sum" then return "enc_sum" end
  return (name:gsub("%.scores$", ".attn_scores"):gsub("%.probs$", ".attn_probs"))
end

local first = { input = true, ["enc_emb.linear"] = true, ["enc_emb.linear.sum"] = true, pre_norm = true,
  ["encoder.encode_blocks.0.encode_layers.0.cross_time.query_projection"] = true }

local function check_quantized(file)
  local m = model { mode = "softmax1" }
  fill(m, file, "param.")
  m:eval()
  check.close("in float", m(file.input), file.output_fp, 5e-5)
  local q = hop.quantize { model = m, setup = "all", outputs = function(model_, b)
    local y = model_(b.x)
    return y:sum(), y
  end }
  for i = 0, 1 do q:observe { x = file["calib." .. i] } end
  local n = 0
  for _, s in ipairs(q:sites()) do
    if s.role == "act" then
      n = n + 1
      local want = file["range." .. place(s.name)]
      if not want then
        check.that(("quantizer %s"):format(s.name), false, "is none of the file's")
      else
        want = want:table()
        -- 2 % of the range: what was rounded before may lie one code away
        local allowed = (first[s.name] and 1e-4 or 0.02) * (want[2] - want[1])
        check.near(s.name .. " lower end", s.lo, want[1], allowed)
        check.near(s.name .. " upper end", s.hi, want[2], allowed)
      end
    end
  end
  check.equal("quantizers", n, count(file, "range."))
  local function distance(y) return T.mean(T.square(y - file.output)):item() end
  for _, way in ipairs { "run", "execute" } do
    local d = distance(q[way](q, { x = file.input })[2])
    check.that(way, d < 2e-4, ("mean square difference %.3g"):format(d))
  end
end

local quant = reference.open(dir, "quant_softmax1")
if quant then check_quantized(quant) end

check.done()
