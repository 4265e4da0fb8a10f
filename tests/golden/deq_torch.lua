-- Reference numbers of torchdeq (tests/golden/deq: tanh_deq and torchdeq_features) and of the paper's
-- solvers on the same tanh layer. Run as: hoplab lua tests/golden/deq_torch.lua DIR

local hop = require "hop"
local check = require "check"
local reference = require "reference"
local core = require "hop.core"
local T, deq, parts = hop.T, hop.deq, hop.deq_parts
core.training(true) -- gradients are recorded
local dir = arg[1]

local file, metadata = reference.open(dir, "tanh_deq")
if not file then hop.exit(77) end
local runs, batch = metadata "runs", 3

-- ---- the layer ----

local function tanh_layer(o, w)
  local m = deq.layer {
    fn = deq.fn {
      params = function(p) p.W, p.U, p.b = p:zeros { 10, 10 }, p:zeros { 6, 10 }, p:zeros { 10 } end,
      prepare = function(p, x) return x:matmul(p.U) + p.b end,
      step = function(p, z, u) return (z:matmul(p.W) + u):tanh() end },
    state = { 10 }, init = o.init, forward = o.forward, backward = o.backward, damping = o.damping,
    samples = o.samples, sampling = o.sampling }
  m:load_state { W = w or file.W, U = file.U, b = file.b }
  return m:train()
end

local function loss_of(z) return T.square(z - file.target):sum() * (0.5 / batch) end

local function compare(run, what, got, tol)
  reference.agrees(run .. "." .. what, got, file[run .. "." .. what], file[run .. ".f64." .. what], tol)
end

local function compare_gradients(run, m, x, tol)
  for _, name in ipairs { "W", "U", "b" } do compare(run, "grad." .. name, m[name].grad, tol) end
  compare(run, "grad.x", x.grad, tol)
end

-- ---- torchdeq's solvers as options ----

-- Its own names and limits; `rows`: evaluations that its traces leave out at the beginning; `step`: what
-- it adds to the number of such an evaluation.
local solvers = {
  fixed_point_iter = { solver = "picard", rows = 0 },
  anderson = { solver = "anderson", rows = 2, memory = 6, ridge = 1e-4, relative = false, safeguard = false },
  broyden = { solver = "broyden", rows = 1 } }

local function settings(name, max_iter, tol, stop, extra)
  local s = solvers[name]
  local o = { solver = s.solver, max_iter = name == "broyden" and max_iter + 1 or max_iter, tol = tol,
    stop = stop or "abs", per = "batch", pick = "best", memory = s.memory or max_iter, ridge = s.ridge,
    relative = s.relative, safeguard = s.safeguard }
  for k, v in pairs(extra or {}) do o[k] = v end
  return o
end

-- Rows of a report {iterations, batch} against a trace {batch, 1 + iterations} whose first entry is a
-- dummy and whose end, after an early stop, repeats the lowest value. Entries above 1e-5 count.
local function compare_trace(what, rows, report, calls, want, wide)
  local got, trace, wider, worst = report:table(), want:table(), wide and wide:table(), 0
  for b = 1, #trace do
    for k = 2, math.min(#trace[b], calls - rows + 1) do
      local w, g = trace[b][k], got[k - 1 + rows][b]
      local e = math.abs(g - w) / w
      if wider then e = math.min(e, math.abs(g - wider[b][k]) / wider[b][k]) end
      if w > 1e-5 and (e > worst or e ~= e) then worst = e end
    end
    local stopped = calls - rows + 1 < #trace[b]
    local past = stopped and trace[b][calls - rows + 2]
    if past then
      local lowest = math.huge
      for k = 2, calls - rows + 1 do lowest = math.min(lowest, trace[b][k]) end
      check.that(what .. " stops with it", past == lowest or lowest < 1e-5,
        ("after %d evaluations, it goes on"):format(calls))
    end
  end
  check.that(what, worst <= 0.01, ("off by %.3g"):format(worst))
end

-- The evaluation with the lowest residual, numbered as torchdeq does. Residuals below 1e-6 are rounding
-- noise: which of them is the lowest says nothing.
local function compare_nstep(what, name, report, want)
  local got = report:table()
  for b, w in ipairs(want:table()) do
    local best, at = math.huge, 0
    for k = 1 + solvers[name].rows, #got do
      if got[k][b] < best then best, at = got[k][b], k end
    end
    if name == "broyden" then at = at - 1 end
    if best > 1e-6 then check.near(("%s of sample %d"):format(what, b), at, w, 2) end
  end
end

local function compare_report(run, key, name, info)
  local calls = math.tointeger(info.calls:item())
  for _, mode in ipairs { "abs", "rel" } do
    local trace = file[("%s.%s.%s_trace"):format(run, key, mode)]
    local rows = mode == "abs" and info.abs or info.residual
    compare_trace(("%s %s %s trace"):format(run, key, mode), solvers[name].rows, rows, calls, trace)
  end
end

-- The adjoint equation u = J^T u + g at z, solved openly, with the report that a gradient keeps to itself.
local function adjoint(m, z, g, o)
  local u = T.zeros(z:size())
  local input = file.x:matmul(m.U) + m.b
  local f = parts.bind(m:equilibrium().fn, m, input, m:equilibrium().damping)
  local body = core.body(function(v) return T.vjp(f { z }, { v }, { z })[1] + g end, { u })
  local o2 = {}
  for k, v in pairs(o) do o2[k] = v end
  local found, info = parts.solve(body, { u }, o2)
  return found[1], info
end

-- ---- torchdeq: implicit, loose and phantom gradients ----

local function torch_run(run, name, r)
  local stop_f, stop_b = r.f_stop_mode, r.b_stop_mode
  local forward = settings(name, r.f_max_iter, r.f_tol, stop_f)
  local backward = r.ift and settings(name, r.b_max_iter, r.b_tol, stop_b, { method = "ift" }) or
    { method = "phantom", steps = r.grad[1], tau = r.tau }
  local m = tanh_layer { forward = forward, backward = backward }
  local x = file.x:detach():require_grad()
  local z, info = m(x)
  local loss = loss_of(z)
  loss:backward()
  compare(run, "z_out", z, 2e-5)
  compare(run, "loss", loss, 2e-5)
  compare_gradients(run, m, x, 2e-5)
  compare_report(run, "f", name, info)
  compare_nstep(run .. " f nstep", name, stop_f == "rel" and info.residual or info.abs, file[run .. ".f.nstep"])
  if r.ift then
    local g = (z:detach() - file.target) * (1 / batch)
    local _, back = adjoint(m, z:detach(), g, backward)
    compare_report(run, "b", name, back)
    compare_nstep(run .. " b nstep", name, stop_b == "rel" and back.residual or back.abs,
      file[run .. ".b.nstep"])
  end
  core.training(false)
  reference.agrees(run .. ".eval.z_out", m:eval()(file.x), file[run .. ".eval.z_out"],
    file[run .. ".f64.eval.z_out"], 2e-5)
  core.training(true)
end

-- ---- bare solver calls ----

local function start_at_z0() return file.z0 end

local function solver_run(run, name, r, w)
  local extra = { tau = r.tau, memory = r.m or r.LBFGS_thres, ridge = r.lam, line_search = r.ls }
  local m = tanh_layer({ forward = settings(name, r.max_iter, r.tol, "abs", extra),
    init = w and function() return file["hard.z0"] end or start_at_z0 }, w):eval()
  core.training(false)
  local z, info = m(file.x)
  core.training(true)
  compare(run, "z", z, 2e-5)
  compare_trace(run .. " trace", solvers[name].rows, info.abs, #info.abs:table(), file[run .. ".abs_trace"],
    file[run .. ".f64.abs_trace"])
  if r.n_f_calls then check.equal(run .. " calls", info.calls:item(), r.n_f_calls) end
end

-- ---- the paper's solvers and gradients ----

local paper = { picard = { solver = "picard" },
  anderson = { solver = "anderson", memory = 4, ridge = 1e-10, relative = false } }

local function paper_settings(name, max_iter, method)
  local o = { max_iter = max_iter, tol = 0, method = method }
  for k, v in pairs(paper[name]) do o[k] = v end
  return o
end

local function row_norms(t) return T.sqrt(T.square(t):sum(2)) end

-- What the reference logs: batch mean of |g - x| / |x| for the last x and its value g. From n solver
-- iterations of f, made by hand.
local function logged(f, z, n, name)
  local pairs_of, x = {}, z
  local g = f(x)
  for k = 2, name == "anderson" and math.max(n, 2) or math.max(n, 1) do
    pairs_of[#pairs_of + 1], pairs_of[#pairs_of + 2] = x, g
    while #pairs_of > 2 * 4 do table.remove(pairs_of, 1) end
    x = (name == "picard" or k == 2) and g or T.anderson_mix(pairs_of, { ridge = 1e-10 })
    g = f(x)
  end
  return (row_norms(g - x) / row_norms(x)):mean():item(), g
end

-- Residuals below 1e-5 are rounding noise: both must be.
local function compare_log(what, got, want)
  if want < 1e-5 then
    check.that(what, got < 2e-5, ("%.3g, want %.3g"):format(got, want))
  else
    check.near(what, got, want, 0, 0.01)
  end
end

local function paper_run(run, r)
  local forward, backward, method = run:match "^hopdeq%.%w+%.damp[%d.]-%.(%a+)%.(%a+)%.([%a_]+)$"
  local m = tanh_layer { forward = paper_settings(forward, r.fwd_iter),
    backward = paper_settings(backward, r.bwd_iter, method), damping = r.damping }
  local x = file.x:detach():require_grad()
  local z, info = m(x)
  loss_of(z):backward()
  compare(run, "z_star", z, 2e-5)
  compare_gradients(run, m, x, 2e-5)
  local u = (file.x:matmul(m.U) + m.b):detach()
  local bound = parts.bind(m:equilibrium().fn, m, u, r.damping)
  local f = function(s) return bound { s }[1]:detach() end
  local logs = file[run .. ".log.backward"]:table()
  compare_log(run .. " forward log", logged(f, T.zeros { batch, 10 }, r.fwd_iter, forward),
    file[run .. ".log.forward"]:table()[1])
  local n = method == "backprop" and r.bwd_iter or r.bwd_iter - 1
  compare_log(run .. " backward log", logged(f, z:detach(), n, backward), logs[1])
  if method == "full_adjoint" then
    local at = info.backward_values[2][1]:detach()
    local g = (z:detach() - file.target) * (1 / batch)
    local step = function(v) return (T.vjp(bound { at }, { v }, { at })[1] + g):detach() end
    compare_log(run .. " adjoint log", logged(step, T.zeros(g:size()), r.bwd_iter, backward), logs[2])
  end
end

local function exact_solution()
  for _, solver in ipairs { "picard", "anderson", "broyden" } do
    local many = { solver = solver, max_iter = 100, tol = 1e-7, memory = 10 }
    local m = tanh_layer { forward = many, backward = { method = "ift", solver = solver, max_iter = 100,
      tol = 1e-7, memory = 10 } }
    local x = file.x:detach():require_grad()
    local z = m(x)
    local loss = loss_of(z)
    loss:backward()
    for what, got in pairs { z_star = z, loss = loss, ["grad.W"] = m.W.grad, ["grad.U"] = m.U.grad,
      ["grad.b"] = m.b.grad, ["grad.x"] = x.grad } do
      reference.agrees(("exact.%s by %s"):format(what, solver), got, file["exact." .. what], nil, 2e-5)
    end
  end
end

-- 4 states were asked for, the solve ended between the second and the third: their list has two, ours
-- goes on with the solution.
local function sampled_run(run, r)
  local forward = settings("fixed_point_iter", r.f_max_iter, r.f_tol)
  local m = tanh_layer { forward = forward, samples = r.n_states, sampling = "indexing",
    backward = settings("fixed_point_iter", r.b_max_iter, r.b_tol, "abs", { method = "ift" }) }
  local x = file.x:detach():require_grad()
  local z, info, states = m(x)
  check.equal(run .. " states", #states, r.n_states)
  check.that(run .. " last", T.equal(states[4], z), "is not the solution")
  local loss = loss_of(states[1]) + loss_of(states[2])
  loss:backward()
  compare(run, "z_out", T.cat({ states[1], states[2] }, 1), 2e-5)
  compare(run, "loss", loss, 2e-5)
  compare_gradients(run, m, x, 2e-5)
  compare_report(run, "f", "fixed_point_iter", info)
end

-- ---- regularisers and norms ----

local function matrix_layer(w)
  local m = deq.layer { fn = deq.fn { params = function(p) p.W = p:zeros { 8, 8 } end,
    step = function(p, z, u) return (z:matmul(p.W) + u):tanh() end }, state = { 8 } }
  return m:load_state { W = w }:train()
end

local function features()
  local f = reference.open(dir, "torchdeq_features")
  if not f then return end
  local function near(name, got) reference.agrees(name, got, f[name], nil, 2e-5) end
  local m, z = matrix_layer(f.W), f.z:detach():require_grad()
  local given = {}
  for i = 1, 2 do given[i] = f["jac_reg.v"]:select(1, i) end
  local value = deq.jacobian_penalty(m, f.c, z, { given = given })
  value:backward()
  near("jac_reg.value", value)
  near("jac_reg.grad.W", m.W.grad)
  near("jac_reg.grad.z", z.grad)
  for _, n in ipairs { 3, 100 } do
    local radius, v = deq.spectral_radius(m, f.c, f.z, { iterations = n, measure = "rayleigh",
      start = f["power.v0"] })
    near(("power.%d.sradius"):format(n), radius)
    near(("power.%d.vector"):format(n), v[1])
  end
  near("fp_correction.exp", T.from(deq.correction("exp", 5)))
  near("fp_correction.linear", T.from(deq.correction("linear", 5)))

  local w, g = f["norm.weight"], f["norm.weight_norm.g"]
  near("norm.weight_norm.g", T.sqrt(T.square(w):sum(2, true)))
  near("norm.weight_norm.effective", deq.weight_norm(w, g))
  near("norm.weight_norm.effective_after_g_x1.25", deq.weight_norm(w, g * 1.25))
  g = f["norm.weight_norm_clip.g"]
  near("norm.weight_norm_clip.effective", deq.weight_norm(w, g, { clip = 0.8 }))
  near("norm.weight_norm_clip.effective_after_g_x1.25", deq.weight_norm(w, g * 1.25, { clip = 0.8 }))
  near("norm.weight_norm_noscale.effective", deq.weight_norm(w, nil, { target = 0.9 }))
  reference.agrees("weights of x W", deq.weight_norm(w:t(), nil, { target = 0.9, dim = 2 }):t(),
    f["norm.weight_norm_noscale.effective"], nil, 2e-5)
  local u, v = f["norm.spectral_norm.u0"], f["norm.spectral_norm.v0"]
  for k = 1, 3 do
    local effective
    effective, u, v = deq.spectral_norm(w, f["norm.spectral_norm.g"], { u = u, v = v, iterations = 1 })
    near("norm.spectral_norm.effective_" .. k, effective)
    near("norm.spectral_norm.u" .. k, u)
    near("norm.spectral_norm.v" .. k, v)
  end
end

-- ---- everything in the files ----

features()
exact_solution()
local n_runs = 0
for run, r in pairs(runs) do
  local group, rest = run:match "^([^.]+)%.(.*)$"
  if group == "ift" or group == "ift_loose" or group == "phantom" then
    torch_run(run, rest, r)
  elseif group == "solver" then
    solver_run(run, rest:match "^%a+", r)
  elseif group == "hard" then
    solver_run(run, "broyden", r, file["hard.W"])
  elseif group == "hopdeq" then
    paper_run(run, r)
  elseif group == "nstates" then
    sampled_run(run, r)
  end
  n_runs = n_runs + 1
end
check.that("runs", n_runs >= 30, n_runs .. " found")

check.done()
