-- Theory, 6: the bounds of the retrieval error hold, and softmax1's is the tighter one only while the
-- memory has less than half of the weight (spec: theory 5 f; 6.6).
--
--   hoplab run scripts_lua/exp/theory_bounds.lua

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory = hop.T, hop.memory

local SLACK = 1e-5 -- sums in float

-- Queries at the edge of the balls of well-separated memories: how many there are, how many T takes out
local function leave(model, stored, beta)
  local good, radius = tools.separated(stored, beta)
  local x = stored + memory.unit_rows(T.randn(stored:size())) * radius
  local out = T.lt(radius + SLACK, tools.norms(model:step(x) - stored)):cast "f32"
  return T.sum(good):item(), T.sum(out * good):item()
end

return hop.study {
  name = "bounds",
  project = "theory",
  options = {
    { "patterns", "integer", default = 50, min = 2, doc = "memories, on the unit sphere" },
    { "width", "integer", default = 20, min = 2, doc = "of a memory" },
    { "sets", "integer", default = 4, min = 1, doc = "of memories; each is queried with all of its own" },
    { "deviations", "table", default = { .02, .1, .2 }, doc = "of the queries' noise" },
    { "betas", "table", default = { 2, 5, 10, 20, 40 }, doc = "inverse temperatures" },
  },
  run = function(s)
    local o = s.options
    local dots = { softmax = { name = "softmax", x = {}, y = {}, dots = true },
      softmax1 = { name = "softmax1", x = {}, y = {}, dots = true } }
    local flips = { name = "bound of softmax1 - bound of softmax", x = {}, y = {}, dots = true }
    local n, above, sharp_above, wrong, worst = 0, 0, 0, 0, -math.huge
    local balls, left = 0, 0
    local function look(error, bound, sharp, dot)
      local e, b, c = tools.list(error), tools.list(bound), tools.list(sharp)
      for i = 1, #e do
        n = n + 1
        if e[i] > b[i] + SLACK then above = above + 1 end
        if e[i] > c[i] + SLACK then sharp_above = sharp_above + 1 end
        worst = math.max(worst, e[i] - math.min(b[i], c[i]))
        dot.x[#dot.x + 1], dot.y[#dot.y + 1] = math.max(b[i], 1e-8), math.max(e[i], 1e-8)
      end
    end
    for i, beta in ipairs(o.betas) do
      for _, deviation in ipairs(o.deviations) do
        for set = 1, o.sets do
          hop.seed(s.seed + set)
          local stored = memory.sphere(o.patterns, o.width)
          local x = memory.damage("add", stored, deviation)
          local own, other = tools.margins(stored, x)
          local m = 1
          local bounds = tools.error_bounds(own, other, m, o.patterns, beta)
          local soft = memory.model { memories = stored, beta = beta }
          local one = memory.model { memories = stored, beta = beta, separation = "softmax1" }
          local p = T.sum(soft:weights(x) * tools.diagonal(o.patterns), { axes = { -1 }, keep = true })
          local kept = T.sum(one:weights(x), { axes = { -1 }, keep = true }) -- s
          local sharp = (1 - p) * (2 * m)
          local sharp1 = (1 + kept - kept * p * 2) * m
          look(tools.norms(soft:step(x) - stored), bounds.softmax, sharp, dots.softmax)
          look(tools.norms(one:step(x) - stored), bounds.softmax1, sharp1, dots.softmax1)
          for _, model in ipairs { soft, one } do
            local inside, out = leave(model, stored, beta)
            balls, left = balls + inside, left + out
          end
          local weights, rest, gap = tools.list(p), tools.list(1 - kept), tools.list(sharp1 - sharp)
          for k = 1, #weights do
            flips.x[#flips.x + 1], flips.y[#flips.y + 1] = weights[k], gap[k]
            local expected = (2 * weights[k] - 1) * rest[k]
            if math.abs(expected) > SLACK and expected * gap[k] <= 0 then wrong = wrong + 1 end
          end
        end
      end
      s:log(math.floor(beta + 0.5), { ["worst error - bound"] = worst, ["queries above a bound"] = above + sharp_above,
        ["queries on the wrong side"] = wrong })
      s:tick("bounding", i / #o.betas)
    end
    s:figure("bounds", { title = "Retrieval errors and their bounds", x = "bound", y = "error",
      log_x = true, log_y = true,
      series = { dots.softmax, dots.softmax1, { name = "equal", x = { 1e-8, 100 }, y = { 1e-8, 100 } } },
      caption = "No point lies above the line: the bounds of the theory hold." })
    s:figure("flip", { title = "Which bound is tighter", x = "weight of the memory (softmax)",
      y = "softmax1's bound - softmax's", series = { flips, { name = "0", x = { 0, 1 }, y = { 0, 0 } } },
      caption = "Below one half of the weight softmax1 has the tighter bound, above it softmax." })
    s:table("bounds", { columns = { "errors", "above the bound", "above the sharper bound", "worst excess" },
      rows = { { n, above, sharp_above, worst } }, caption = "spec 5 f" })
    s:check("no error is above its bound", above == 0 and sharp_above == 0, ("%d errors, %d and %d above"):format(
      n, above, sharp_above))
    s:check("T maps the balls of well-separated memories into themselves", balls > 0 and left == 0,
      ("%d of %d queries from their edges left"):format(left, balls))
    s:check("which bound is tighter flips where the memory has half of the weight", wrong == 0,
      ("%d of %d queries on the wrong side"):format(wrong, #flips.x))
  end,
}
