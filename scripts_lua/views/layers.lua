-- View "layers": a statistic of one site over training, layer by layer, the largest values of it, and
-- the loss. In the configuration: require "views.layers"

local hop = require "hop"
local ui = hop.ui

local SITES, STATS = { "attn.out", "ffn.out", "out" }, { "inf_norm", "kurtosis" }

return hop.view {
  name = "layers", title = "Layers", key = "9",
  needs = { probe = SITES[1] },
  state = function() return { top = 5, site = 1, stat = 1 } end,
  keys = {
    [">"] = { "more rows", function(s) s.top = s.top + 1 end },
    ["<"] = { "fewer rows", function(s) s.top = math.max(1, s.top - 1) end },
    e = { "next site", function(s) s.site = s.site % #SITES + 1 end },
    s = { "next statistic", function(s) s.stat = s.stat % #STATS + 1 end },
  },
  draw = function(s, d)
    local site, stat = SITES[s.site], STATS[s.stat]
    local seen = d:probe(site, { stat = stat })
    local top = d:top(seen, s.top)
    for _, t in ipairs(top) do
      t.layer, t.step = seen.names[t.row], seen.x[t.col]
    end
    return ui.rows {
      ui.heat { seen, scale = "log", title = ("%s of %s"):format(stat, site) },
      ui.table { top, columns = { "layer", "step", "value" }, height = s.top + 2, title = "largest" },
      ui.line { d:series "train/loss", title = "train/loss", yscale = "log" },
    }
  end,
}
