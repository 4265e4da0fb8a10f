-- Reading runs, on the sample store that tests/screens makes: HOPLAB_RUNS names it, the argument is
-- a directory of a copy of one run, which may be deleted.

local hop = require "hop"
local check = require "check"
local victim = ...

local function names(filter)
  local out = {}
  for run in hop.runs { filter = filter } do out[#out + 1] = run.name end
  return table.concat(out, " ")
end

local function fails(what, part, f, ...)
  local ok, err = pcall(f, ...)
  check.that(what, not ok and tostring(err):find(part, 1, true), tostring(err))
end

-- the list and its filter
local done = "bert-softmax1-s2 bert-softmax1-s1 bert-vanilla-s1"
check.that("all runs", #hop.runs() >= 6)
check.equal("by state", names "status:done", done)
check.equal("by words", names "bert !s2", "bert-softmax1-s1 bert-vanilla-s1")
check.equal("by a number", names "max>100", "bert-vanilla-s1")
check.equal("by configuration", names "status:done model.attention.softmax=softmax1",
  "bert-softmax1-s2 bert-softmax1-s1")
check.equal("by a metric's extreme", names "status:done train/loss.min<2", done)
check.equal("by a metric that is not there", names "no/such<1", "")
check.equal("by a function", names(function(r) return r.name:find "typo" end), "opt-typo")
check.equal("twice through one list", (function()
  local list, n = hop.runs { filter = "status:done" }, 0
  for _ = 1, 2 do
    for _ in list do n = n + 1 end
  end
  return n
end)(), 6)
check.equal("by words of a group", names "(status:failed or name:/s2$/) !opt", "bert-softmax1-s2")
check.equal("by a key's last word", names "bert softmax=vanilla", "bert-vanilla-s1")
check.equal("unlike what is not there", #hop.runs { filter = "status:done no/such!=1" }, 3)
fails("a text is not less", "name is text", names, "status:done name<5")
fails("half a filter", "hop.runs: filter: this parenthesis is not closed (at: ()", names, "(bert")
fails("no such state", "did you mean done", names, "status:dne")
fails("no such option", "did you mean 'filter'", hop.runs, { filtre = "x" })

-- one run
local run = hop.run "bert-vanilla-s1"
check.equal("name", run.name, "bert-vanilla-s1")
check.equal("configuration", run.config.model.attention.softmax, "vanilla")
check.equal("tags", run.tags[1], "sample")
check.equal("equal handles", run, hop.run(run.id))
check.that("printed", tostring(run):find("run bert-vanilla-s1 #0001  done", 1, true), tostring(run))
check.equal("last", select(2, run:last "train/loss"), 399)
check.equal("best", run:best("train/loss").step, 378)
local best = run:best "train/loss"
check.near("when it was", best.time, run.started + select(1, run:series("train/loss", { x = "time",
  from = 0 }))[best.step + 1], 1)
check.equal("best by goal", run:best("train/loss", { goal = "max" }).step, 0)
check.equal("names", table.concat(run:names "eval/", " "):find("eval/", 1, true), 1)
fails("unknown field", "did you mean 'config'", function() return run.confg end)
fails("unknown series", "did you mean 'train/loss'", run.last, run, "train/los")
fails("handles are not written", "read, not written", function() run.name = "x" end)
fails("another table", "needs a run", run.last, {}, "train/loss")
fails("no such run", "no-such-run", hop.run, "no-such-run")

-- series: all of it, a part, reduced, smoothed
local x, y = run:series "train/loss"
check.equal("points", #x, 400)
check.equal("steps are whole", math.type(x[2]), "integer")
local lo, hi = math.min(table.unpack(y)), math.max(table.unpack(y))
local rx, ry = run:series("train/loss", { points = 40 })
check.that("reduced", #rx <= 40 and #rx == #ry, #rx)
check.equal("keeps the minimum", math.min(table.unpack(ry)), lo)
check.equal("keeps the maximum", math.max(table.unpack(ry)), hi)
local px = run:series("train/loss", { from = 100, to = 199 })
check.equal("a part", px[1] .. " " .. px[#px], "100 199")
local _, smooth = run:series("train/loss", { ema = 0.9 })
check.near("the first value has its weight", smooth[1], y[1], 1e-12)
check.near("a mean of two", smooth[2], (0.9 * 0.1 * y[1] + 0.1 * y[2]) / 0.19, 1e-12)
check.equal("tokens", select(-2, run:series("train/loss", { x = "tokens" }))[2], 16 * 128)
-- formulas, as charts have them
local fx, fy = run:series("= 2 * train/loss - train/loss", { from = 100 })
check.equal("a formula begins", fx[1], 100)
check.near("a formula's value", fy[1], y[101], 1e-6)
local kx, ky = run:series "outliers/layer.0/out/kurtosis"
local qx, qy = run:series("= train/loss + outliers/layer.0/out/kurtosis")
check.equal("where both are known", qx[1] .. " " .. qx[#qx], kx[1] .. " " .. kx[#kx])
check.near("between points on a line", qy[11], y[11] + (ky[1] + ky[2]) / 2, 1e-6)
fails("a formula of nothing", "no series 'train/los'", run.series, run, "= train/los + 1")
fails("no epochs", "how many epochs", run.series, run, "train/loss", { x = "epoch" })
local _, bad = hop.run("opt-vanilla-s1"):series("train/loss", { points = 20 })
local n_bad = 0
for _, v in ipairs(bad) do n_bad = n_bad + (v ~= v and 1 or 0) end
check.that("what is not finite stays visible", n_bad > 0)

-- histograms, log
local h = run:hist("attn.out", { layer = 2 })
local sum = 0
for _, v in ipairs(h.bins) do sum = sum + v end
check.that("a histogram", #h.bins == 64 and #h.edges == 64 and h.max > 50)
check.near("its bins are all of it", sum, h.n, 0.5)
check.that("an older one", run:hist("attn.out", { layer = 2, step = 100 }).step <= 100)
check.equal("none", run:hist "no.such", nil)
local log = run:log(5)
check.that("log", #log > 0 and #log[1].text > 0 and log[1].time > 1.7e9)

-- deleted meanwhile
local gone = hop.run(victim)
check.equal("there", gone.name, "bert-vanilla-s1")
assert(os.execute("rm -r '" .. victim .. "'"))
fails("deleted", "was deleted", gone.series, gone, "train/loss")
fails("deleted: log", "was deleted", gone.log, gone)
check.done()
