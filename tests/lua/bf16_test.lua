-- Training steps with products of bf16 beside the same steps in fp32. Run as:
-- hoplab lua tests/lua/bf16_test.lua HF_DIR (tests/golden/hf)

local hop = require "hop"
local check = require "check"
local T, nn, optim = hop.T, hop.nn, hop.optim
local u = 2 ^ -8 -- unit roundoff of bf16

local function whole(f, rows, columns)
  local out = {}
  for b = 1, rows do
    out[b] = {}
    for t = 1, columns do out[b][t] = f(b - 1, t - 1) end
  end
  return T.cast(T.from(out), "i32")
end

local function copy(model)
  local out = {}
  for name, t in model:parameters() do out[name] = T.from(t:detach():table()) end
  return out
end

local function restore(model, saved)
  for name, t in model:parameters() do t:set_(saved[name]) end
end

-- Loss and gradients: what one step of plain descent at rate 1 takes away.
local function gradients(model, batch, precision, loss)
  local before, out = copy(model), {}
  local step = hop.train_step { model = model, optim = optim.sgd { lr = 1, momentum = 0 }, precision = precision,
    loss = loss }
  local r = step(batch)
  for name, t in model:parameters() do out[name] = before[name] - T.from(t:detach():table()) end
  restore(model, before)
  return r.loss, out
end

local function norm(t) return math.sqrt(T.square(t):sum():item()) end

-- --- gradients of BERT and OPT: at most twice as far from the exact ones as PyTorch's autocast ---
local ids = whole(function(b, t) return 3 + (7 * t * t + 11 * b + 5 * t * b) % 57 end, 4, 10)
local labels = whole(function(b, t) return t == 3 and -100 or (13 * t + 17 * b + t * t * b) % 60 end, 4, 10)
for name, want in pairs(require "bf16_autocast") do
  local model = nn.from_hf(arg[1] .. "/" .. name, { dropout = 0, attn_dropout = 0 })
  local batch = { ids = ids, labels = labels }
  local loss32, exact = gradients(model, batch, "fp32")
  local loss16, rounded = gradients(model, batch, "bf16")
  check.near(name .. ": the oracle's loss", loss32, want.loss, 0, 1e-6)
  check.near(name .. ": loss", loss16, want.loss, 0, u)
  check.that(name .. ": the loss is of bf16", math.abs(loss16 - loss32) > 1e-6, "it is that of fp32")
  local n = 0
  for key, golden in pairs(want.gradients) do
    check.near(name .. ": norm of " .. key, norm(exact[key]), golden.norm, 2e-6, 1e-4)
    local off = norm(rounded[key] - exact[key])
    check.that(name .. ": " .. key, off <= 2 * golden.autocast_error,
      ("error %.3g, autocast's is %.3g"):format(off, golden.autocast_error))
    n = n + 1
  end
  check.that(name .. " has gradients", n > 30)
end

-- --- every normaliser and gate, dropout drawn alike: near fp32, and not the same ---
local small = { ids = whole(function(b, t) return (5 * b + 3 * t) % 9 end, 2, 8),
  labels = whole(function(b, t) return (5 * b + 3 * t + 3) % 9 end, 2, 8) }
local kinds = { { softmax = "vanilla" }, { softmax = "softmax1" }, { softmax = "clippedsoftmax1(-0.025:1.1)" },
  { softmax = "entmax15" }, { softmax = "softmax1", gate = "conditional_per_token" } }
local total = function(list)
  local s = 0
  for _, g in pairs(list) do s = s + T.square(g):sum():item() end
  return math.sqrt(s)
end
local difference = function(a, b)
  local out = {}
  for k in pairs(a) do out[k] = a[k] - b[k] end
  return out
end
for _, kind in ipairs(kinds) do
  for _, make in ipairs { nn.opt, nn.bert } do
    hop.seed(4)
    local model = make { layers = 2, width = 32, heads = 2, vocab = 9, max_len = 8, dropout = 0.1, attention = kind }
    local _, exact = gradients(model, small, "fp32")
    local _, rounded = gradients(model, small, "bf16")
    local off = total(difference(exact, rounded)) / total(exact)
    -- each operand is off by at most u of itself, about u/3 on average, and a gradient passes some
    -- twenty products of two operands: sqrt(40) u / 3, with room for one unlucky factor of three
    check.that("gradients with " .. (kind.gate or kind.softmax), off > u / 50 and off < math.sqrt(40) * u,
      ("relative error %.3g"):format(off))
  end
end

-- --- 200 steps: the same curve within the noise of its batches, and the same bits again ---
local function curve(precision, seed)
  hop.seed(seed)
  local model = nn.opt { layers = 2, width = 32, heads = 2, vocab = 20, max_len = 16, dropout = 0.1,
    attention = { softmax = "softmax1" } }
  local step = hop.train_step { model = model, optim = optim.adamw { lr = 3e-3 }, max_grad_norm = 1,
    precision = precision }
  local losses = {}
  for i = 1, 200 do
    local text = function(b, t) return (i * 31 + b * 7 + t * (1 + (b + i) % 3)) % 20 end
    local function next_one(b, t) return text(b, t + 1) end
    losses[i] = step { ids = whole(text, 8, 16), labels = whole(next_one, 8, 16) }.loss
  end
  return losses
end
local function tail(losses)
  local n, mean, spread = 50, 0, 0
  for i = 151, 200 do mean = mean + losses[i] / n end
  for i = 151, 200 do spread = spread + (losses[i] - mean) ^ 2 / n end
  return mean, math.sqrt(spread)
end
local exact, rounded, again = curve("fp32", 5), curve("bf16", 5), curve("bf16", 5)
local mean32, noise = tail(exact)
local mean16 = tail(rounded)
check.that("it learns", mean16 < 0.7 * rounded[1], ("loss %.3f, then %.3f"):format(rounded[1], mean16))
check.near("200 steps", mean16, mean32, noise)
check.near("first step", rounded[1], exact[1], u * exact[1])
check.equal("twice the same bits", table.concat(again, " "), table.concat(rounded, " "))

-- --- fixed points are iterated in fp32; what surrounds them is not ---
hop.seed(6)
local ham = nn.hopfield { layers = { 12, 9, 5 } }
local images = { x = T.from { { 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 0, 1 }, { 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0 } },
  y = T.from { { 1, 0, 0, 0, 0 }, { 0, 0, 0, 1, 0 } } }
local mse = function(m, b) return hop.loss.mse(m(b.x), b.y) end
local loss32, g32 = gradients(ham, images, "fp32", mse)
local loss16, g16 = gradients(ham, images, "bf16", mse)
check.near("a Hopfield network's loss", loss16, loss32, u * loss32)
check.that("its gradients", total(difference(g32, g16)) <= math.sqrt(40) * u * total(g32))

check.raises("another precision", "precision", function()
  hop.train_step { model = ham, optim = optim.sgd { lr = 1 }, precision = "fp8" }
end)
check.done()
