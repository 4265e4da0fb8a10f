-- Names of attention normalisers (spec: attention, section 4). Names mean what they say.
--   vanilla | softmax1 | entmax | entmax15 | sparsemax | clipped(G:E) | clippedsoftmax1(G:E)

local _, api, hop = ...

local plain = { vanilla = "softmax", softmax = "softmax", softmax1 = "softmax1", entmax = "entmax15",
  entmax15 = "entmax15", sparsemax = "sparsemax" }
local clipped = { clipped = "softmax", clippedsoftmax1 = "softmax1" }

local function number(text)
  if not text:match("^[+-]?%d*%.?%d*$") and not text:match("^[+-]?%d*%.?%d*[eE][+-]?%d+$") then
    return nil
  end
  return tonumber(text)
end

local function fail(name, why)
  api.fail("nn.normaliser", ("'%s' %s"):format(name, why),
    "vanilla, softmax1, entmax15, sparsemax, clipped(gamma:eta), clippedsoftmax1(gamma:eta)")
end

local function parse(name, alpha, length)
  local base, gamma, eta = plain[name], 0, 1
  if not base then
    local word, g, e = name:match("^(%a%w*)%(([^:()]*):([^:()]*)%)$")
    base = word and clipped[word]
    if not base then fail(name, "is no normaliser") end
    gamma, eta = number(g), number(e)
    if not gamma or not eta then fail(name, "has no two numbers gamma:eta") end
    if gamma > 0 then fail(name, "has gamma above 0") end
    if eta < 1 then fail(name, "has eta below 1") end
    if gamma ~= gamma or eta ~= eta or gamma == -math.huge or eta == math.huge then
      fail(name, "has a number that is not finite")
    end
  end
  if alpha then
    if not plain[name] or base == "entmax15" or base == "sparsemax" then
      fail(name, "cannot be combined with alpha: alpha clips vanilla or softmax1")
    end
    if not length then fail(name, "with alpha needs the configured length (max_len)") end
    gamma = -alpha / length
  end
  return { base = base, gamma = gamma, eta = eta }
end

api.define(hop, { name = "nn.normaliser",
  doc = "What an attention normaliser's name stands for: base, gamma and eta of T.normalise. With " ..
    "alpha the lower clip is gamma = -alpha / length.",
  args = { { "name", "string" }, { "alpha", "number", optional = true, min = 0 },
    { "length", "integer", optional = true, min = 1 } },
  returns = "table", example = 'nn.normaliser("clipped(-.025:1)")', fn = parse })
