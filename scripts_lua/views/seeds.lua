-- View "seeds": runs that differ in nothing but their seed, with mean and spread of what they ended
-- with. In the configuration: require "views.seeds"

local hop = require "hop"
local ui = hop.ui

local function name_of(run) return (run.name:gsub("[-_]?s%d+$", "")) end

local function mean_and_spread(v)
  local sum, squares = 0, 0
  for _, x in ipairs(v) do sum = sum + x end
  for _, x in ipairs(v) do squares = squares + (x - sum / #v) ^ 2 end
  return sum / #v, #v > 1 and math.sqrt(squares / (#v - 1)) or 0
end

return hop.view {
  name = "seeds", title = "Over seeds",
  state = function() return { all = false } end,
  keys = { a = { "also runs that are not done", function(s) s.all = not s.all end } },
  draw = function(s)
    local groups, names = {}, {}
    for run in hop.runs { filter = s.all and "" or "status:done" } do
      local name = name_of(run)
      if not groups[name] then
        groups[name] = {}
        names[#names + 1] = name
      end
      if run.eval or run.loss then table.insert(groups[name], run.eval or run.loss) end
    end
    table.sort(names)
    local rows, bars = {}, {}
    for _, name in ipairs(names) do
      local mean, spread = mean_and_spread(groups[name])
      rows[#rows + 1] = { name, #groups[name], mean, spread }
      bars[#bars + 1] = { name, mean }
    end
    return ui.rows {
      ui.table { rows, columns = { "runs", "n", "mean", "sd" } },
      ui.bars { title = "mean", table.unpack(bars) },
    }
  end,
}
