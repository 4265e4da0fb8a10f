-- Assertions for the suites written in Lua. A suite is a script that ends with check.done().

local hop = require "hop"
local T = hop.T
local check = { failed = 0, passed = 0, skipped = 0 }

local function fail(what, text)
  check.failed = check.failed + 1
  print(("FAIL %s: %s"):format(what, text))
end

function check.that(what, ok, text)
  if ok then check.passed = check.passed + 1 else fail(what, text or "is false") end
end

function check.equal(what, got, want)
  check.that(what, got == want, ("got %s, want %s"):format(tostring(got), tostring(want)))
end

-- numbers within an absolute tolerance, or a relative one if given
function check.near(what, got, want, tol, relative)
  local d = math.abs(got - want)
  local ok = d <= tol or (relative and d <= relative * math.abs(want)) or false
  check.that(what, ok, ("got %.9g, want %.9g"):format(got, want))
end

-- every element within tol (or relative); where = tensor of 0/1 limits the comparison
function check.close(what, got, want, tol, relative, where)
  local a, b = got:size(), want:size()
  if table.concat(a, ",") ~= table.concat(b, ",") then
    return fail(what, ("shape {%s}, want {%s}"):format(table.concat(a, ", "), table.concat(b, ", ")))
  end
  local d = T.abs(got - want)
  local allowed = T.abs(want) * (relative or 0)
  local bad = 1 - T.le(d, T.maximum(allowed, tol))
  if where then bad = bad * where end
  local n = bad:sum():item()
  check.that(what, n == 0, ("%d of %d elements differ, at most by %.3g"):format(n, got:numel(),
    T.reshape(d, { -1 }).max(T.reshape(d, { -1 })):item()))
end

-- f must raise an error whose text contains `text`
function check.raises(what, text, f, ...)
  local ok, err = pcall(f, ...)
  if ok then return fail(what, "no error") end
  local message = tostring(err)
  check.that(what, message:find(text, 1, true), ("the message is: %s"):format(message))
end

function check.skip(what, why)
  check.skipped = check.skipped + 1
  print(("SKIP %s: %s"):format(what, why))
end

function check.done()
  print(("%d passed, %d failed, %d skipped"):format(check.passed, check.failed, check.skipped))
  if check.failed > 0 or check.passed + check.skipped == 0 then error("the suite failed", 0) end
end

return check
