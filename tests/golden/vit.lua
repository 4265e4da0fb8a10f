-- Reference numbers of a tiny vision transformer (tests/oracle/vit_reference.py): logits, losses and the
-- gradients of all parameters under each attention. Run as: hoplab lua tests/golden/vit.lua DIR

local hop = require "hop"
local check = require "check"
local reference = require "reference"
local core = require "hop.core"
local T, nn = hop.T, hop.nn

local file = reference.open(arg[1], "vit")
if not file then hop.exit(77) end
local tol = core.fp64() and 1e-6 or 1e-5

local variants = {
  vanilla = {}, softmax1 = { softmax = "softmax1" }, clipped = { softmax = "clipped(-.1:1.05)" },
  clipped1 = { softmax = "clippedsoftmax1(-.1:1)" },
  gated = { softmax = "softmax1", gate = "conditional_per_token" }, stock = {},
}

for name, attention in pairs(variants) do
  local stock = name == "stock"
  local m = nn.vit { image = { 3, 8, 8 }, patch = 4, layers = 2, width = 12, heads = 2, ffn = 20, classes = 7,
    label_smoothing = 0.1, pre_norm = not stock, qkv_bias = stock, attention = attention }
  local state, names, tensors = {}, {}, {}
  for key, t in m:parameters() do
    state[key] = file["param." .. key]
    names[#names + 1], tensors[#tensors + 1] = key, t
  end
  m:load_state(state)
  m:eval()
  local flat = T.reshape(file.x, { 3, -1 })
  check.close(name .. " logits", m(file.x), file[name .. ".logits"], tol)
  check.close(name .. " logits of flat images", m(flat), file[name .. ".logits"], tol)
  check.near(name .. " loss of an evaluation", m:loss { x = flat, y = file.y }:item(),
    file[name .. ".eval_loss"]:item(), tol)
  m:train()
  local loss = m:loss { x = flat, y = file.y }
  check.near(name .. " loss", loss:item(), file[name .. ".loss"]:item(), tol)
  local n_wanted = 0
  for key in pairs(file) do
    if key:find(name .. ".grad.", 1, true) == 1 then n_wanted = n_wanted + 1 end
  end
  check.equal(name .. " parameters", #names, n_wanted)
  for i, g in ipairs(T.grad(loss, tensors)) do
    check.close(("%s gradient of %s"):format(name, names[i]), g, file[name .. ".grad." .. names[i]], tol)
  end
end

check.done()
