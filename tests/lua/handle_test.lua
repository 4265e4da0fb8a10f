-- A handle of a live run: it follows, asks and waits. The argument is the run.

local hop = require "hop"
local check = require "check"

local function fails(what, part, f, ...)
  local ok, err = pcall(f, ...)
  check.that(what, not ok and tostring(err):find(part, 1, true), tostring(err))
end

local run = hop.run(...)
check.equal("it gets there", run:wait("running", { timeout = 60 }), "running")
local at = run:pause()
check.that("applied at a step", math.type(at) == "integer" and at >= 0, at)
check.equal("paused", run:wait("paused", { timeout = 60 }), "paused")
check.equal("waiting has an end", run:wait("done", { timeout = 0.1 }), "paused")
run:set("lr", 0.25)
run:set("lr", "linear:peak=0.125,steps=1000000")
fails("a knob that is not there", "refused: there is no knob 'lrr', did you mean lr", run.set, run, "lrr", 1)
fails("no schedule", "did you mean linear", run.set, run, "lr", "linaer")
check.equal("Lua in the run", run:lua "print(run:get 'train.max_grad_norm') return 6 * 7", "1.0\n42")
fails("what raises there", "refused: console:1: by hand", run.lua, run, "error 'by hand'")
fails("too long a text", "at most 8192 bytes at a time, not 9000", run.lua, run, ("x"):rep(9000))
run:checkpoint "by-hand"
fails("a name twice", "already", run.checkpoint, run, "by-hand")
local _, text = run:evaluate()
check.equal("an evaluation says nothing more", text, "")
fails("no test part", "has no test part", run.evaluate, run, "test")
local tensors = run:tensors "by-hand"
local name = tensors:names()[1]
local t = tensors:get(name)
check.that("a tensor", #tensors:names() > 3 and t:sum():item() == t:sum():item(), name)
fails("no such tensor", "did you mean", tensors.get, tensors, name .. "x")
fails("no such checkpoint", "no checkpoint 'best'", run.tensors, run, "best")
fails("not outside", "no checkpoint", run.tensors, run, "../../x")

-- the same handle, later
local before = run.step or 0
local _, values = run:series "train/loss"
run:resume()
local deadline = os.time() + 60
local function grown() return (run.step or 0) > before and #select(2, run:series "train/loss") > #values end
while not grown() and os.time() < deadline do run:wait("done", { timeout = 0.2 }) end
check.that("the handle follows", grown(), ("step %s after %d"):format(run.step, before))
local _, rates = run:series "train/lr"
check.near("by another schedule", rates[#rates], 0.125, 0.01)
run:stop { checkpoint = false }
check.equal("stopped", run:wait("done", { timeout = 60 }), "stopped")
fails("it is over", "not live", run.pause, run)
check.done()
