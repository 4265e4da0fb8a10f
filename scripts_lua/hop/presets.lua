-- Published sizes of BERT, OPT and ViT (spec: language-models 3 and 11).

local _, api, hop = ...
local nn = hop.nn

local function bert(layers, max_len)
  return { make = nn.bert, layers = layers, width = 768, heads = 12, ffn = 3072, max_len = max_len,
    vocab = 30522, padding = 0 }
end

local function opt(layers, heads, width, max_len, more)
  local o = { make = nn.opt, layers = layers, heads = heads, width = width, ffn = 4 * width,
    max_len = max_len, vocab = 50272, padding = 1 }
  for k, v in pairs(more or {}) do o[k] = v end
  return o
end

-- "-yaml": what the scripts of arXiv 2306.12929 and 2404.03828 train, a default OPT of which a file
-- changes some values; its token table stays 768 wide
local presets = {
  ["bert-base-uncased"] = bert(12, 512),
  ["bert-6L12H"] = bert(6, 256),
  ["opt-125m"] = opt(12, 12, 768, 2048),
  ["opt-350m"] = opt(24, 16, 1024, 2048, { embed = 512, norm = "post" }),
  ["opt-1.3b"] = opt(24, 32, 2048, 2048),
  ["opt-6L12H-yaml"] = opt(6, 12, 768, 512, { init_std = 0.006 }),
  ["opt-125m-yaml"] = opt(12, 12, 768, 512, { init_std = 0.006 }),
  ["opt-350m-yaml"] = opt(24, 16, 1024, 1024, { init_std = 0.006, embed = 768 }),
  ["opt-1.3b-yaml"] = opt(24, 32, 2048, 1024, { init_std = 0.006, embed = 768 }),
  ["vit_small_patch16_224"] = { make = nn.vit, image = { 3, 224, 224 }, patch = 16, layers = 12, width = 384,
    heads = 6, ffn = 1536, classes = 1000 },
}

local names = {}
for name in pairs(presets) do names[#names + 1] = name end
table.sort(names)

api.define(hop, { name = "nn.preset", safety = "setup",
  doc = "A published model by name (" .. table.concat(names, ", ") .. "), with changes to its options; hop.none " ..
    "takes one back to its default.",
  args = { { "name", "string", choices = names }, { "changes", "table", optional = true } },
  returns = "module", example = 'nn.preset("opt-125m", { attention = { method = "outeffhop" } })',
  fn = function(name, changes)
    local o, make = {}, presets[name].make
    for k, v in pairs(presets[name]) do o[k] = v end
    o.make = nil
    for k, v in pairs(changes or {}) do
      if v == hop.none then v = nil end
      o[k] = v
    end
    return make(o)
  end })
