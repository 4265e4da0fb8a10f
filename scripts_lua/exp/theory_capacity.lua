-- Theory, 7: how many memories can be told apart grows exponentially with their width (spec: theory 6.7).
-- The largest number of memories of which one step retrieves nine tenths, among powers of the root of 2. The
-- inverse temperature grows with the width, as the bound has it (5: b = 4 m^2 beta / (5 (d - 1)) is a constant
-- there): on a sphere of radius 1 beta = c d is beta = c on one of radius sqrt(d). With a fixed beta m^2
-- capacity ends at the order of exp(beta m^2).
--
--   hoplab run scripts_lua/exp/theory_capacity.lua

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory = hop.T, hop.memory

local QUERIES = 200

local function success(s, width, count, name)
  local o, sum = s.options, 0
  for i = 1, o.sets do
    hop.seed(s.seed + i)
    local stored = memory.sphere(count, width)
    local m = memory.model { memories = stored, beta = o.beta * width, separation = name }
    local target = T.embedding(stored, (T.rand { QUERIES } * count):floor():cast "i32")
    local e = tools.squares(m:step(memory.damage("add", target, o.noise / math.sqrt(width))) - target)
    sum = sum + tools.mean(T.lt(e, 1 / 16):cast "f32") / o.sets
  end
  return sum
end

-- Largest count with at least 0.9, a power of 2^(1/2); most: the search ends there
local function capacity(s, width, name)
  local k = 2
  while 2 ^ (k / 2) < s.options.most and success(s, width, math.floor(2 ^ ((k + 1) / 2)), name) >= 0.9 do k = k + 1 end
  return math.floor(2 ^ (k / 2)), 2 ^ (k / 2) >= s.options.most
end

-- Least squares through (x, y): slope and the share of the variance it explains
local function line(x, y)
  local n, mx, my = #x, 0, 0
  for i = 1, n do mx, my = mx + x[i] / n, my + y[i] / n end
  local xx, xy, yy = 0, 0, 0
  for i = 1, n do
    xx, xy, yy = xx + (x[i] - mx) ^ 2, xy + (x[i] - mx) * (y[i] - my), yy + (y[i] - my) ^ 2
  end
  return xy / xx, xy * xy / (xx * yy)
end

return hop.study {
  name = "capacity",
  project = "theory",
  options = {
    { "widths", "table", default = { 4, 6, 8, 10, 12, 14, 16, 18 }, doc = "of memories, on the unit sphere" },
    { "beta", "number", default = 0.75, min = 0, doc = "inverse temperature per width" },
    { "noise", "number", default = 0.1, min = 0, doc = "length of the queries' noise" },
    { "sets", "integer", default = 3, min = 1, doc = "of memories" },
    { "most", "integer", default = 4096, min = 4, doc = "memories" },
  },
  run = function(s)
    local o, rows, figure, claims = s.options, {}, {}, {}
    for _, name in ipairs { "softmax", "softmax1" } do
      local curve, logs, widths = { name = name, x = {}, y = {} }, {}, {}
      for _, width in ipairs(o.widths) do
        local count, is_limit = capacity(s, width, name)
        rows[#rows + 1] = { name, width, is_limit and ("at least %d"):format(count) or count }
        if not is_limit then
          curve.x[#curve.x + 1], curve.y[#curve.y + 1] = width, count
          widths[#widths + 1], logs[#logs + 1] = width, math.log(count, 2)
        end
        s:log(width, { ["capacity/" .. name] = count })
        s:tick("filling", #rows / (2 * #o.widths))
      end
      figure[#figure + 1] = curve
      if #logs >= 3 then claims[#claims + 1] = { name, #logs, line(widths, logs) } end
    end
    s:table("capacity", { columns = { "separation", "width", "memories" }, rows = rows,
      caption = ("of which one step retrieves nine tenths from noise of length %g, beta %g d"):format(
        o.noise, o.beta) })
    s:figure("capacity", { title = "Capacity", x = "width d", y = "memories", log_y = true, series = figure,
      caption = "A straight line on a logarithmic scale: capacity is exponential in the width." })
    for _, c in ipairs(claims) do
      s:check(("%s: capacity grows exponentially with the width"):format(c[1]), c[3] > 0 and c[4] > 0.95,
        ("%d widths, doubling every %.2f, R^2 of the line %.3f"):format(c[2], 1 / c[3], c[4]))
    end
  end,
}
