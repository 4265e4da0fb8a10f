-- Which points a sweep has, and what it refuses.

local hop = require "hop"
local check = require "check"
local nn, optim, data = hop.nn, hop.optim, hop.data

local function base()
  return hop.experiment { name = "a", model = nn.opt { layers = 1, width = 8, heads = 1 },
    data = data.clm { train = "generated", seq_len = 8, batch_size = 1 }, optim = optim.adamw { lr = 1e-3 },
    train = { max_steps = 1 } }
end

-- "lr=1 seed=2 | …"
local function text(points)
  local out = {}
  for i, p in ipairs(points) do
    local words = {}
    for k, v in ipairs(p) do words[k] = v[3] .. "=" .. v[2] end
    out[i] = table.concat(words, " ")
  end
  return table.concat(out, " | ")
end

local function points(d)
  d.base = base()
  return hop.sweep(d):points()
end

local function gives(what, d, want) check.equal(what, text(points(d)), want) end

-- what the command line makes of it
local function expands(what, d, o, want, want_fixed)
  d.base = base()
  local out = hop.runner.sweep(hop.sweep(d), o)
  check.equal(what, text(out.points), want)
  local fixed = {}
  for i, f in ipairs(out.fixed) do fixed[i] = f[1] .. "=" .. f[2] end
  check.equal(what .. ": fixed", table.concat(fixed, " "), want_fixed or "")
end

-- --- generators ---
gives("nothing varied is one point", {}, "")
gives("a grid: paths in order, seeds last", { grid = { seed = { 1, 2 }, ["optim.lr"] = { 1e-3, 3e-3 } } },
  "lr=0.001 seed=1 | lr=0.001 seed=2 | lr=0.003 seed=1 | lr=0.003 seed=2")
gives("zip moves together", { zip = { ["optim.lr"] = { 1, 2, 2 }, ["schedule.warmup"] = { 5, 6, 7 } } },
  "lr=1 warmup=5 | lr=2 warmup=6 | lr=2 warmup=7")
gives("a list names its points", { list = { { ["optim.lr"] = 1 }, { ["model.width"] = 16, ["optim.lr"] = 2 } } },
  "lr=1 | width=16 lr=2")
gives("all with all", { grid = { ["model.layers"] = { 1, 2 } }, zip = { ["optim.lr"] = { 3 } } },
  "layers=1 lr=3 | layers=2 lr=3")
gives("keys are as short as they can be",
  { zip = { ["eval.every"] = { 1 }, ["log.every"] = { 2 }, ["optim.lr"] = { 3 } } },
  "eval.every=1 log.every=2 lr=3")
gives("values as text", { list = { { x = 0.1 }, { x = 1e-7 }, { x = 2.0 }, { x = true }, { x = { 0.9, 0.99 } },
  { x = "clipped(-.025:1)" }, { x = 1 / 3 } } },
  "x=0.1 | x=1e-07 | x=2 | x=true | x={0.9,0.99} | x=clipped(-.025:1) | x=0.3333333333333333")

-- --- random draws ---
local some = points { random = { n = 5, ["optim.lr"] = { min = 1e-5, max = 1e-1, log = true },
  ["model.layers"] = { min = 2, max = 4, integer = true }, ["model.width"] = { 8, 16 } } }
local more = points { random = { n = 200, ["optim.lr"] = { min = 1e-5, max = 1e-1, log = true },
  ["model.layers"] = { min = 2, max = 4, integer = true }, ["model.width"] = { 8, 16 } } }
check.equal("random: so many", #more, 200)
check.equal("random: more draws keep the first ones", text(table.move(more, 1, 5, 1, {})), text(some))
local seen, small = {}, 0
for _, p in ipairs(more) do
  for _, v in ipairs(p) do
    if v[3] == "lr" then
      local lr = tonumber(v[2])
      check.that("random: in range", lr >= 1e-5 and lr <= 1e-1, v[2])
      if lr < 1e-3 then small = small + 1 end
    else
      seen[v[3] .. v[2]] = true
    end
  end
end
check.that("random: logarithmic", small > 70 and small < 130, small .. " of 200 below the middle")
for _, k in ipairs { "layers2", "layers3", "layers4", "width8", "width16" } do
  check.that("random: " .. k .. " is drawn", seen[k])
end
check.that("random: nothing else is", not seen.layers1 and not seen.layers5)

-- --- with a command line ---
local grid = { grid = { ["optim.lr"] = { 1, 2 } } }
expands("lists are axes, in order, before the script's", grid, { sets = { { "model.width", "8,16" } } },
  "width=8 lr=1 | width=8 lr=2 | width=16 lr=1 | width=16 lr=2")
expands("one value is no axis", grid, { sets = { { "model.width", "8" } } }, "lr=1 | lr=2", "model.width=8")
expands("the command line wins", grid, { sets = { { "optim.lr", "7" } } }, "lr=7")
expands("with a list too", grid, { sets = { { "optim.lr", "7,8" } } }, "lr=7 | lr=8")
local three_axes = { grid = { ["model.width"] = { 8, 16 }, ["optim.lr"] = { 1e-3, 2e-3 }, seed = { 1, 2 } } }
expands("a part of a sweep has the trials of the whole", three_axes,
  { sets = { { "seed", "2" }, { "optim.lr", "1e-3" } } },
  "width=8 lr=0.001 seed=2 | width=16 lr=0.001 seed=2")
expands("a part by lists too", three_axes,
  { sets = { { "seed", "2,3" }, { "optim.lr", "1,2" }, { "model.width", "8" } } },
  "width=8 lr=1 seed=2 | width=8 lr=1 seed=3 | width=8 lr=2 seed=2 | width=8 lr=2 seed=3")
expands("repeats from one seed of a list", { grid = { seed = { 1, 2 } } }, { repeats = 2, sets = { { "seed", "5" } } },
  "seed=5 | seed=6")
expands("commas in brackets do not split", {},
  { sets = { { "a.x", "f(1,2),{3,4}" }, { "a.y", "p\\,q" } } }, "x=f(1,2) | x={3,4}", "a.y=p,q")
expands("numbers are written one way", {}, { sets = { { "a.x", "1e-3,2.0,word" } } },
  "x=0.001 | x=2 | x=word")
expands("repeats count up from the seed", {}, { repeats = 3, sets = { { "seed", "5" } } },
  "seed=5 | seed=6 | seed=7", "seed=5")
expands("repeats stand side by side", grid, { repeats = 2 },
  "lr=1 seed=0 | lr=1 seed=1 | lr=2 seed=0 | lr=2 seed=1")
expands("a random half keeps all its repeats", { grid = { ["optim.lr"] = { 1 }, seed = { 1, 2 } } },
  { random = 1 }, "lr=1 seed=1 | lr=1 seed=2")
local wide = { grid = { ["optim.lr"] = { 1, 2, 3, 4, 5, 6 } } }
wide.base = base()
local three, four = {}, {}
for i, p in ipairs(hop.runner.sweep(hop.sweep(wide), { random = 3 }).points) do three[i] = p[1][2] end
for _, p in ipairs(hop.runner.sweep(hop.sweep(wide), { random = 4 }).points) do four[p[1][2]] = true end
check.equal("so many of the grid", #three, 3)
for _, v in ipairs(three) do check.that("more of them keep the first", four[v], v) end
check.equal("its name", hop.runner.sweep(hop.sweep { base = base() }, {}).name, "a")
check.equal("another name", hop.runner.sweep(hop.sweep { base = base(), name = "b" }, {}).name, "b")
check.equal("and another", hop.runner.sweep(base(), { sets = { { "name", "c" } } }).name, "c")

-- --- several experiments ---
local function pair(extra)
  local other = base()
  other.sections.name = "other"
  local d = { base = { one = base(), two = other }, name = "pair", grid = { ["optim.lr"] = { 1e-3, 1e-2 } } }
  for k, v in pairs(extra or {}) do d[k] = v end
  return hop.sweep(d)
end
local plan = hop.runner.sweep(pair(), {})
check.equal("both, with all points", #plan.points, 4)
check.equal("the experiment varies slowest", plan.points[2][1][2] .. plan.points[3][1][2], "onetwo")
check.equal("one of them", #hop.runner.sweep(pair(), { sets = { { "base", "two" } } }).points, 2)
check.equal("one of them is named as among all",
  text(hop.runner.sweep(pair(), { sets = { { "base", "two" } } }).points), "base=two lr=0.001 | base=two lr=0.01")
check.equal("the first stands for all", hop.runner.resolve(pair(), {}).sections.name, "a")
check.equal("-s base chooses", hop.runner.resolve(pair(), { { "base", "two" } }).sections.name, "other")
check.raises("no such experiment", "-s base=three", function() hop.runner.resolve(pair(), { { "base", "three" } }) end)
check.raises("one experiment has no base", "no option 'base'",
  function() hop.runner.resolve(hop.sweep { base = base() }, { { "base", "two" } }) end)

local masked = hop.experiment { name = "masked", model = nn.bert { layers = 1, width = 8, heads = 1 },
  data = data.mlm { train = "generated", seq_len = 8, batch_size = 1 }, optim = optim.adamw { lr = 1e-3 },
  train = { max_steps = 1 } }
local function was_trained(model, of)
  local s = hop.sweep { name = "kinds", base = { causal = base(), masked = masked }, grid = { seed = { 1, 2 } } }
  return hop.runner.trained(s, { model = { kind = model }, data = { kind = of } }).sections.name
end
check.equal("what a BERT was trained by", was_trained("nn.bert", "data.mlm"), "masked")
check.equal("what an OPT was trained by", was_trained("nn.opt", "data.clm"), "a")

-- --- refused ---
local function refuses(what, message, d, o)
  check.raises(what, message, function()
    d.base = d.base or base()
    hop.runner.sweep(hop.sweep(d), o or {})
  end)
end
refuses("a base that is none", "'base' is no experiment", { base = {} })
refuses("bases that are none", "'base' is no experiment", { base = { a = 3 } })
refuses("an unknown option", "unknown option 'stop'", { stop = {} })
refuses("a value that is no list", "needs a list of values", { grid = { x = 3 } })
refuses("an empty list", "needs a list of values", { grid = { x = {} } })
refuses("a value twice", "the value 1 twice", { grid = { x = { 1, 1.0 } } })
refuses("a function as a value", "not a function", { grid = { x = { print } } })
refuses("zip of unequal lengths", "'b' has 2", { zip = { a = { 1 }, b = { 1, 2 } } })
refuses("a path twice", "varied in two places", { grid = { a = { 1 } }, zip = { a = { 1 } } })
refuses("random without n", "'n' says how many", { random = { x = { 1 } } })
refuses("random without paths", "nothing is varied", { random = { n = 3 } })
refuses("a range that is none", "min < max", { random = { n = 1, x = { min = 2, max = 1 } } })
refuses("a logarithm of nothing", "min > 0", { random = { n = 1, x = { min = 0, max = 1, log = true } } })
refuses("names as an axis", "names its runs itself", { grid = { name = { "a", "b" } } })
refuses("too many points", "more than 100000", { random = { n = 100000, x = { 1 } }, grid = { y = { 1, 2 } } })
refuses("an empty value", "a value of the list is empty", {}, { sets = { { "x", "1,,2" } } })
refuses("an empty value at the end", "a value of the list is empty", {}, { sets = { { "x", "1," } } })
refuses("the same value twice", "is there twice", {}, { sets = { { "x", "1,1" } } })
refuses("the same number twice", "is there twice", {}, { sets = { { "x", "1e-3,0.001" } } })
refuses("the same path twice", "is given twice", {}, { sets = { { "x", "1" }, { "x", "2" } } })
refuses("setting what zip varies", "cannot be set", { zip = { x = { 1, 2 } } }, { sets = { { "x", "1" } } })
refuses("seeds counted twice", "has a list of them", { grid = { seed = { 1, 2 } } }, { repeats = 2 })
check.raises("a script that returns something else", "neither an experiment nor a sweep",
  hop.runner.sweep, 3, {})

check.done()
