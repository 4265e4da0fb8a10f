-- Theory, 1: retrieval descends the energy (spec: theory 5 c, 6.1). Along each trajectory of
-- x <- T(x) the energy must not rise, and must fall by half the squared step at least.
--
--   hoplab run scripts_lua/exp/theory_energy.lua

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory = hop.T, hop.memory

local TOLERANCE = 1e-5 -- times 1 + |E|, for sums in float

-- Follows `n` trajectories; gives the mean energies with bands, and the worst excesses over the two bounds.
local function follow(m, x, steps)
  local e = m:energy(x)
  local curve = { x = {}, y = {}, low = {}, high = {} }
  local rise, short = -math.huge, -math.huge
  for t = 0, steps do
    local mean, band = tools.band(tools.list(e))
    curve.x[t + 1], curve.y[t + 1], curve.low[t + 1], curve.high[t + 1] = t, mean, mean - band, mean + band
    local y = m:step(x)
    local after = m:energy(y)
    local scale = 1 / (e:abs() + 1)
    rise = math.max(rise, tools.largest((after - e) * scale))
    short = math.max(short, tools.largest((after - e + tools.squares(y - x) * 0.5) * scale))
    x, e = y, after
  end
  return curve, rise, short
end

return hop.study {
  name = "energy",
  project = "theory",
  options = {
    { "trajectories", "integer", default = 10000, min = 10, doc = "in all" },
    { "steps", "integer", default = 20, min = 1, doc = "of each" },
    { "patterns", "integer", default = 50, min = 1, doc = "memories, on the unit sphere" },
    { "width", "integer", default = 20, min = 2, doc = "of a memory" },
    { "betas", "table", default = { 1, 5, 20 }, doc = "inverse temperatures" },
  },
  run = function(s)
    local o, separations = s.options, { "softmax", "softmax1", "sparsemax", "entmax15" }
    local stored = memory.sphere(o.patterns, o.width)
    local n = math.ceil(o.trajectories / (#separations * #o.betas))
    local far = T.randn { n // 2, o.width }
    local near = memory.damage("add", T.embedding(stored, (T.rand { n - n // 2 } * o.patterns):floor():cast "i32"), 0.3)
    local start = T.cat({ far, near }, { axis = 1 })
    local rows, worst_rise, worst_short, done = {}, -math.huge, -math.huge, 0
    for _, beta in ipairs(o.betas) do
      local series = {}
      for _, name in ipairs(separations) do
        local m = memory.model { memories = stored, beta = beta, separation = name }
        local curve, rise, short = follow(m, start, o.steps)
        curve.name = name
        series[#series + 1] = curve
        rows[#rows + 1] = { name, beta, n, curve.y[1], curve.y[#curve.y], rise, short }
        worst_rise, worst_short = math.max(worst_rise, rise), math.max(worst_short, short)
        for t, e in ipairs(curve.y) do s:log(t - 1, { [("energy/%s, beta %g"):format(name, beta)] = e }) end
        done = done + 1
        s:tick("following trajectories", done / (#separations * #o.betas))
      end
      s:figure(("beta-%g"):format(beta):gsub("%.", "_"), { title = ("Energy along retrieval, beta %g"):format(beta),
        x = "step", y = "energy", log_y = true, series = series,
        caption = ("Mean energy of %d trajectories with its 95 %% band, half of them from far away, half from " ..
          "noisy memories. It falls with every step, for every separation function."):format(n) })
    end
    s:table("energy", { columns = { "separation", "beta", "trajectories", "mean E at start", "at the end",
      "worst rise / (1+|E|)", "worst of E(T) - E + |T-x|^2/2, same units" }, rows = rows,
      caption = "energies along x <- T(x)" })
    s:check("the energy never rises", worst_rise <= TOLERANCE, ("worst rise %.2g of 1+|E|, allowed %g"):format(
      worst_rise, TOLERANCE))
    s:check("it falls by half the squared step at least", worst_short <= TOLERANCE,
      ("worst excess %.2g of 1+|E|, allowed %g"):format(worst_short, TOLERANCE))
  end,
}
