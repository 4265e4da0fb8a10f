-- Models that the transformers library wrote (tests/oracle/hf_models.py): the same logits, and the
-- same bytes after writing and reading again. Run as: hoplab lua tests/golden/hf.lua DIR

local hop = require "hop"
local check = require "check"
local T, nn = hop.T, hop.nn
local dir = arg[1]

local function bytes_of(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "a"
  f:close()
  return s
end

local function remove(path)
  os.remove(path .. "/config.json")
  os.remove(path .. "/model.safetensors")
  os.remove(path)
end

local function check_logits(name, model)
  local want = hop.load(dir .. "/" .. name .. "/logits.safetensors")
  local mask = T.cast(want.mask, "bool")
  local size = want.logits:size()
  local real = T.expand(T.reshape(T.cast(want.mask, "f32"), { size[1], size[2], 1 }), size)
  model:eval()
  check.close(name .. " logits", model(want.ids, mask), want.logits, 1e-4, 0, real)
  check.that(name .. " logits are not small", T.abs(want.logits):sum():item() / want.logits:numel() > 0.1)
end

local function parameters(model)
  local out = {}
  for name, t in model:parameters() do out[name] = t end
  return out
end

for _, name in ipairs { "bert", "bert_bf16", "bert_old", "opt_sharded", "opt_post", "opt_f16" } do
  local path = dir .. "/" .. name
  local model = nn.from_hf(path, { dropout = 0 })
  check_logits(name, model)
  local file, n = hop.load(path), 0
  for key, t in pairs(parameters(model)) do
    local source = file[key] or file[key:gsub("%.weight$", ".gamma")] or file[key:gsub("%.bias$", ".beta")] or
      file[key:gsub("^model%.", "")] or file["cls.predictions.decoder.weight"]
    check.close(name .. " " .. key, t:detach(), source, 0)
    n = n + 1
  end
  check.that(name .. " has parameters", n > 30)
  -- out, in and out again: the same files
  local a, b = os.tmpname(), os.tmpname()
  os.remove(a)
  os.remove(b)
  hop.save_hf(a, model)
  local again = nn.from_hf(a)
  check_logits(name, again)
  hop.save_hf(b, again)
  for _, f in ipairs { "model.safetensors", "config.json" } do
    check.that(name .. " " .. f .. " twice", bytes_of(a .. "/" .. f) == bytes_of(b .. "/" .. f), "differs")
  end
  check.equal(name .. " metadata", hop.metadata(a .. "/model.safetensors", "format"), "pt")
  check.raises(name .. " is not overwritten", "no empty directory", hop.save_hf, a, model)
  remove(a)
  remove(b)
end

check.done()
