-- Theory, 4: retrieval against damage (spec: theory 4; 6.4): noise, masks (with and without the doubling of
-- what is left that the reference has), flipped signs, for a fixed number of memories.
--
--   hoplab run scripts_lua/exp/theory_noise.lua

local hop = require "hop"
local tools = require "exp.theory_tools"
local T, memory = hop.T, hop.memory

-- Squared error and success after one step, beta 20, M 100, d 20 (spec 6.1): deviation, softmax, sparsemax
local expected = { { .1, 0, 1, 0, 1 }, { .2, .034, .92, .036, .95 }, { .3, .36, .54, .43, .62 }, { .5, .99, .22 },
  { 1, 1.55, .06 } }

return hop.study {
  name = "noise",
  project = "theory",
  options = {
    { "patterns", "integer", default = 100, min = 2, doc = "memories, on the unit sphere" },
    { "width", "integer", default = 20, min = 2, doc = "of a memory" },
    { "beta", "number", default = 20, min = 0, doc = "inverse temperature" },
    { "sets", "integer", default = 50, min = 2, doc = "of memories; each is queried with all of its own" },
    { "deviations", "table", default = { .05, .1, .2, .3, .5, 1 }, doc = "of the noise" },
    { "shares", "table", default = { .1, .2, .3, .5, .7, .9 }, doc = "that are masked, or flipped" },
  },
  run = function(s)
    local o, rows, found = s.options, {}, {}
    local kinds = { { "add", o.deviations, "noise", "Normal noise is added to a memory." },
      { "mask", o.shares, "masks", "A share of the numbers of a memory is 0." },
      { "dropout", o.shares, "masks with scaling",
        "A share is 0 and the others are scaled up, as the reference has it: what is left counts more." },
      { "flip", o.shares, "flipped signs", "A share of the signs is turned: the hardest damage." } }
    for number, kind in ipairs(kinds) do
      local figure = {}
      for _, name in ipairs { "softmax", "softmax1", "sparsemax" } do
        local line = tools.series(name)
        for _, strength in ipairs(kind[2]) do
          local errors, rates = {}, {}
          for i = 1, o.sets do
            hop.seed(s.seed + i)
            local stored = memory.sphere(o.patterns, o.width)
            local m = memory.model { memories = stored, beta = o.beta, separation = name }
            local e = tools.squares(m:step(memory.damage(kind[1], stored, strength)) - stored)
            errors[i], rates[i] = tools.mean(e), tools.mean(T.lt(e, 1 / 16):cast "f32")
          end
          local rate, e = tools.add(line, strength, rates, true), tools.band(errors)
          s:log(math.floor(100 * strength + 0.5), { [("success/%s, %s"):format(kind[1], name)] = rate })
          rows[#rows + 1] = { kind[1], strength, name, e, rate }
          found[("%s %g %s"):format(kind[1], strength, name)] = { e, rate }
        end
        figure[#figure + 1] = line
      end
      s:figure(kind[1], { title = ("Retrieval against %s"):format(kind[3]),
        x = kind[1] == "add" and "deviation of the noise" or "share", y = "success rate", series = figure,
        caption = ("%s softmax1 retrieves like softmax, sparsemax somewhat more (one step, %d memories of width %d, " ..
          "beta %g; mean over %d sets with its 95 %% band)."):format(kind[4], o.patterns, o.width, o.beta, o.sets) })
      s:tick("damaging", number / #kinds)
    end
    s:table("noise", { columns = { "damage", "strength", "separation", "squared error", "success" }, rows = rows,
      caption = "after one step" })
    if o.patterns == 100 and o.width == 20 and o.beta == 20 then
      local worst_error, worst_rate, apart = 0, 0, 0
      for _, e in ipairs(expected) do
        local soft, one = found[("add %g softmax"):format(e[1])], found[("add %g softmax1"):format(e[1])]
        local sparse = found[("add %g sparsemax"):format(e[1])]
        if soft then
          worst_error = math.max(worst_error, math.abs(soft[1] - e[2]))
          worst_rate = math.max(worst_rate, math.abs(soft[2] - e[3]))
          apart = math.max(apart, math.abs(soft[1] - one[1]), math.abs(soft[2] - one[2]))
          if e[4] then
            worst_error = math.max(worst_error, math.abs(sparse[1] - e[4]))
            worst_rate = math.max(worst_rate, math.abs(sparse[2] - e[5]))
          end
        end
      end
      s:check("squared errors and success rates are those of an independent simulation",
        worst_error < 0.05 and worst_rate < 0.05,
        ("squared errors within %.3f, rates within %.3f"):format(worst_error, worst_rate))
      s:check("softmax1 and softmax retrieve alike under noise, to three digits", apart < 2e-3,
        ("largest difference %.2g"):format(apart))
    end
  end,
}
